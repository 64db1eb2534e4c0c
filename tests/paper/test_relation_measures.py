"""Laws of what is measured: what the truth itself, nothing, and known errors score."""

from dataclasses import replace

import pytest
import torch
from relation_scenes import ADDED, MOVED, RELIT, REMOVED, REORDERED
from torch import Generator, Tensor

from annotator.scenes.shards import EditedScene
from cldm.training.disturbance import recoloured
from ldm.compositing import stack
from ldm.effects import shown
from ldm.values import identity_effects
from paper.relation_edits import cast_regions, nearest_slot, slot_mask, still_region
from paper.relation_measures import (
    measured_change,
    measured_composite,
    measured_edit,
    measured_harmonisation,
    measured_shadow,
    measured_stillness,
)

SCENE = MOVED.before
NOTHING = torch.zeros(1, 1, *SCENE.layers.size)


def test_the_truth_makes_no_error() -> None:
    found = measured_composite(SCENE, SCENE.effects) | measured_shadow(SCENE, SCENE.effects)
    assert found["psnr"] == 100
    assert found["affected_gain_db"] > 60
    for name in ("affected_fmse", "shadow_rmse", "shadow_local_rmse", "shadow_ber"):
        assert found[name] < 1e-3


def test_doing_nothing_gains_nothing() -> None:
    nothing = identity_effects(SCENE.layers)
    found = measured_composite(SCENE, nothing) | measured_shadow(SCENE, nothing)
    assert found["affected_gain_db"] == 0
    assert found["shadow_ber"] == 0.5
    assert found["shadow_local_ber"] == 1


def test_harmonisation_is_judged_on_the_spoilt_layer_only() -> None:
    slot = nearest_slot(SCENE.layers)
    chosen = slot_mask(slot, SCENE.layers.present.shape[1])
    wrong = recoloured(SCENE.layers, chosen, Generator().manual_seed(1))
    mended = replace(
        SCENE.effects,
        multiply=torch.zeros_like(wrong.rgb),
        add=(SCENE.layers.rgb * SCENE.effects.multiply + SCENE.effects.add).clamp(max=1),
    )
    found = measured_harmonisation(SCENE, wrong, slot, mended)
    assert found["harmonisation_psnr"] > 100
    found = measured_harmonisation(SCENE, wrong, slot, identity_effects(wrong))
    assert found["harmonisation_gain_db"].abs() < 1e-3
    spoilt_elsewhere = replace(mended, add=mended.add.clone())
    spoilt_elsewhere.add[:, :2] = 0
    found = measured_harmonisation(SCENE, wrong, slot, spoilt_elsewhere)
    assert found["harmonisation_psnr"] > 100


@pytest.mark.parametrize("edited", [MOVED, REMOVED, ADDED, REORDERED, RELIT])
def test_an_edit_s_error_is_that_where_effects_lay_or_lie(edited: EditedScene) -> None:
    truth = edited.after.picture
    old, new = cast_regions(edited)
    inside = torch.maximum(old, new)
    wrong = truth + inside * 10 / 255 + (1 - inside) * 0.5
    found = measured_edit(edited, wrong)
    assert set(found) == {"edit_error", f"edit_error_{edited.kind.value}"}
    for error in found.values():
        torch.testing.assert_close(error, torch.tensor([10.0]))


def test_pictures_that_are_the_same_are_still() -> None:
    picture = stack(SCENE.layers)
    found = measured_stillness(MOVED, picture, picture, NOTHING)
    assert max(each.item() for each in found.values()) == 0


def changed(where: Tensor) -> dict[str, float]:
    """The measures of a picture whose green is 3/255 greater somewhere."""
    green = torch.tensor([0.0, 3 / 255, 0.0])[:, None, None]
    picture = stack(SCENE.layers)
    found = measured_stillness(MOVED, picture, picture + where * green, NOTHING)
    return {name: value.item() for name, value in found.items()}


def test_stillness_tells_what_moves_where_nothing_should() -> None:
    still = still_region(MOVED)
    assert max(changed(1 - still).values()) == 0
    one = torch.zeros_like(still)
    one[0, 0, 0, 0] = still[0, 0, 0, 0]
    found = changed(one)
    assert found["still_max"] == pytest.approx(3, abs=1e-3)
    assert found["still_share"] == pytest.approx(1 / still.sum().item(), rel=0.01)
    assert found["still_mean"] == pytest.approx(3 / still.sum().item(), rel=0.01)
    everywhere = changed(still)
    assert everywhere["still_p999"] == pytest.approx(3, abs=1e-3)
    assert everywhere["still_share"] == pytest.approx(1, abs=0.01)


def test_what_a_method_draws_of_the_moved_layer_may_change() -> None:
    picture, still = stack(SCENE.layers), still_region(MOVED)
    drawn = still * (torch.arange(SCENE.layers.size[1]) < 20)
    for changed_part, greatest in ((drawn, 0), (still - drawn, 3)):
        found = measured_stillness(MOVED, picture, picture + changed_part * 3 / 255, drawn)
        assert found["untouched_max"].item() == pytest.approx(greatest, abs=1e-3)
        assert found["still_max"].item() == pytest.approx(3, abs=1e-3)


@pytest.mark.parametrize("edited", [REMOVED, ADDED, REORDERED, RELIT])
def test_stillness_is_asked_of_moves_only(edited: EditedScene) -> None:
    picture = stack(SCENE.layers)
    assert measured_stillness(edited, picture, picture, NOTHING) == {}


def test_change_is_how_far_effects_are_from_neutral_ones() -> None:
    layers = SCENE.layers
    nothing = measured_change(layers, identity_effects(layers))
    assert nothing["rmse"] < 1e-3
    assert nothing["effect"] == 0
    # One of four effects off by a tenth, in both slots above the back.
    darker = replace(identity_effects(layers), shadow=torch.full_like(layers.rgb, 0.9))
    found = measured_change(layers, darker)
    torch.testing.assert_close(found["effect"], torch.tensor([255 * 0.1 / 4]))
    expected = stack(layers) - shown(layers, darker)
    torch.testing.assert_close(found["rmse"], 255 * expected.square().mean().sqrt()[None])
