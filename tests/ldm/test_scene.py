"""Laws of scenes: the true picture stays, however much of it is painted into the back or layers."""

import pytest
import torch
from torch import Generator, Tensor

from ldm.compositing import stack
from ldm.scene import Scene, agreed, baked, cut_out, partly_cut_out
from ldm.values import Effects, Layers, Light, identity_effects


def scene() -> Scene:
    """Two pictures of random layers under random effects; the second has one slot less."""
    generator = Generator().manual_seed(3)

    def noise(channels: int) -> Tensor:
        return torch.rand(2, 4, channels, 6, 6, generator=generator)

    present = torch.tensor([[True, True, True, True], [True, True, True, False]])
    there = present[:, :, None, None, None]
    rgba, reflection, alpha = noise(4), noise(4), noise(1)
    back = torch.zeros(4, dtype=torch.bool)
    back[0] = True
    back = back[:, None, None, None]
    rgba = torch.cat([rgba[:, :, :3], torch.where(back, 1.0, rgba[:, :, 3:])], dim=2) * there
    one = torch.ones(2)
    return Scene(
        layers=Layers(rgba=rgba, present=present),
        light=Light(
            azimuth=one, elevation=one, colour=one[:, None].expand(-1, 3), softness=one, ambient=one
        ),
        effects=Effects(
            multiply=torch.where(there, 0.6 * noise(3), 1.0),
            add=torch.where(there, 0.4 * noise(3), 0.0),
            shadow=torch.where(there & ~back, noise(3), 1.0),
            reflection=torch.where(there & ~back, reflection, 0.0),
            alpha=torch.where(back, 1.0, alpha) * there,
        ),
    )


def test_layers_cut_from_a_picture_show_it_when_plainly_stacked() -> None:
    value = scene()
    cut = cut_out(value)
    torch.testing.assert_close(stack(cut.layers), value.picture, atol=1e-5, rtol=0)
    torch.testing.assert_close(cut.picture, value.picture, atol=1e-5, rtol=0)
    assert torch.equal(cut.effects.shadow, identity_effects(cut.layers).shadow)


@pytest.mark.parametrize("count", [(0, 0), (1, 0), (1, 2), (3, 2)])
def test_the_lowest_layers_agree_where_only_these_were_cut_out(count: tuple[int, int]) -> None:
    value, slots = scene(), torch.arange(4)
    cut = partly_cut_out(value, torch.tensor(count))
    chosen = (slots <= torch.tensor(count)[:, None]) & value.layers.present
    assert torch.equal(agreed(cut), chosen | ~value.layers.present)
    assert torch.equal(cut.layers.rgba[~chosen], value.layers.rgba[~chosen])
    for number, most in enumerate(count):
        own = (slice(number, number + 1), slice(0, most + 1))
        alone = Scene(
            layers=value.layers.indexed(own),
            light=value.light.indexed(slice(number, number + 1)),
            effects=value.effects.indexed(own),
        )
        plain = stack(cut.layers.indexed(own))
        torch.testing.assert_close(plain, alone.picture, atol=1e-5, rtol=0)


@pytest.mark.parametrize("count", [(0, 0), (1, 0), (1, 2), (3, 2)])
def test_what_is_baked_into_the_back_is_still_seen(count: tuple[int, int]) -> None:
    value = scene()
    told = baked(value, torch.tensor(count))
    torch.testing.assert_close(told.picture, value.picture, atol=1e-5, rtol=0)
    left = value.layers.present.sum(dim=1) - torch.tensor(count)
    assert torch.equal(told.layers.present.sum(dim=1), left)
    assert torch.equal(told.layers.present, torch.arange(int(left.max())) < left[:, None])
