"""Laws of fitting in closed form: layers and shadows come nearer to the truth, all else stays."""

import pytest
import torch
from torch import Tensor

from annotator.scenes.dataset import AnalyticScenes
from annotator.scenes.supply import Supply
from cldm.relation.guides import told, unknown_hint
from cldm.relation.learned import LearnedRelation
from cldm.relation.transformer import RelationTransformer
from cldm.training.closed_form import fit_in_closed_form
from ldm.scene import Scene


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    """Twelve scenes of round and square things."""
    line = (torch.arange(16) + 0.5) / 16 - 0.5
    disc = (line[:, None].square() + line.square() < 0.2).float()
    box = torch.zeros(16, 16)
    box[2:, 4:12] = 1
    alpha = torch.stack([disc, box])[:, None]
    cutouts = torch.cat([0.6 * alpha.expand(-1, 3, -1, -1), alpha], dim=1)
    supply = Supply(cutouts=cutouts, backdrops=(torch.full((3, 32, 32), 0.6),))
    return list(AnalyticScenes(supply, size=32, batch_size=4, num_batches=3, seed=1))


@pytest.fixture
def network() -> LearnedRelation:
    """A small network that says something at random."""
    torch.manual_seed(0)
    network = RelationTransformer(width=16, depth=1, num_heads=2, working_size=32, patch=8)
    with torch.no_grad():
        for weight in network.head.parameters():
            weight.normal_(std=0.01)
    return network.eval()


def error(network: LearnedRelation, scenes: list[Scene]) -> float:
    """Of the lit colours of solid layers, their light being told."""
    found: list[Tensor] = []
    for scene in scenes:
        effects, solid = network(scene.layers, told(scene.light)), scene.layers.alpha[:, 1:] > 0.6
        lit, true = (
            (scene.layers.rgb * each.multiply + each.add).clamp(0, 1)[:, 1:]
            for each in (effects, scene.effects)
        )
        found.append((lit - true).square().mean(dim=2, keepdim=True)[solid])
    return float(torch.cat(found).mean())


@torch.no_grad()
def test_neutral_layers_come_nearer_to_the_truth(
    network: LearnedRelation, scenes: list[Scene]
) -> None:
    before = error(network, scenes)
    fit_in_closed_form(network, scenes)
    assert error(network, scenes) < 0.8 * before


@torch.no_grad()
def test_shadows_come_nearer_to_the_truth(network: LearnedRelation, scenes: list[Scene]) -> None:
    def error() -> float:
        """Where a layer does not hide its own shadow."""
        found: list[Tensor] = []
        for scene in scenes:
            wrong = network(scene.layers, told(scene.light)).shadow - scene.effects.shadow
            seen = (scene.layers.alpha == 0) & (scene.effects.shadow < 0.99).any(2, keepdim=True)
            found.append(wrong.square().mean(dim=2, keepdim=True)[seen])
        return float(torch.cat(found).mean())

    before = error()
    fit_in_closed_form(network, scenes)
    assert error() < 0.2 * before


@torch.no_grad()
def test_only_relief_and_shadows_are_fitted(network: LearnedRelation, scenes: list[Scene]) -> None:
    old = {name: weight.clone() for name, weight in network.state_dict().items()}
    first = network(scenes[0].layers, told(scenes[0].light))
    fit_in_closed_form(network, scenes)
    moved = {name for name, weight in network.state_dict().items() if not weight.equal(old[name])}
    assert moved == {"head.weight", "head.bias", "colours.tint.bias"}
    after = network(scenes[0].layers, told(scenes[0].light))
    torch.testing.assert_close(after.reflection, first.reflection)
    torch.testing.assert_close(after.alpha, first.alpha)


@torch.no_grad()
def test_relief_counts_as_far_as_the_light_is_certain(
    network: LearnedRelation, scenes: list[Scene]
) -> None:
    """A new estimator is sure of little: less changes than where the light is told."""
    layers, light = scenes[0].layers, scenes[0].light
    hints = told(light), unknown_hint(len(light.azimuth))
    before = [network(layers, hint).multiply for hint in hints]
    fit_in_closed_form(network, scenes)
    told_change, untold_change = (
        float((network(layers, hint).multiply - old).abs().mean())
        for hint, old in zip(hints, before, strict=True)
    )
    assert 0 < untold_change < told_change


def test_nothing_to_fit_to_changes_nothing(network: LearnedRelation) -> None:
    old = network.head.weight.clone()
    fit_in_closed_form(network, [])
    assert torch.equal(network.head.weight, old)
