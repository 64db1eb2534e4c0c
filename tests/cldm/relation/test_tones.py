"""Laws of raising: bilinear, the same in any box, and with nothing from outside a layer."""

import torch
import torch.nn.functional as F
from subjects import planet

from cldm.relation.tones import Box, Tones, raised, raising, toned, worked
from ldm.compositing import resize
from ldm.values import Layers

SIZE = (90, 130)


def test_raising_is_bilinear() -> None:
    maps = torch.rand(2, 3, 16, 24)
    expected = F.interpolate(maps, size=SIZE, mode="bilinear")
    torch.testing.assert_close(raised(maps, SIZE), expected, atol=1e-5, rtol=0)


def test_a_box_is_raised_as_the_whole_is() -> None:
    maps = torch.rand(3, 16, 24)
    for rows, columns in ((range(90), range(1)), (range(31, 77), range(60, 130))):
        box = Box(rows=rows, columns=columns)
        part = raising(box, SIZE, maps)
        found = part(part.near.cut(maps), box)
        torch.testing.assert_close(found, box.cut(raised(maps, SIZE)), atol=1e-5, rtol=0)


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
