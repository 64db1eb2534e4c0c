"""Laws of light: shadows turn with it, and what cannot be seen casts none."""

import math

import pytest
import torch
from subjects import awake, picture, planet
from torch import Tensor

from cldm.relation.guides import LightHint, guides, shared, unshared
from cldm.relation.transformer import RelationTransformer
from ldm.interception import intercepted
from ldm.projection import standing
from ldm.values import Layers, Light, identity_effects

SIZE = 128
FOCAL = 1.1  # of the camera in `ldm.projection`, in picture heights


def light(azimuth: float) -> Light:
    """A small light, half way up."""
    one = torch.ones(1)
    return Light(
        azimuth=azimuth * one,
        elevation=0.9 * one,
        colour=one.expand(1, 3),
        softness=0.1 * one,
        ambient=0.3 * one,
    )


def photographs() -> Layers:
    """A planet that stands in the middle of a desert, and a duck that nobody sees."""
    rgba = torch.zeros(1, 3, 4, SIZE, SIZE)
    rgba[0, 0] = torch.cat([picture("pyramid.jpg", SIZE), torch.ones(1, SIZE, SIZE)])
    rgba[0, 1, :, 66:90, 52:76] = planet(24)
    rgba[0, 2, :3] = picture("duck.jpg", SIZE)
    return Layers(rgba=rgba, present=torch.ones(1, 3, dtype=torch.bool))


def on_the_ground(layers: Layers) -> tuple[Tensor, Tensor]:
    """How far right of the planet's foot, and how far behind it, each pixel lies on the ground:
    a pinhole camera's picture of a plane, turned back."""
    body = standing(layers.alpha[:, 1:2])
    rows = (torch.arange(SIZE) + 0.5)[:, None] / SIZE
    columns = (torch.arange(SIZE) + 0.5) / SIZE
    nearness = (body.base - body.horizon) / (rows - body.horizon).clamp(min=0.02)
    return (columns - 0.5) * nearness, FOCAL * (nearness - 1).expand(SIZE, SIZE)


@pytest.mark.parametrize("turn", range(8))
def test_a_turned_light_turns_the_shadow(turn: int) -> None:
    azimuth = turn * math.pi / 4
    layers = photographs()
    shadow = guides(layers, layers, light(azimuth)).key[0, 0, 0]
    right, behind = ((shadow * way).sum() for way in on_the_ground(layers))
    opposite = math.atan2(-math.sin(azimuth), -math.cos(azimuth))
    error = torch.atan2(behind, right) - opposite
    assert abs(math.remainder(error.item(), 2 * math.pi)) < math.radians(15)


def test_an_invisible_layer_casts_nothing() -> None:
    value = guides(photographs(), photographs(), light(0.5))
    assert value.key[:, 0].amax() > 0.5
    assert not value.key[:, 1].any()
    assert not value.sky[:, 1].any()
    assert not value.mirror[:, 1].any()


def test_guides_of_each_layer_alone_give_those_of_all() -> None:
    layers, source = photographs(), light(2.0)
    layers.rgba[0, 2, 3, 66:94, 56:86] = 1
    alone = [unshared(*[layers.rgba[:, slot : slot + 1]] * 2, source) for slot in (1, 2)]
    kept = [
        intercepted(caster.bodies, receiver.bodies, source, j - i, layers.size)[0, 0]
        for i, caster in enumerate(alone)
        for j, receiver in enumerate(alone)
    ]
    expected = guides(layers, layers, source)
    together = shared(alone, torch.cat(kept).unflatten(0, (2, 2))[None])
    torch.testing.assert_close(together.maps, expected.maps, atol=1e-6, rtol=0)
    torch.testing.assert_close(together.contact, expected.contact, atol=1e-6, rtol=0)
    first, second = (value.guides.key[0, 0, 0] for value in alone)
    free = layers.alpha[0, 1:, 0].amax(dim=0) == 0
    taken = expected.key[0, :, 0].sum(dim=0)
    torch.testing.assert_close(taken[free], torch.maximum(first, second)[free], atol=1e-5, rtol=0)
    assert torch.minimum(first, second).amax() > 0.3


def test_what_shades_a_layer_from_behind_is_in_its_own_light() -> None:
    layers = photographs()
    layers.rgba[0, 2, 3, 76:92, 76:90] = 1  # to the right of the planet, and before it
    alone = unshared(*[layers.rgba[:, 2:3]] * 2, light(2.4))
    from_left, from_right = (guides(layers, layers, light(way)) for way in (2.4, -0.7))
    solid = layers.alpha[:, 2] > 0.5
    taken = alone.guides.direct[:, 0] - from_left.direct[:, 1]
    assert taken[solid].amin() >= 0
    assert taken[solid].amax() > 0.1
    planet_alone = (layers.alpha[:, 1] > 0.5) & ~solid
    on_planet = from_right.key[:, 1][planet_alone]
    assert on_planet.amax() > 0.05
    assert not from_left.key[:, 1][planet_alone].any()


def test_an_invisible_layer_leaves_no_trace_in_a_network() -> None:
    network = awake(RelationTransformer(width=32, depth=2, num_heads=2, working_size=64, patch=8))
    layers = photographs()
    hint = LightHint(light=light(0.5), given=torch.tensor([True]))
    effects, neutral = network(layers, hint), identity_effects(layers)
    assert not torch.equal(effects.shadow[:, 1], neutral.shadow[:, 1])
    assert torch.equal(effects.shadow[:, 2], neutral.shadow[:, 2])
    assert torch.equal(effects.reflection[:, 2], neutral.reflection[:, 2])
    absent = Layers(rgba=layers.rgba, present=torch.tensor([[True, True, False]]))
    assert torch.equal(network(absent, hint).shadow, effects.shadow)
