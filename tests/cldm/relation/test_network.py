"""Laws of all relation networks: they change nothing when new, and padding leaves no trace."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from subjects import awake

from cldm.build import build_model, build_relation
from cldm.config import RelationConfig, RelationKind, read_config
from cldm.relation.estimate import LightEstimate, assumed
from cldm.relation.graph import RelationGraph
from cldm.relation.guides import LightHint, unknown_hint
from cldm.relation.network import PlainStacking
from cldm.relation.transformer import RelationTransformer
from ldm.projection import towards
from ldm.scene import LitLayers
from ldm.values import Effects, Layers, Light, identity_effects

Network = type[RelationTransformer] | type[RelationGraph]

both = pytest.mark.parametrize("kind", [RelationTransformer, RelationGraph])


def network(kind: Network) -> RelationTransformer | RelationGraph:
    """A small new network."""
    return kind(width=32, depth=2, num_heads=2, working_size=32, patch=8)


def layers(height: int = 32, width: int = 32) -> Layers:
    """A back with two soft boxes, the second one in one of two pictures only."""
    rgba = torch.rand(2, 3, 4, height, width, generator=torch.Generator().manual_seed(5))
    rgba[:, 1:, 3] = 0
    rgba[:, 0, 3] = 1
    rgba[:, 1, 3, height // 3 : height * 3 // 4, 6:16] = 0.9
    rgba[0, 2, 3, height // 2 : height * 7 // 8, 12:24] = 1
    return Layers(rgba=rgba, present=torch.tensor([[True, True, True], [True, True, False]]))


def hint(azimuth: float, given: bool) -> LightHint:
    """A light for two pictures."""
    one = torch.ones(2)
    light = Light(
        azimuth=azimuth * one,
        elevation=0.7 * one,
        colour=torch.tensor([[1.2, 1.0, 0.8]] * 2),
        softness=0.2 * one,
        ambient=0.4 * one,
    )
    return LightHint(light=light, given=torch.full((2,), given))


def tensors(effects: Effects) -> tuple[torch.Tensor, ...]:
    """All effects."""
    return effects.multiply, effects.add, effects.shadow, effects.reflection, effects.alpha


@both
@pytest.mark.parametrize("size", [(32, 32), (64, 64), (40, 72)])
def test_new_network_changes_nothing(kind: Network, size: tuple[int, int]) -> None:
    value = layers(*size)
    told = network(kind)(value, hint(0.5, given=True))
    for effect, neutral in zip(tensors(told), tensors(identity_effects(value)), strict=True):
        assert torch.equal(effect, neutral)


def test_plain_stacking_changes_nothing() -> None:
    value = layers()
    told = PlainStacking()(value, hint(0.5, given=True))
    for effect, neutral in zip(tensors(told), tensors(identity_effects(value)), strict=True):
        assert torch.equal(effect, neutral)


@both
def test_new_network_learns_every_field(kind: Network) -> None:
    made, value = network(kind), layers()
    # One in a certain light, one not; who may stand in it already gets some of all.
    known = replace(hint(0.5, given=True), given=torch.tensor([True, False]))
    told = made(value, replace(known, agreed=torch.full((2, 2), 0.5)))
    reflection = told.reflection.split([3, 1], dim=2)[1]
    (told.multiply + told.add + told.shadow + reflection + told.alpha).sum().backward()
    assert made.head.bias.grad is not None
    per_field = made.head.bias.grad.unflatten(0, (-1, 4)).abs().sum(dim=1)
    assert (per_field > 0).all()
    alike = made.colours.tint.bias.grad
    assert alike is not None
    assert (alike.abs() > 0).all()


@both
def test_gradients_reach_every_weight(kind: Network) -> None:
    made = awake(network(kind))
    known = replace(hint(0.5, given=True), agreed=torch.full((2, 2), 0.5))
    told = made(layers(), known)
    torch.stack([effect.square().mean() for effect in tensors(told)]).sum().backward()
    lit = LitLayers(
        layers=layers(),
        light=hint(0.5, given=True).light,
        traces=torch.full((2, 2, 8, 8), 0.3),
        agreed=layers().present,
    )
    made.estimator.loss(lit).backward()
    for name, weight in made.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().max() > 1e-7, name


@both
def test_padding_slots_leave_no_trace(kind: Network) -> None:
    made, value = awake(network(kind)), layers()
    noise = torch.rand(2, 2, 4, 32, 32)
    padded = Layers(
        rgba=torch.cat([value.rgba, noise], dim=1),
        present=torch.cat([value.present, torch.zeros(2, 2, dtype=torch.bool)], dim=1),
    )
    for short, long in zip(
        tensors(made(value, unknown_hint(2))), tensors(made(padded, unknown_hint(2))), strict=True
    ):
        torch.testing.assert_close(long[:, :3], short, atol=1e-5, rtol=0)


@both
def test_absent_slots_are_not_seen(kind: Network) -> None:
    made, value = awake(network(kind)), layers()
    other = value.rgba.clone()
    other[1, 2] = torch.rand(4, 32, 32)
    one, two = (
        made(Layers(rgba=rgba, present=value.present), hint(0.5, given=True))
        for rgba in (value.rgba, other)
    )
    for first, second in zip(tensors(one), tensors(two), strict=True):
        assert torch.equal(first[:, :2], second[:, :2])


@both
def test_effects_keep_their_ranges_and_leave_back_and_absent_alone(kind: Network) -> None:
    value = layers()
    told, neutral = awake(network(kind))(value, hint(2.0, given=True)), identity_effects(value)
    assert not torch.equal(told.shadow, neutral.shadow)
    for effect, still in zip(tensors(told), tensors(neutral), strict=True):
        assert effect.amin() >= 0
        assert effect.amax() <= 1
        assert torch.equal(effect[:, 0], still[:, 0])
        assert torch.equal(effect[1, 2], still[1, 2])


@both
def test_light_that_is_not_given_is_not_seen(kind: Network) -> None:
    made, value = awake(network(kind)), layers()
    one, other = (made(value, hint(azimuth, given=False)) for azimuth in (0.0, 3.0))
    assert torch.equal(one.shadow, other.shadow)
    turned = (made(value, hint(azimuth, given=True)) for azimuth in (0.0, 3.0))
    assert not torch.equal(next(turned).shadow, next(turned).shadow)


@both
def test_what_stands_in_the_light_already_casts_nothing(kind: Network) -> None:
    made, value = awake(network(kind)), layers()
    torch.nn.init.constant_(made.estimator.finder.found.bias, 40.0)
    told, neutral = made(value, hint(2.0, given=True)), identity_effects(value)
    assert torch.equal(told.shadow, neutral.shadow)
    assert torch.equal(told.reflection, neutral.reflection)
    assert not torch.equal(told.multiply, neutral.multiply)


def test_shipped_weights_are_the_transformers() -> None:
    with safe_open("models/layers_tiny.safetensors", "pt") as file:
        shipped = {
            key.removeprefix("relation."): tuple(file.get_slice(key).get_shape())
            for key in file.keys()  # noqa: SIM118, it is no dictionary
            if key.startswith("relation.")
        }
    made = build_model(read_config(Path("models/layers_tiny.yaml"))).relation
    assert isinstance(made, RelationTransformer)
    assert {key: tuple(weight.shape) for key, weight in made.state_dict().items()} == shipped


@both
def test_where_nothing_is_known_the_light_is_high_and_in_front(kind: Network) -> None:
    light = network(kind).estimated(layers()).light
    torch.testing.assert_close(light.azimuth, torch.full((2,), -math.pi / 2))
    assert (light.elevation > 1).all()


def test_light_that_may_come_from_any_side_comes_from_above() -> None:
    sides = [hint(azimuth, given=True).light for azimuth in (0.0, math.pi)]
    mean = torch.stack([towards(light) for light in sides]).mean(dim=0)
    one = torch.ones(2)
    estimate = LightEstimate(
        direction=mean, softness=0 * one, ambient=one, colour=one[:, None].expand(-1, 3)
    )
    torch.testing.assert_close(estimate.light.elevation, one * math.pi / 2)
    torch.testing.assert_close(estimate.confidence, one * math.sin(0.7))
    unsure, sure = (
        assumed(hint(0.0, given=given), estimate, one[:, None]).light for given in (False, True)
    )
    assert (unsure.softness > sure.softness).all()


@pytest.mark.parametrize(
    ("kind", "made"),
    [
        (RelationKind.transformer, RelationTransformer),
        (RelationKind.graph, RelationGraph),
        (RelationKind.none, PlainStacking),
    ],
)
def test_the_config_chooses_the_network(kind: RelationKind, made: type) -> None:
    assert isinstance(build_relation(RelationConfig(network=kind, width=16, depth=1)), made)
    assert RelationConfig().network is RelationKind.transformer
