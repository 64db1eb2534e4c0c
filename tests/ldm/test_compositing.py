"""Laws of compositing: shares sum to one, crop and place undo each other, colour stays clean."""

import pytest
import torch
from subjects import picture, planet
from torch import Tensor

from ldm.compositing import (
    bleed,
    crop,
    crop_masks,
    mask_frames,
    over,
    place,
    place_masks,
    premultiply,
    resampling,
    resize,
    stack,
    unpremultiply,
    visibility,
    whole_frames,
)
from ldm.values import Frames, Layers, Masks


def framed(*sides: float) -> Frames:
    """One frame."""
    return Frames(box=torch.tensor(sides).reshape(1, 1, 4))


def shown(rgba: Tensor) -> Tensor:
    """Premultiplied, so that colour under alpha 0 does not count."""
    return premultiply(rgba)


def test_shares_sum_to_one_with_an_opaque_back(photographs: Layers) -> None:
    total = visibility(photographs.alpha).sum(dim=1)
    torch.testing.assert_close(total, torch.ones_like(total))


def test_stack_is_layers_laid_over_each_other(photographs: Layers) -> None:
    painted = photographs.rgb[:, 0]
    for slot in range(1, 3):
        painted = over(painted, photographs.rgba[:, slot])
    torch.testing.assert_close(stack(photographs), painted)


def test_premultiplying_can_be_undone(photographs: Layers) -> None:
    again = unpremultiply(premultiply(photographs.rgba))
    torch.testing.assert_close(shown(again), shown(photographs.rgba))
    assert torch.equal(again.split([3, 1], dim=2)[1], photographs.alpha)


def test_whole_picture_at_equal_size_is_the_identity(photographs: Layers) -> None:
    frames = whole_frames(2, 3)
    for again in (crop(photographs.rgba, frames, (48, 48)), resize(photographs.rgba, (48, 48))):
        torch.testing.assert_close(shown(again), shown(photographs.rgba))


def test_resampling_a_whole_line_is_the_identity_matrix() -> None:
    matrix = resampling(torch.zeros(1), torch.ones(1), 9, 9)
    torch.testing.assert_close(matrix, torch.eye(9)[None])


@pytest.mark.parametrize(("size_in", "size_out"), [(32, 8), (8, 32), (30, 7)])
def test_resampling_weights_sum_to_one_inside(size_in: int, size_out: int) -> None:
    total = resampling(torch.zeros(1), torch.ones(1), size_in, size_out).sum(dim=-1)
    torch.testing.assert_close(total, torch.ones_like(total))


def test_placing_a_cropped_object_gives_it_back() -> None:
    rgba = torch.zeros(1, 1, 4, 48, 48)
    rgba[0, 0, :, 12:36, 12:36] = planet(24)
    frames = framed(0.125, 0.125, 0.875, 0.875)
    again = place(crop(rgba, frames, (36, 36)), frames, (48, 48))
    torch.testing.assert_close(shown(again), shown(rgba))


def test_a_moved_frame_moves_the_object_by_whole_pixels() -> None:
    canvas = planet(32)[None, None]
    still = place(canvas, framed(0.125, 0.125, 0.625, 0.625), (64, 64))
    moved = place(canvas, framed(0.25, 0.1875, 0.75, 0.6875), (64, 64))
    torch.testing.assert_close(shown(moved), shown(still).roll((4, 8), (-2, -1)))


def test_outside_its_frame_a_layer_is_transparent() -> None:
    placed = place(torch.ones(1, 1, 4, 16, 16), framed(0.5, 0.25, 1.5, 0.75), (32, 32))
    alpha = placed[0, 0, 3]
    assert (alpha[8:24, 16:] == 1).all()
    assert alpha.sum() == 16 * 16


def test_masks_go_the_same_way_as_alpha() -> None:
    alpha, frames = planet(32)[3][None, None], framed(0.1, 0.2, 0.8, 0.9)
    rgba = torch.cat([torch.ones(1, 1, 3, 32, 32), alpha[:, :, None]], dim=2)
    for masks, layers in ((crop_masks, crop), (place_masks, place)):
        expected = layers(rgba, frames, (20, 20)).split([3, 1], dim=2)[1][:, :, 0]
        torch.testing.assert_close(masks(alpha, frames, (20, 20)), expected)


@pytest.mark.parametrize("size", [(11, 17), (40, 90)])
def test_resizing_keeps_one_colour_under_soft_alpha(size: tuple[int, int]) -> None:
    colour = torch.tensor([0.9, 0.3, 0.1])
    rgba = torch.cat([colour[:, None, None].expand(3, 40, 40), planet(40)[3:]])[None, None]
    small = resize(rgba, size)
    seen = (small[0, 0, 3] > 1e-3).flatten()
    found = small[0, 0, :3].flatten(1)[:, seen]
    torch.testing.assert_close(found, colour[:, None].expand_as(found), atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(11, 17), (48, 20), (90, 61)])
def test_resizing_is_cropping_the_whole_picture(photographs: Layers, size: tuple[int, int]) -> None:
    cropped = crop(photographs.rgba, whole_frames(2, 3), size)
    torch.testing.assert_close(shown(resize(photographs.rgba, size)), shown(cropped))


def test_bleeding_leaves_alpha_and_what_is_seen() -> None:
    rgba = torch.cat([picture("duck.jpg", 40), planet(40)[3:]])[None, None]
    bled = bleed(rgba)
    assert torch.equal(bled[:, :, 3:], rgba[:, :, 3:])
    seen = (rgba[:, :, 3:] > 0.02).expand(-1, -1, 3, -1, -1)
    assert torch.equal(bled[:, :, :3][seen], rgba[:, :, :3][seen])


def test_bleeding_fills_the_rest_with_the_only_colour() -> None:
    rgba = torch.zeros(1, 1, 4, 37, 50)
    colour = torch.tensor([0.2, 0.5, 0.9])[:, None, None]
    rgba[0, 0, :3, 10:20, 5:9], rgba[0, 0, 3, 10:20, 5:9] = colour, 1
    torch.testing.assert_close(bleed(rgba)[0, 0, :3], colour.expand(3, 37, 50), atol=1e-5, rtol=0)


def test_frames_are_square_in_pixels_and_centred_on_masks() -> None:
    area = torch.zeros(1, 4, 40, 80)
    area[0, 0], area[0, 1, 10:20, 20:60], area[0, 3, :5, :5] = 1, 1, 1
    present = torch.tensor([[True, True, True, False]])
    box = mask_frames(Masks(area=area, present=present), margin=0.25).box[0]
    # The box is 40 px wide: with a quarter more on each side, 60 px around (40, 15).
    torch.testing.assert_close(box[1], torch.tensor([10 / 80, -15 / 40, 70 / 80, 45 / 40]))
    assert torch.equal(box[[0, 2, 3]], whole_frames(1, 3).box[0])
