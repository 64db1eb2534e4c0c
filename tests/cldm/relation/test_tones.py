"""Laws of raising: bilinear, the same in any box, and with nothing from outside a layer."""

import pytest
import torch
from subjects import planet

from cldm.relation.tones import Box, Tones, raised, raising, toned, worked
from ldm.compositing import resampling, resize
from ldm.values import Layers

SIZE = (90, 130)


@pytest.mark.parametrize("size", [SIZE, (10, 14), (16, 24)])
def test_raising_is_bilinear_and_lowering_does_not_alias(size: tuple[int, int]) -> None:
    maps, (none, one) = torch.rand(2, 3, 16, 24), torch.tensor([[0.0], [1.0]])
    rows, columns = (
        resampling(none, one, *sides)[0] for sides in zip(maps.shape[-2:], size, strict=True)
    )
    expected = rows @ maps @ columns.T
    torch.testing.assert_close(raised(maps, size), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(90, 130), (45, 131)])
@pytest.mark.parametrize("smaller", [(16, 24), (60, 140)])
def test_a_box_is_raised_as_the_whole_is(size: tuple[int, int], smaller: tuple[int, int]) -> None:
    maps = torch.rand(3, *smaller)
    for rows, columns in ((range(45), range(1)), (range(31, 44), range(60, 130))):
        box = Box(rows=rows, columns=columns)
        part = raising(box, size, maps)
        found = part(part.near.cut(maps), box)
        torch.testing.assert_close(found, box.cut(raised(maps, size)), atol=2e-5, rtol=0)


def test_where_maps_are_zero_nothing_is_seen() -> None:
    maps, box = torch.zeros(3, 16, 24), Box(rows=range(20, 80), columns=range(10, 130))
    part = raising(box, SIZE, maps)
    assert not part.seen(part.near.cut(maps))
    maps[1, 7, 9] = maps[2, 8, 20] = -1
    seen, whole = part.seen(part.near.cut(maps)), raised(maps, SIZE)
    rows, columns = ((whole != 0).any(dim=0).any(dim=side).nonzero() for side in (1, 0))
    assert (seen.rows.start, seen.rows.stop - 1) == (rows[0].item(), rows[-1].item())
    assert (seen.columns.start, seen.columns.stop - 1) == (columns[0].item(), columns[-1].item())


def test_an_edge_takes_nothing_from_where_a_layer_is_not() -> None:
    """A map that is cut off where the small layer ends is whole wherever the large one shows."""
    large = torch.zeros(1, 1, 4, *SIZE)
    large[..., 7:77, 21:91] = planet(70)
    small = resize(large, (16, 24))
    seen = raised((small[:, :, 3:] > 0).float(), SIZE)[large[:, :, 3:] > 0]
    torch.testing.assert_close(seen, torch.ones_like(seen))


def test_light_on_a_layer_is_what_its_sheets_show() -> None:
    """As far as 8 bits tell, the darkest colours too."""
    torch.manual_seed(0)
    rgba = torch.rand(1, 2, 4, *SIZE)
    rgba[..., :40, :] *= 0.02
    layers = Layers(rgba=rgba, present=torch.ones(1, 2, dtype=torch.bool))
    maps = torch.rand(1, 1, 9, *SIZE) * 2 - 1
    tones = Tones(maps=maps, shadow=torch.zeros(1, 1, 3, *SIZE))
    change, lift, *_ = tones.parts
    shown = worked(tones, layers, rgba[:, 1:])
    sheets = (layers.rgb * shown.multiply + shown.add)[:, 1:].clamp(0, 1)
    assert (toned(layers.rgb[:, 1:], change, lift) - sheets).abs().amax() < 0.3 / 255
