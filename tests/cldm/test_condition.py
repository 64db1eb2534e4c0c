"""Laws of what is asked: words may be dropped, and hints say where each slot is seen."""

from dataclasses import replace

import torch
from torch import Tensor

from cldm.condition import Condition, frames_of, hint, palette
from cldm.config import ModelConfig
from ldm.compositing import crop_masks, mask_frames, whole_frames
from ldm.values import Frames, Masks

EMPTY = torch.tensor([49406, 49407, 0, 0, 0, 0, 0, 0])


def whole(condition: Condition) -> Condition:
    """The same with the picture as everyone's frame."""
    return replace(condition, frames=whole_frames(2, 3))


def test_dropping_takes_words_away_and_nothing_else(condition: Condition) -> None:
    keep = torch.tensor([[True, False, True], [False, True, True]])
    dropped = condition.dropped(keep, EMPTY)
    assert torch.equal(dropped.tokens[keep], condition.tokens[keep])
    assert (dropped.tokens[~keep] == EMPTY).all()
    assert dropped.masks is condition.masks
    assert (condition.empty(EMPTY).tokens == EMPTY).all()


def test_colours_show_the_topmost_mask(condition: Condition) -> None:
    """Painted once more, mask by mask."""
    found = hint(whole(condition), 64)
    for index in range(2):
        painted = torch.zeros(3, 64, 64)
        for slot, colour in enumerate(palette(3)):
            area = condition.masks.area[index, slot]
            painted = torch.where(area > 0, colour[:, None, None], painted)
        torch.testing.assert_close(found[index, 0, :3], painted)


def test_each_slot_sees_its_mask_and_what_lies_above(condition: Condition) -> None:
    found, area = hint(whole(condition), 64), condition.masks.area
    torch.testing.assert_close(found[0, :, 3], area[0])
    above = torch.stack([(area[0, 1:].sum(0) > 0).float(), area[0, 2], torch.zeros(64, 64)])
    torch.testing.assert_close(found[0, :, 4], above)


def test_hints_are_cropped_to_frames(condition: Condition) -> None:
    found, full = hint(condition, 32), hint(whole(condition), 64)
    for channel in range(5):
        cropped = crop_masks(full[:, :, channel], condition.frames, (32, 32))
        torch.testing.assert_close(found[:, :, channel], cropped)


def padded(values: Tensor, filled: float) -> Tensor:
    """One more slot that holds one number."""
    return torch.cat([values, torch.full_like(values[:, :1], filled)], dim=1)


def test_an_absent_slot_leaves_no_trace(condition: Condition) -> None:
    more = Condition(
        tokens=padded(condition.tokens, 7),
        masks=Masks(
            area=padded(condition.masks.area, 1), present=padded(condition.masks.present, False)
        ),
        frames=Frames(box=torch.cat([condition.frames.box, torch.rand(2, 1, 4)], dim=1)),
    )
    found = hint(more, 32)
    assert torch.equal(found[:, :3], hint(condition, 32))
    assert not found[:, 3].any()


def test_slots_have_colours_of_their_own() -> None:
    assert len({tuple(colour) for colour in palette(8).tolist()}) == 8
    assert torch.equal(palette(11)[8:], palette(3))


def test_only_stacked_slots_have_frames_of_their_own(
    condition: Condition, tiny_config: ModelConfig, packed_config: ModelConfig
) -> None:
    around = mask_frames(condition.masks, tiny_config.margin)
    assert torch.equal(frames_of(condition.masks, tiny_config).box, around.box)
    whole = torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(2, 3, 4)
    for config in (packed_config, replace(tiny_config, framed=False)):
        assert torch.equal(frames_of(condition.masks, config).box, whole)
