"""Laws of the evaluation of the relation network: what truth itself and doing nothing score."""

import math
import statistics
from dataclasses import replace

import pytest
import torch
from subjects import picture, planet
from torch import Generator

from annotator.scenes.dataset import AnalyticScenes
from ldm.effects import shown
from ldm.values import Effects, Layers, Light
from paper.relation import UNITS, Contestants, blind, figures, measured, measured_edit
from paper.relation_edits import EditedScene, analytic_edit, cast_region, slot_mask
from paper.relation_peers import plain, reinhard
from paper.result import ratio


@pytest.fixture(scope="module")
def edited() -> EditedScene:
    """Four analytic scenes of 64 px before and after an edit."""
    supply = AnalyticScenes(
        cutouts=planet(32)[None],
        backdrops=[picture("pyramid.jpg", 64), picture("windmill.jpg", 64)],
        size=64,
        batch_size=4,
        num_objects=2,
        num_batches=0,
        seed=0,
    )
    return analytic_edit(supply, Generator().manual_seed(1))


@pytest.fixture(scope="module")
def values(edited: EditedScene) -> dict[str, list[float]]:
    """The measures of truth, of plain stacking, and of a peer."""

    def truth(layers: Layers, light: Light) -> Effects:
        moved = torch.equal(layers.alpha, edited.after.layers.alpha)
        scene = edited.after if moved else edited.before
        effects = scene.effects
        right = (scene.layers.rgb * effects.multiply + effects.add).clamp(max=1)
        return replace(effects, multiply=torch.zeros_like(right), add=right)

    contestants = Contestants(
        relighting={"": truth, "plain.": blind(plain)},
        recolouring={"reinhard.": blind(reinhard)},
        casting={},
    )
    found = measured(edited, contestants, Generator().manual_seed(2))
    return {name: value.tolist() for name, value in found.items()}


def test_an_edit_is_the_same_scene_but_for_the_moved_layer(edited: EditedScene) -> None:
    before, after = edited.before.layers, edited.after.layers
    for index, slot in enumerate(edited.move.slot.tolist()):
        same = (before.rgba[index] == after.rgba[index]).flatten(1).all(dim=1)
        assert same.tolist() == [other != slot for other in range(3)]


def test_an_edit_s_scene_is_that_of_the_supply() -> None:
    supply = AnalyticScenes(
        cutouts=planet(16)[None],
        backdrops=[picture("pyramid.jpg", 48)],
        size=32,
        batch_size=3,
        num_objects=2,
        num_batches=1,
        seed=0,
    )
    scene = supply.batch(Generator().manual_seed(4))
    found = analytic_edit(supply, Generator().manual_seed(4)).before
    torch.testing.assert_close(found.layers.rgba, scene.layers.rgba)
    torch.testing.assert_close(found.effects.shadow, scene.effects.shadow)
    torch.testing.assert_close(found.effects.reflection, scene.effects.reflection)


def test_truth_makes_no_error(values: dict[str, list[float]]) -> None:
    assert min(values["psnr"]) == 100
    assert min(values["affected_gain_db"]) > 60
    assert min(values["harmonisation_psnr"]) > 100
    assert min(values["harmonisation_gain_db"]) > 60
    for name in ("affected_fmse", "shadow_rmse", "shadow_local_rmse", "shadow_ber", "edit_error"):
        assert max(values[name]) < 1e-2


def test_doing_nothing_gains_nothing(values: dict[str, list[float]]) -> None:
    assert values["plain.affected_gain_db"] == [0] * 4
    assert max(map(abs, values["plain.harmonisation_gain_db"])) < 1e-3
    assert values["plain.shadow_ber"] == [0.5] * 4
    assert values["plain.shadow_local_ber"] == [1] * 4
    assert min(values["plain.edit_error"]) > 1


def test_what_slides_along_is_nearer_than_what_stays(values: dict[str, list[float]]) -> None:
    rigid, left = values["rigid.edit_error"], values["left_behind.edit_error"]
    assert min(rigid) > 0.1
    assert statistics.mean(rigid) < statistics.mean(left)


def test_an_edit_is_judged_where_effects_were_and_where_they_are(edited: EditedScene) -> None:
    after, move = edited.after, edited.move
    chosen = slot_mask(move.slot, 3)
    # The moved layer's shadow forgotten at its new place, and one that stays at its old place
    # as far as it was seen there.
    forgotten = torch.where(chosen, 1.0, after.effects.shadow)
    seen = chosen & (edited.before.layers.alpha == 0)
    stale = after.effects.shadow * torch.where(seen, edited.before.effects.shadow, 1.0)
    truth = shown(after.layers, after.effects)
    for shadow in (forgotten, stale):
        effects = replace(after.effects, shadow=shadow)
        change = (shown(after.layers, effects) - truth).square().sum(dim=(1, 2, 3))
        old, new = cast_region(edited.before, move.slot), cast_region(after, move.slot)
        num_pixels = ((old + new) > 0).sum(dim=(1, 2, 3))
        expected = 255 * (change / (3 * num_pixels)).sqrt()
        found = measured_edit(edited, effects)["edit_error"]
        # What errs by less than 4/255 lies outside.
        torch.testing.assert_close(found, expected, rtol=0.1, atol=0)


def test_figures_compare_edits_with_rigid_ones(values: dict[str, list[float]]) -> None:
    found = figures(values)
    assert {name.rpartition(".")[2] for name in found} == {*UNITS, "edit_error_vs_rigid"}
    assert found["edit_error_vs_rigid"].value < 1e-3
    assert "rigid.edit_error_vs_rigid" not in found
    assert "reinhard.edit_error" not in found


def test_a_ratio_is_sure_where_all_scenes_agree() -> None:
    sure = ratio([1.0, 2.0, 3.0], [2.0, 4.0, 6.0])
    assert (sure.value, sure.low, sure.high) == (0.5, 0.5, 0.5)
    # By hand: residuals -1, 1; deviation root 2; over the mean 2 and root 2.
    unsure = ratio([1.0, 3.0], [2.0, 2.0])
    assert unsure.value == 1
    assert math.isclose(unsure.high - 1, 1.96 / 2)
