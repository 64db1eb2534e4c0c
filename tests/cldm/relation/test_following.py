"""Laws of following: what a network says the same of stays, what it errs by cancels."""

from dataclasses import replace

import pytest
import torch
from relation_scenes import ADDED, MOVED, REMOVED, lit

from cldm.relation.following import agreed_around, followed
from ldm.values import Effects, Layers, identity_effects


def erring(effects: Effects) -> Effects:
    """The same, all shadows and light too weak by a third, as a network may say it."""
    return replace(effects, multiply=effects.multiply.pow(2 / 3), shadow=effects.shadow.pow(2 / 3))


def assert_equal(found: Effects, expected: Effects) -> None:
    for name in ("multiply", "add", "shadow"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name))


@pytest.mark.parametrize("same_light", [False, True])
def test_without_an_edit_nothing_changes_whatever_the_network_says(same_light: bool) -> None:
    scene, moves = MOVED.before, replace(MOVED.moves, after=MOVED.moves.before)
    said = erring(scene.effects)
    found = followed(scene.effects, said, said, moves, scene.layers, same_light=same_light)
    assert_equal(found, scene.effects)
    torch.testing.assert_close(found.reflection[:, :, 3], scene.effects.reflection[:, :, 3])


def test_errors_that_travel_with_a_layer_cancel() -> None:
    for edited in (MOVED, REMOVED):
        before, after = edited.before.effects, edited.after.effects
        said = erring(before), erring(after)
        found = followed(before, *said, edited.moves, edited.after.layers, same_light=False)
        assert_equal(found, after)


def test_a_network_that_knows_of_nothing_before_is_asked_for_what_is_new() -> None:
    before, after = ADDED.before.effects, ADDED.after.effects
    found = followed(before, before, after, ADDED.moves, ADDED.after.layers, same_light=False)
    assert_equal(found, after)


def test_small_changes_of_mind_move_nothing() -> None:
    scene, moves = MOVED.before, replace(MOVED.moves, after=MOVED.moves.before)
    wobbling = replace(scene.effects, shadow=scene.effects.shadow * 0.98)
    found = followed(scene.effects, scene.effects, wobbling, moves, scene.layers, same_light=False)
    assert_equal(found, scene.effects)


def test_a_great_change_of_mind_is_believed() -> None:
    layers, moves = MOVED.before.layers, replace(MOVED.moves, after=MOVED.moves.before)
    known, now = identity_effects(layers), strange(layers)
    said = replace(known, shadow=known.shadow * 0.9)
    found = followed(known, said, now, moves, layers, same_light=False)
    torch.testing.assert_close(found.shadow[:, 1:], now.shadow[:, 1:], atol=0.01, rtol=0)


def test_in_the_same_light_all_keeps_still_but_what_is_near_the_edit() -> None:
    scene, layers, moves = MOVED.before, MOVED.after.layers, MOVED.moves
    assert moves.edited.tolist() == [False, True, False]
    now = MOVED.after.effects
    other = torch.tensor([False, False, True])[:, None, None, None]
    now = replace(now, shadow=torch.where(other, strange(layers).shadow, now.shadow))
    found = followed(scene.effects, scene.effects, now, moves, layers, same_light=True)
    assert_equal(found.indexed((slice(None), slice(0, 2))), now.indexed((slice(None), slice(0, 2))))
    still = (found.shadow[0, 2] == scene.effects.shadow[0, 2]).all(dim=0)
    assert 0.3 < still.float().mean() < 0.9
    bodies = (scene.layers.alpha + layers.alpha)[0, 1, 0] > 0.1
    assert not still[bodies].any()


def test_the_mirror_image_of_a_new_layer_is_as_strong_as_those_that_are_known() -> None:
    before, after, moves = ADDED.before.effects, ADDED.after.effects, ADDED.moves
    known, said = (mirroring(before, share) for share in (0.6, 0.15))
    now = mirroring(after, 0.1)
    found = followed(known, said, now, moves, ADDED.after.layers, same_light=True)
    new = [slot for slot, origin in enumerate(moves.origin) if origin < 0]
    torch.testing.assert_close(
        found.reflection[:, new, 3], torch.full_like(now.alpha[:, new, 0], 0.4)
    )
    nothing = followed(mirroring(before, 0), said, now, moves, ADDED.after.layers, same_light=True)
    assert not nothing.reflection[:, new, 3].any()


def mirroring(effects: Effects, share: float) -> Effects:
    """The same over an even mirror."""
    mirror = torch.full_like(effects.reflection, share)
    mirror[:, 0] = 0
    return replace(effects, reflection=mirror)


def test_layers_that_are_known_to_cast_nothing_stand_in_the_light_already() -> None:
    moves = ADDED.moves
    before, after = agreed_around(ADDED.before.effects, moves)
    assert not before.any()
    assert not after.any()
    before, after = agreed_around(identity_effects(ADDED.before.layers), moves)
    assert before.all()
    assert after[0].bool().tolist() == [origin > 0 for origin in moves.origin[1:]]
    alone = identity_effects(ADDED.before.layers.take(torch.tensor([0])))
    before, after = agreed_around(alone, replace(moves, origin=(0, -1)))
    assert before.shape == (1, 0)
    assert after.tolist() == [[0]]


def strange(layers: Layers) -> Effects:
    """Shadows that are nearly black everywhere."""
    return replace(lit(layers), shadow=torch.full_like(layers.rgb, 0.05))
