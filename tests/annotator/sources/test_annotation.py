"""Laws of shapes: a pixel belongs when its centre lies inside, at whatever size."""

import numpy as np
import pytest

from annotator.sources.annotation import Annotation, Box, Outline, Runs


def mask() -> np.ndarray:
    """A ring and a dot, different along both axes."""
    area = np.zeros((7, 9), bool)
    area[2:5, 3:8] = True
    area[3, 5] = False
    return area


def run_lengths(area: np.ndarray) -> tuple[int, ...]:
    flat = area.T.ravel()
    changes = np.flatnonzero(np.diff(np.concatenate([[False], flat])))
    return tuple(np.diff(np.concatenate([[0], changes, [flat.size]])).tolist())


def test_run_lengths_give_the_mask():
    # The string is what pycocotools 2.0.11 makes of the same mask.
    for counts in (run_lengths(mask()), "g03400NM032005"):
        assert np.array_equal(Runs(counts=counts, height=7, width=9).area(7, 9), mask())


def test_long_run_lengths_give_the_mask():
    # One pixel and the lower right corner of 300 x 400, as pycocotools 2.0.11 compresses them.
    area = np.zeros((300, 400), bool)
    area[0, 0] = area[200:, 300:] = True
    counts = "01gRh2S3aSXM" + 196 * "0" + "0"
    assert np.array_equal(Runs(counts=counts, height=300, width=400).area(300, 400), area)


@pytest.mark.parametrize("counts", [(), (3, 4), (64, -1), "", "g", "g03400NM03200500", "é~~", "!!"])
def test_damaged_run_lengths_are_refused(counts: tuple[int, ...] | str):
    with pytest.raises(ValueError, match="run lengths"):
        Runs(counts=counts, height=7, width=9).area(7, 9)


def test_every_shape_covers_the_same_pixels_at_every_size():
    area = np.zeros((40, 60), bool)
    area[10:30, 20:50] = True
    corners = np.array([[20, 10], [50, 10], [50, 30], [20, 30]], np.float32) / (60, 40)
    shapes = [
        Runs(counts=run_lengths(area), height=40, width=60),
        Box(left=20 / 60, top=10 / 40, right=50 / 60, bottom=30 / 40),
        Outline(polygons=(corners.astype(np.float32),)),
    ]
    for shape in shapes:
        assert np.array_equal(shape.area(40, 60), area)
        assert np.array_equal(shape.area(20, 30), area[::2, ::2])
        assert np.array_equal(shape.area(80, 120), area.repeat(2, 0).repeat(2, 1))


def test_an_outline_covers_a_triangles_share():
    triangle = np.array([[0.1, 0.1], [0.9, 0.1], [0.1, 0.7]], np.float32)
    covered = Outline(polygons=(triangle,)).area(200, 300).mean()
    assert covered == pytest.approx(0.5 * 0.8 * 0.6, abs=0.002)


@pytest.mark.parametrize("size", [(427, 640), (213, 320), (214, 320), (854, 1280)])
def test_marks_go_with_their_picture_at_any_size(size: tuple[int, int]):
    whole_picture().check_drawn_on(*size)


@pytest.mark.parametrize("size", [(640, 427), (427, 600), (320, 320)])
def test_marks_of_another_picture_are_refused(size: tuple[int, int]):
    with pytest.raises(ValueError, match=f"drawn on 640 x 427 .* {size[1]} x {size[0]}"):
        whole_picture().check_drawn_on(*size)


def whole_picture() -> Annotation:
    shape = Box(left=0.0, top=0.0, right=1.0, bottom=1.0)
    return Annotation(label="dog", shape=shape, height=427, width=640)
