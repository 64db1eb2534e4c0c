"""Laws of photographs taken apart: layers give them back, and go on where they were hidden."""

import cv2
import numpy as np
import pytest
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from subjects import FIXTURES

from annotator.acceptance import psnr, recomposed
from annotator.completion import OpenCvCompletion
from annotator.matting import Matte
from annotator.ordering import CueOrdering
from annotator.photograph import Mark, Photograph
from annotator.pseudo_layers import Decomposer, explained
from annotator.regions import Region, RegionLimits
from annotator.segmenter import Segment
from ldm.storage import Provenance

NOBODY = Provenance(source="here", licence="CC0", author="nobody", note="")


class MarkedSegmenter:
    """Finds what is marked, exactly."""

    def __call__(self, pixels: UInt8[np.ndarray, "h w 3"], marks: tuple[Mark, ...]) -> list:
        return [
            Segment(mask=mark.area, label=mark.label, quality=1.0, stability=1.0) for mark in marks
        ]


DECOMPOSER = Decomposer(
    segmenter=MarkedSegmenter(),
    ordering=CueOrdering(),
    completion=OpenCvCompletion(),
    limits=RegionLimits(),
)


def disc(size: int, centre: tuple[int, int], radius: int) -> Bool[np.ndarray, "size size"]:
    """A filled circle."""
    return cv2.circle(np.zeros((size, size), np.uint8), centre, radius, 1, -1) > 0


def photograph(pixels: UInt8[np.ndarray, "h w 3"], *marks: Mark) -> Photograph:
    """Pixels with marks."""
    return Photograph(pixels=pixels, key="p", caption="a scene", marks=marks, provenance=NOBODY)


def fixture(name: str) -> UInt8[np.ndarray, "h w 3"]:
    """A real photograph, made small."""
    return np.asarray(Image.open(FIXTURES / name).convert("RGB").resize((160, 120)))


def smooth(alpha: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """With a soft edge."""
    return cv2.GaussianBlur(alpha, (0, 0), 1.5)


@pytest.mark.parametrize("name", ["duck.jpg", "horses.jpg", "windmill.jpg"])
def test_layers_give_the_photograph_back(name: str) -> None:
    pixels = fixture(name)
    near, far = disc(160, (50, 70), 30)[:120], disc(160, (90, 60), 35)[:120]
    marks = (
        Mark(label="near", area=near, exact=True),
        Mark(label="far", area=far & ~near, exact=True),
    )
    found = DECOMPOSER(photograph(pixels, *marks))
    assert len(found.layers) == 3
    assert (found.layers[0].rgba[..., 3] == 255).all()
    assert {layer.label for layer in found.layers} == {"near", "far", "a scene"}
    stacked = recomposed([layer.rgba for layer in found.layers])
    assert psnr(pixels, stacked) > 45
    again = DECOMPOSER(photograph(pixels, *marks))
    for first, second in zip(found.layers, again.layers, strict=True):
        assert np.array_equal(first.rgba, second.rgba)


def test_a_known_composite_is_taken_apart() -> None:
    """A disc of one colour before a slope of others, its mask 2 px too large."""
    slope = np.linspace(0.1, 0.5, 128, dtype=np.float32)
    back = np.stack(np.broadcast_arrays(slope[:, None], slope[None], 0.6), axis=2)
    alpha = smooth(disc(128, (64, 60), 30).astype(np.float32))
    colour = np.array([0.9, 0.8, 0.2], np.float32)
    picture = alpha[..., None] * colour + (1 - alpha[..., None]) * back
    pixels = np.rint(picture * 255).astype(np.uint8)
    wrong = disc(128, (64, 60), 32)
    found = DECOMPOSER(photograph(pixels, Mark(label="disc", area=wrong, exact=True)))
    behind, layer = (each.rgba.astype(np.float32) / 255 for each in found.layers)
    assert np.abs(layer[..., 3] - alpha).sum() < 0.6 * np.abs(wrong - alpha).sum()
    assert np.abs(behind[..., :3] - back).mean() < 0.01
    assert np.abs(layer[..., :3] - colour)[alpha > 0.5].mean() < 0.02


def test_what_is_farther_goes_on_under_what_is_nearer() -> None:
    pixels = np.full((128, 128, 3), 40, np.uint8)
    far, near = disc(128, (50, 64), 30), disc(128, (84, 64), 26)
    pixels[far] = (200, 40, 40)
    pixels[near] = (40, 200, 40)
    found = [Region(mask=far & ~near, label="far"), Region(mask=near, label="near")]
    layers = DECOMPOSER.peeled(photograph(pixels), found).layers
    assert [layer.label for layer in layers] == ["a scene", "far", "near"]
    under = far & near
    covered = layers[1].rgba[..., 3] > 127
    assert covered[under].mean() > 0.5
    assert not covered[
        ~far & ~cv2.dilate(near.astype(np.uint8), np.ones((5, 5))).astype(bool)
    ].any()
    assert np.abs(layers[0].rgba[..., :3].astype(int) - 40).max() < 12
    own = layers[1].rgba[covered][:, :3].astype(int)
    assert np.abs(own - (200, 40, 40)).max() < 12


def test_nothing_found_is_one_opaque_layer() -> None:
    pixels = fixture("sheep.jpg")
    (back,) = DECOMPOSER(photograph(pixels)).layers
    assert np.array_equal(back.rgba[..., :3], pixels)
    assert (back.rgba[..., 3] == 255).all()


def test_a_stack_has_the_layers_in_their_order() -> None:
    pixels = fixture("duck.jpg")
    area = disc(160, (80, 60), 30)[:120]
    found = DECOMPOSER(photograph(pixels, Mark(label="duck", area=area, exact=True)))
    layers = found.to_layers()
    assert layers.rgba.shape == (1, 2, 4, 120, 160)
    assert layers.present.all()
    for slot, layer in enumerate(found.layers):
        assert np.array_equal(
            (layers.rgba[0, slot] * 255).round().byte().permute(1, 2, 0), layer.rgba
        )


def test_what_a_matte_left_at_its_rim_is_the_objects() -> None:
    """A dark line beside the object, of its colour, that the matte does not have."""
    back, dark = np.full((20, 40, 3), 0.8, np.float32), np.full((20, 40, 3), 0.1, np.float32)
    alpha = np.zeros((20, 40), np.float32)
    alpha[:, :20] = 1
    picture = np.where(np.arange(40)[None, :, None] < 23, dark, back)
    known = Matte(alpha=alpha, foreground=dark, behind=back)
    found = explained(picture, known, back)
    assert np.allclose(found[:, :23], 1, atol=1e-5)
    assert not found[:, 23:].any()
    other = picture.copy()
    other[:, 25:35] = (0.8, 0.8, 0.2)
    assert np.array_equal(explained(other, known, back), found)
