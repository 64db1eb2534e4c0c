"""Laws of the values: they move as one, orders are taken, the back becomes opaque."""

import pytest
import torch

from cldm.condition import Condition
from ldm.scene import Scene
from ldm.values import Layers, Light, identity_effects


def test_layers_have_colour_alpha_and_size(photographs: Layers) -> None:
    assert photographs.size == (48, 48)
    torch.testing.assert_close(
        torch.cat([photographs.rgb, photographs.alpha], dim=2), photographs.rgba, rtol=0, atol=0
    )


def test_reordering_takes_slots(photographs: Layers) -> None:
    turned = photographs.take(torch.tensor([0, 2, 1]))
    assert torch.equal(turned.rgba[:, 1], photographs.rgba[:, 2])
    assert torch.equal(turned.take(torch.tensor([0, 2, 1])).rgba, photographs.rgba)


def test_back_becomes_opaque_and_nothing_else_changes(photographs: Layers) -> None:
    thin = Layers(rgba=photographs.rgba * 0.5, present=photographs.present)
    opaque = thin.with_opaque_back()
    assert (opaque.alpha[:, 0] == 1).all()
    assert torch.equal(opaque.rgb, thin.rgb)
    assert torch.equal(opaque.alpha[:, 1:], thin.alpha[:, 1:])


def test_another_dtype_is_for_floating_numbers_only(condition: Condition) -> None:
    moved = condition.to(torch.float64)
    assert moved.masks.area.dtype is torch.float64
    assert moved.masks.present.dtype is torch.bool
    assert not moved.tokens.is_floating_point()
    assert torch.equal(condition.to("cpu").tokens, condition.tokens)


def test_batches_are_joined_one_after_the_other(condition: Condition) -> None:
    both = condition.joined(condition.to(torch.float64))
    for found, expected in (
        (both.tokens, condition.tokens),
        (both.masks.area, condition.masks.area),
        (both.masks.present, condition.masks.present),
        (both.frames.box, condition.frames.box),
    ):
        assert torch.equal(found, torch.cat([expected, expected]))


def test_a_scene_moves_whole(photographs: Layers) -> None:
    one = torch.ones(2)
    light = Light(azimuth=one, elevation=one, colour=torch.ones(2, 3), softness=one, ambient=one)
    scene = Scene(layers=photographs, light=light, effects=identity_effects(photographs))
    moved = scene.to(torch.float64)
    assert moved.light.colour.dtype is moved.effects.shadow.dtype is torch.float64


def test_values_are_frozen(photographs: Layers) -> None:
    with pytest.raises(AttributeError):
        photographs.rgba = photographs.rgba  # pyright: ignore
