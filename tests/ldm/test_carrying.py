"""Laws of moves: which layers an edit has touched."""

import pytest
import torch
from relation_scenes import (
    ADDED,
    BELOW,
    LEFT,
    MOVED,
    RELIT,
    REMOVED,
    REORDERED,
    RIGHT,
    edited,
)

from annotator.scenes.shards import EditedScene
from annotator.scenes.staging import EditKind
from ldm.carrying import overtaken


@pytest.mark.parametrize(
    ("edit", "now", "before"),
    [
        (MOVED, [False, True, False], [False, True, False]),
        (ADDED, [False, True, False], [False, False]),
        (REMOVED, [False, False], [False, True, False]),
        (REORDERED, [False, True, True], [False, True, True]),
        (RELIT, [False, False, False], [False, False, False]),
    ],
)
def test_an_edit_touches_what_came_went_moved_or_changed_places(
    edit: EditedScene, now: list[bool], before: list[bool]
) -> None:
    assert edit.moves.edited.tolist() == now
    assert edit.moves.left(edit.before.layers.present.shape[1]).tolist() == before


def test_who_is_passed_by_a_layer_that_moves_is_not_edited() -> None:
    passed = edited(EditKind.moved, [LEFT, RIGHT], [RIGHT, BELOW], (0, 2, 1))
    assert passed.moves.edited.tolist() == [False, False, True]
    assert passed.moves.left(3).tolist() == [False, True, False]


def test_only_those_that_pass_each_other_have_changed_places() -> None:
    origin = torch.tensor([0, 1, 4, 2, -1, 5])
    assert overtaken(origin).tolist() == [False, False, True, True, False, False]
