"""Laws of matting: known discs come back, the parts give the picture, nothing degenerate fails."""

import cv2
import numpy as np
import pytest
from jaxtyping import Bool, Float32

from annotator.matting import exact, matte

SIDE, RADIUS = 96, 28.0
RED, BLUE = np.array([0.9, 0.2, 0.1]), np.array([0.1, 0.3, 0.8])
RAMP = np.linspace(0, 1, SIDE)[None, :, None]


def disc(radius: float) -> Float32[np.ndarray, "h w"]:
    """A disc's distance from its rim, in pixels, positive inside."""
    rows, columns = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    return (radius - np.hypot(rows, columns)).astype(np.float32)


def pictured(alpha: np.ndarray, front: np.ndarray, behind: np.ndarray) -> np.ndarray:
    share = alpha[..., None]
    return (255 * (share * front + (1 - share) * behind)).round().astype(np.uint8)


@pytest.mark.parametrize("behind", [BLUE + 0 * RAMP, RAMP * BLUE], ids=["plain", "graded"])
@pytest.mark.parametrize("softness", [1.0, 5.0])
@pytest.mark.parametrize("wrong", [-2.5, 0.0, 2.5])
def test_a_disc_comes_back(behind: np.ndarray, softness: float, wrong: float) -> None:
    alpha = (disc(RADIUS) / softness + 0.5).clip(0, 1)
    pixels = pictured(alpha, RED, behind)
    found = matte(pixels, disc(RADIUS + wrong) > 0, reach=3 + softness / 2)
    assert np.abs(found.alpha - alpha).max() < 0.06
    assert np.abs(found.foreground - RED)[alpha > 0.1].max() < 0.04
    edge = (alpha > 0.1) & (alpha < 0.9)
    truth = np.broadcast_to(behind, (SIDE, SIDE, 3))
    assert np.abs(found.behind - truth)[edge].max() < 0.06


def photograph() -> tuple[np.ndarray, Bool[np.ndarray, "h w"]]:
    picture = cv2.imread("tests/fixtures/sheep.jpg")
    assert picture is not None
    return cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA), disc(RADIUS) > 0


def test_the_parts_give_the_picture_back() -> None:
    pixels, mask = photograph()
    found = matte(pixels, mask)
    missed = pictured(found.alpha, found.foreground, found.behind).astype(int) - pixels
    assert np.abs(missed).max() <= 6
    assert np.square(missed).mean() < 0.05
    inside, outside = disc(RADIUS) > 8, disc(RADIUS) < -8
    assert (found.alpha[inside] == 1).all()
    assert (found.alpha[outside] == 0).all()


def test_equal_inputs_give_equal_bytes() -> None:
    first, second = (matte(*photograph()) for _ in range(2))
    assert first.alpha.tobytes() == second.alpha.tobytes()
    assert first.foreground.tobytes() == second.foreground.tobytes()


@pytest.mark.parametrize("value", [False, True])
def test_a_mask_without_outline_stays(value: bool) -> None:
    pixels, mask = photograph()
    found = matte(pixels, np.full_like(mask, value))
    assert (found.alpha == value).all()
    assert np.array_equal(found.foreground if value else found.behind, np.float32(pixels / 255))


MASKS = {
    "one pixel": disc(0.5) > 0,
    "all but one pixel": disc(0.5) <= 0,
    "thin line": np.arange(SIDE)[:, None] + np.zeros(SIDE) == 40,
    "at the border": np.arange(SIDE)[:, None] + np.zeros(SIDE) < 30,
    "the border itself": np.arange(SIDE)[:, None] + np.zeros(SIDE) < 1,
    "corners": disc(SIDE / 2) < 0,
    "noise": np.random.default_rng(0).random((SIDE, SIDE)) < 0.5,
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("flat", [False, True])
def test_odd_masks_have_answers(mask: Bool[np.ndarray, "h w"], flat: bool) -> None:
    pixels = np.full((SIDE, SIDE, 3), 90, np.uint8) if flat else photograph()[0]
    found = matte(pixels, mask)
    for values in (found.alpha, found.foreground, found.behind):
        assert np.isfinite(values).all()
        assert values.min() >= 0
        assert values.max() <= 1
    missed = pictured(found.alpha, found.foreground, found.behind).astype(int) - pixels
    assert np.square(missed).mean() < 0.5
    assert found.alpha.max() > 0.5
    assert found.alpha.min() < 0.5


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (2, 2), (5, 3)])
def test_tiny_pictures_have_answers(shape: tuple[int, int]) -> None:
    mask = np.zeros(shape, bool)
    mask[0, 0] = True
    found = matte(np.full((*shape, 3), 200, np.uint8), mask)
    assert found.alpha.shape == shape
    assert np.isfinite(found.foreground).all()


def test_a_flat_picture_keeps_its_mask() -> None:
    mask, sure = disc(RADIUS) > 0, np.abs(disc(RADIUS)) > 3
    found = matte(np.full((SIDE, SIDE, 3), 90, np.uint8), mask)
    assert np.array_equal(found.alpha[sure], mask[sure])
    assert ((found.alpha > 0.5) == mask).mean() > 0.99


def test_exact_colours_compose_to_the_picture_and_stay_when_they_do() -> None:
    random = np.random.default_rng(0)
    alpha = random.random((20, 30), np.float32)
    front, back, picture = (random.uniform(0.3, 0.7, (20, 30, 3)).astype("f4") for _ in range(3))
    share = alpha[..., None]
    colour, behind = exact(picture, alpha, front, back)
    inside = (colour > 0) & (colour < 1) & (behind > 0) & (behind < 1)
    assert inside.mean() > 0.9
    error = np.abs(share * colour + (1 - share) * behind - picture)
    assert error[inside].max() < 1e-5
    same, under = exact(share * front + (1 - share) * back, alpha, front, back)
    np.testing.assert_allclose(same, front, atol=1e-5)
    np.testing.assert_allclose(under, back, atol=1e-5)
