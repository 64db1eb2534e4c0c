"""Laws of following: what a network says the same of stays, what it errs by cancels."""

from dataclasses import replace

import torch
from relation_scenes import ADDED, MOVED, REMOVED, lit

from cldm.relation.following import followed
from ldm.values import Effects, Layers, identity_effects


def erring(effects: Effects) -> Effects:
    """The same, all shadows and light too weak by a third, as a network may say it."""
    return replace(effects, multiply=effects.multiply.pow(2 / 3), shadow=effects.shadow.pow(2 / 3))


def assert_equal(found: Effects, expected: Effects) -> None:
    for name in ("multiply", "add", "shadow"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name))


def test_without_an_edit_nothing_changes_whatever_the_network_says() -> None:
    scene, moves = MOVED.before, replace(MOVED.moves, after=MOVED.moves.before)
    said = erring(scene.effects)
    found = followed(scene.effects, said, said, moves, scene.layers)
    assert_equal(found, scene.effects)
    torch.testing.assert_close(found.reflection[:, :, 3], scene.effects.reflection[:, :, 3])


def test_errors_that_travel_with_a_layer_cancel() -> None:
    for edited in (MOVED, REMOVED):
        before, after = edited.before.effects, edited.after.effects
        found = followed(before, erring(before), erring(after), edited.moves, edited.after.layers)
        assert_equal(found, after)


def test_a_network_that_knows_of_nothing_before_is_asked_for_what_is_new() -> None:
    before, after = ADDED.before.effects, ADDED.after.effects
    found = followed(before, before, after, ADDED.moves, ADDED.after.layers)
    assert_equal(found, after)


def test_small_changes_of_mind_move_nothing() -> None:
    scene, moves = MOVED.before, replace(MOVED.moves, after=MOVED.moves.before)
    wobbling = replace(scene.effects, shadow=scene.effects.shadow * 0.98)
    found = followed(scene.effects, scene.effects, wobbling, moves, scene.layers)
    assert_equal(found, scene.effects)


def test_a_great_change_of_mind_is_believed() -> None:
    layers, moves = MOVED.before.layers, replace(MOVED.moves, after=MOVED.moves.before)
    known, now = identity_effects(layers), strange(layers)
    said = replace(known, shadow=known.shadow * 0.9)
    found = followed(known, said, now, moves, layers)
    torch.testing.assert_close(found.shadow[:, 1:], now.shadow[:, 1:], atol=0.01, rtol=0)


def strange(layers: Layers) -> Effects:
    """Shadows that are nearly black everywhere."""
    return replace(lit(layers), shadow=torch.full_like(layers.rgb, 0.05))
