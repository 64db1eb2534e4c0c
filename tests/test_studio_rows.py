"""Laws of the studio's rows: prompts follow their masks."""

import numpy as np
from subjects import disc

from studio_rows import Rows, follow


def rows(*masks: np.ndarray) -> Rows:
    return Rows(masks=(*masks, *[None] * (4 - len(masks))), shown=max(1, len(masks)))


LEFT, RIGHT, NOTHING = disc(16, 20), disc(44, 40), np.zeros((64, 64), bool)


def test_prompts_stay_while_a_mask_is_painted() -> None:
    assert follow(rows(), [NOTHING]) == [0, 1, 2, 3]
    assert follow(rows(NOTHING), [LEFT]) == [0, 1, 2, 3]
    assert follow(rows(LEFT, RIGHT), [LEFT | disc(20, 22), RIGHT]) == [0, 1, 2, 3]
    assert follow(rows(LEFT, RIGHT), [LEFT, NOTHING]) == [0, 1, 2, 3]


def test_prompts_follow_masks_that_change_places() -> None:
    assert follow(rows(LEFT, RIGHT), [RIGHT, LEFT])[:2] == [1, 0]
    assert follow(rows(LEFT, RIGHT), [disc(45, 41), disc(15, 20)])[:2] == [1, 0]


def test_prompts_of_deleted_masks_wait_below() -> None:
    order = follow(rows(LEFT, RIGHT), [RIGHT])
    assert order[0] == 1
    fewer = rows(LEFT, RIGHT).with_masks([RIGHT], order)
    assert fewer.shown == 1
    back = follow(fewer, [LEFT, RIGHT])
    assert [order[row] for row in back][:2] == [0, 1]


def test_a_new_layer_gets_no_old_prompt() -> None:
    fewer = rows(LEFT, RIGHT).with_masks([LEFT], [0, 1, 2, 3])
    assert follow(fewer, [LEFT, NOTHING])[1] not in (0, 1)
