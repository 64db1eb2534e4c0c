"""Laws of baked effects, which travel or stay, on boxes whose effects are known."""

from dataclasses import replace

import pytest
import torch
from relation_scenes import (
    ADDED,
    LEFT,
    MOVED,
    RELIT,
    REMOVED,
    REORDERED,
    SIZE,
    boxes_on_back,
    edited,
    lit,
)

from annotator.scenes.shards import EditedScene
from annotator.scenes.staging import EditKind
from ldm.values import identity_effects
from paper.relation_baked import left_behind, rigid, taken_along


@pytest.mark.parametrize("known", [MOVED, REMOVED, REORDERED, RELIT])
def test_what_depends_on_the_layer_only_travels_exactly(known: EditedScene) -> None:
    truth = known.after.picture
    torch.testing.assert_close(rigid(known), truth)


def test_a_new_layer_has_no_effects() -> None:
    effects, neutral = taken_along(ADDED), identity_effects(ADDED.after.layers)
    for name in ("multiply", "add", "shadow"):
        found = getattr(effects, name)
        torch.testing.assert_close(found[:, 1], getattr(neutral, name)[:, 1])
        torch.testing.assert_close(found[:, 2], getattr(ADDED.after.effects, name)[:, 2])
    assert (effects.reflection[0, 1, 3] == 0).all()


def test_effects_grow_with_their_layer() -> None:
    grown = edited(EditKind.moved, [LEFT], [(2, 4, 18, 20)], (0, 1))
    shadow = taken_along(grown).shadow[0, 1]
    # The box at 4 threw it at 12 to 20 and 8 to 16: twice as far and twice as large.
    assert (shadow[:, 13:27, 19:31] - 0.3).abs().max() < 1e-5
    shadow[:, 11:29, 17:] = 1
    assert (shadow - 1).abs().max() < 1e-5


def test_no_shadow_comes_in_from_beyond_the_picture() -> None:
    layers = boxes_on_back(LEFT)
    dark = replace(lit(layers), shadow=torch.full_like(layers.rgb, 0.5))
    known = edited(EditKind.moved, [LEFT], [(12, 4, 20, 12)], (0, 1))
    known = replace(known, before=replace(known.before, effects=dark))
    shadow = taken_along(known).shadow[0, 1]
    assert (shadow[:, :, :8] == 1).all()
    torch.testing.assert_close(shadow[:, :, 8:], torch.full((3, SIZE, SIZE - 8), 0.5))


def test_what_is_left_behind_stays() -> None:
    found, before = left_behind(MOVED), MOVED.before.picture
    alone = MOVED.before.layers.alpha[:, 1] + MOVED.after.layers.alpha[:, 1] == 0
    free = alone.expand(-1, 3, -1, -1)
    torch.testing.assert_close(found[free], before[free])
    there = (MOVED.after.layers.alpha[:, 1] > 0).expand(-1, 3, -1, -1)
    # A box at its new place is lit as it was; the old mirror image lies behind it.
    torch.testing.assert_close(found[there], rigid(MOVED)[there])


def test_the_shadow_of_a_layer_that_is_gone_stays_too() -> None:
    found, before = left_behind(REMOVED), REMOVED.before.picture
    covered = (REMOVED.before.layers.alpha[:, 1] > 0).expand(-1, 3, -1, -1)
    torch.testing.assert_close(found[~covered], before[~covered])
    torch.testing.assert_close(found[covered], REMOVED.before.layers.rgb[:, 0][covered])


def test_a_still_light_leaves_all_behind_where_it_was() -> None:
    before = RELIT.before.picture
    torch.testing.assert_close(left_behind(RELIT), before)
