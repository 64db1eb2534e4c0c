"""Laws of edges: they say of boxes what is known of boxes, from both ends."""

import pytest
import torch

from cldm.relation.edges import edges

ROWS, COLUMNS = 20, 40


def alpha(*boxes: tuple[int, int, int, int]) -> torch.Tensor:
    """A back and solid boxes: first and last row, first and last column."""
    made = torch.zeros(1, 1 + len(boxes), 1, ROWS, COLUMNS)
    made[:, 0] = 1
    for slot, (top, bottom, left, right) in enumerate(boxes, start=1):
        made[:, slot, :, top:bottom, left:right] = 1
    return made


def test_places_and_areas_are_those_of_the_boxes() -> None:
    found = edges(alpha((4, 8, 4, 8), (10, 18, 20, 28)))
    assert float(found.right[0, 1, 2]) == pytest.approx((24 - 6) / COLUMNS)
    assert float(found.below[0, 1, 2]) == pytest.approx((14 - 6) / ROWS)
    assert float(found.nearer[0, 1, 2]) == pytest.approx((18 - 8) / ROWS)
    assert float(found.larger[0, 1, 2]) == pytest.approx((64 - 16) / (64 + 16))


@pytest.mark.parametrize(("gap", "meets"), [(2, True), (4, False), (9, False)])
def test_layers_touch_over_a_small_gap_only(gap: int, meets: bool) -> None:
    found = edges(alpha((4, 12, 4, 12), (4, 12, 12 + gap, 20 + gap)))
    assert bool(found.touching[0, 1, 2] > 0) is meets
    assert bool(found.in_front[0, 1, 2] > 0) is meets
    assert float(found.overlap[0, 1, 2]) == 0


def test_overlap_is_the_share_of_the_smaller() -> None:
    found = edges(alpha((4, 8, 4, 12), (4, 12, 8, 16)))
    assert float(found.overlap[0, 1, 2]) == pytest.approx(16 / 32)
    assert float(found.overlap[0, 0, 1]) == pytest.approx(1)


def test_an_edge_is_told_from_both_ends() -> None:
    found = edges(alpha((4, 8, 4, 12), (4, 12, 8, 16), (2, 19, 30, 38)))
    for same in (found.touching, found.overlap):
        assert torch.equal(same, same.transpose(1, 2))
    for turned in (found.in_front, found.right, found.below, found.nearer, found.larger):
        torch.testing.assert_close(turned, -turned.transpose(1, 2))
    assert found.features.shape == (1, 4, 4, 7)
    assert found.features.abs().max() <= 1


def test_an_empty_layer_has_finite_edges() -> None:
    assert edges(alpha((0, 0, 0, 0))).features.isfinite().all()
