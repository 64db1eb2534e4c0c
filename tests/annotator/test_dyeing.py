"""Laws of dyeing: alpha stays, the tint of the back stays, the same seed gives the same colours."""

import torch
from subjects import picture
from torch import Generator

from annotator.scenes.dyeing import dyed
from ldm.values import Layers

SIDE = 16


def layers(count: int) -> Layers:
    """A back, and two slices of a duck before it, again and again."""
    duck = torch.cat([picture("duck.jpg", SIDE), torch.rand(1, SIDE, SIDE)])
    rgba = duck.expand(count, 3, -1, -1, -1).clone()
    rgba[:, 0, 3] = 1
    return Layers(rgba=rgba, present=torch.ones(count, 3, dtype=torch.bool))


def test_some_layers_get_other_colours_and_none_another_alpha() -> None:
    value = layers(40)
    found = dyed(value, 0.6, Generator().manual_seed(0))
    assert torch.equal(found.alpha, value.alpha)
    same = (found.rgb - value.rgb).abs().flatten(2).amax(dim=-1) < 1e-5
    assert 0.2 < same.float().mean() < 0.6
    again = dyed(value, 0.6, Generator().manual_seed(0))
    assert torch.equal(found.rgba, again.rgba)


def test_a_grey_back_stays_grey_whatever_its_layers_become() -> None:
    value = layers(40)
    grey = Layers(
        rgba=value.rgba.mean(dim=2, keepdim=True).expand(-1, -1, 4, -1, -1), present=value.present
    )
    back, *others = dyed(grey, 0.6, Generator().manual_seed(1)).rgb.unbind(1)
    assert (back - back.mean(dim=1, keepdim=True)).abs().amax() < 1e-5
    assert (others[0] - others[0].mean(dim=1, keepdim=True)).abs().amax() > 0.05


def test_a_share_of_none_dyes_none() -> None:
    value = layers(4)
    assert torch.equal(dyed(value, 0.0, Generator().manual_seed(0)).rgba, value.rgba)
