"""Laws of edits: what they change, on boxes whose effects are known."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from relation_scenes import ADDED, MOVED, RELIT, REMOVED, REORDERED, SIZE, Box

from annotator.scenes.shards import EditedScene
from paper.relation_edits import cast_regions, changed_slots, drawn_region, still_region


@pytest.mark.parametrize(
    ("edited", "before", "after"),
    [
        (MOVED, [False, True, False], [False, True, False]),
        (REMOVED, [False, True, False], [False, False]),
        (ADDED, [False, False], [False, True, False]),
        (REORDERED, [False, True, True], [False, True, True]),
        (RELIT, [True, True, True], [True, True, True]),
    ],
)
def test_an_edit_changes_what_came_went_or_moved(
    edited: EditedScene, before: list[bool], after: list[bool]
) -> None:
    found = changed_slots(edited)
    assert [each.tolist() for each in found] == [before, after]


def covered(*boxes: Box) -> np.ndarray:
    """1 in the boxes."""
    mask = np.zeros((SIZE, SIZE), np.float32)
    for left, top, right, bottom in boxes:
        mask[top:bottom, left:right] = 1
    return mask


# What a box at the left casts: shadow, then mirror image, where no box covers it.
OLD = covered((12, 8, 20, 16), (4, 14, 12, 22)) * (1 - covered((4, 4, 12, 12), (16, 4, 24, 12)))
NEW = covered((12, 18, 20, 26), (4, 24, 12, 32)) * (1 - covered((4, 14, 12, 22)))


def test_an_edit_is_judged_where_effects_were_and_where_they_are() -> None:
    for found, expected in zip(cast_regions(MOVED), (OLD, NEW), strict=True):
        np.testing.assert_array_equal(found[0, 0].numpy(), expected)


def test_still_is_what_neither_layer_nor_effect_comes_near() -> None:
    touched = np.maximum(OLD, NEW)
    touched = np.maximum(touched, covered((4, 4, 12, 12), (4, 14, 12, 22)))
    expected = 1 - cv2.dilate(touched, np.ones((3, 3)))  # 3 % of 32 is a pixel
    np.testing.assert_array_equal(still_region(MOVED)[0, 0].numpy(), expected)


def test_drawn_is_the_moved_layer_and_what_it_is_said_to_cast() -> None:
    found = drawn_region(MOVED, MOVED.before.effects, MOVED.after.effects)[0, 0].numpy()
    boxes = [(4, 4, 12, 12), (12, 8, 20, 16), (4, 14, 12, 22)]  # it, its shadow, its mirror image
    boxes += [(left, top + 10, right, bottom + 10) for left, top, right, bottom in boxes]
    expected = cv2.dilate(np.maximum.reduce([covered(box) for box in boxes]), np.ones((3, 3)))
    np.testing.assert_array_equal(found, expected)


def test_an_edit_that_adds_touches_nothing_before_it() -> None:
    found = drawn_region(ADDED, ADDED.before.effects, ADDED.after.effects)
    body = ADDED.after.layers.alpha[:, 1] > 0
    assert found[body].all()
    assert 0.1 < found.mean() < 0.5


def test_the_far_end_of_a_soft_shadow_is_not_still() -> None:
    shadow = MOVED.after.effects.shadow.clone()
    shadow[:, 1, :, -3:, -3:] = 0.985
    after = replace(MOVED.after, effects=replace(MOVED.after.effects, shadow=shadow))
    fainter = 255 * (after.picture - MOVED.after.picture).abs().amax()
    assert 1 < fainter < 4
    found = still_region(replace(MOVED, after=after))[0, 0]
    assert not found[-4:, -4:].any()
    torch.testing.assert_close(found[:-4], still_region(MOVED)[0, 0, :-4])
