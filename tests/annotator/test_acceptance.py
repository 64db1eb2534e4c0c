"""Laws of acceptance: figures equal their references, each flaw is found alone."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from annotator.acceptance import Flaw, Limits, judge, recomposed, sharpness
from annotator.photograph import Photograph
from annotator.pseudo_layers import Decomposition, PseudoLayer
from ldm.storage import Provenance

PIXELS = np.array(Image.open(Path("tests/fixtures/sheep.jpg")).convert("RGB"))
HEIGHT, WIDTH = PIXELS.shape[:2]
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH]


def disc(radius: float, ramp: float = 3.0) -> np.ndarray:
    """Alpha 0..255 of a disc in the middle, its edge `ramp` pixels wide."""
    inside = radius - np.hypot(ROWS - HEIGHT / 2, COLUMNS - WIDTH / 2)
    return (np.clip(inside / ramp + 0.5, 0, 1) * 255).round().astype(np.uint8)


def layer(alpha: np.ndarray, pixels: np.ndarray = PIXELS) -> PseudoLayer:
    """The photograph's colours under an alpha."""
    return PseudoLayer(rgba=np.dstack([pixels, alpha]), label="")


def decomposition(*alphas: np.ndarray, pixels: np.ndarray = PIXELS) -> Decomposition:
    """Layers that give the photograph back exactly: the whole of it, and discs of it."""
    provenance = Provenance(source="", licence="", author="", note="")
    photograph = Photograph(pixels=pixels, key="k", caption="", marks=(), provenance=provenance)
    full = np.full(pixels.shape[:2], 255, np.uint8)
    layers = tuple(layer(alpha, pixels) for alpha in (full, *alphas))
    return Decomposition(photograph=photograph, layers=layers)


def test_exact_layers_with_soft_edges_are_kept() -> None:
    verdict = judge(decomposition(disc(60)), Limits())
    assert verdict.kept
    assert verdict.figures["recomposition_psnr"] > 99


def test_recomposition_is_pillows_and_its_psnr_is_scikit_images() -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (40, 50, 3)).astype(np.uint8)
    layers = [random.integers(0, 256, (40, 50, 4)).astype(np.uint8) for _ in range(3)]
    layers[0][..., 3] = 255
    pillow = Image.fromarray(layers[0])
    for each in layers[1:]:
        pillow.alpha_composite(Image.fromarray(each))
    found = recomposed(layers)
    # Pillow rounds after each layer.
    assert np.abs(found * 255 - np.array(pillow)[..., :3]).max() <= 1.5
    subject = decomposition(pixels=pixels)
    subject = replace(subject, layers=tuple(PseudoLayer(rgba=each, label="") for each in layers))
    expected = peak_signal_noise_ratio(pixels / 255, found.astype(np.float64), data_range=1)
    assert judge(subject, Limits()).figures["recomposition_psnr"] == pytest.approx(expected)


def test_an_edge_is_as_wide_as_its_ramp() -> None:
    for ramp in (4.0, 8.0, 16.0):
        figures = judge(decomposition(disc(60, ramp)), Limits()).figures
        assert figures["edge_width"] == pytest.approx(ramp, rel=0.25)
        assert figures["softness"] == 1


def test_area_is_the_smallest_objects() -> None:
    figures = judge(decomposition(disc(60), disc(20)), Limits()).figures
    assert figures["smallest_area"] == pytest.approx(np.pi * 20**2 / (HEIGHT * WIDTH), rel=0.02)
    assert figures["objects"] == 2


def test_sharpness_hardly_depends_on_resolution() -> None:
    fine = cv2.resize(PIXELS, (1600, 1160), interpolation=cv2.INTER_CUBIC)
    finer = cv2.resize(PIXELS, (3200, 2320), interpolation=cv2.INTER_CUBIC)
    assert sharpness(fine) == pytest.approx(sharpness(finer), rel=0.1)


@pytest.mark.parametrize(
    ("subject", "flaw"),
    [
        (decomposition(), Flaw.no_objects),
        (decomposition(*[disc(40)] * 9), Flaw.too_many_objects),
        (decomposition(disc(4)), Flaw.small_object),
        (decomposition(np.where(disc(60) > 127, 255, 0).astype(np.uint8)), Flaw.hard_edge),
        (decomposition(disc(60, 60)), Flaw.soft_edge),
        (decomposition(disc(60), pixels=cv2.GaussianBlur(PIXELS, (0, 0), 4)), Flaw.blur),
    ],
)
def test_each_flaw_is_found_alone(subject: Decomposition, flaw: Flaw) -> None:
    assert judge(subject, Limits()).flaws == (flaw,)


def test_layers_that_show_another_picture_are_refused() -> None:
    subject = decomposition(disc(60))
    wrong = layer(disc(60), 255 - PIXELS)
    flaws = judge(replace(subject, layers=(subject.layers[0], wrong)), Limits()).flaws
    assert flaws == (Flaw.recomposition,)


def test_every_limit_can_be_loosened() -> None:
    hard = decomposition(np.where(disc(60) > 127, 255, 0).astype(np.uint8))
    assert judge(hard, Limits(softness=0.0)).kept
