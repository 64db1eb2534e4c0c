"""Laws of opening: a file of any kind gives the same upright picture, or is refused by name."""

import pickle
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from photographs import encoded, error, opened, refusal
from PIL import ExifTags, Image, ImageFile

from annotator.opening import Limits
from annotator.refusal import PhotographError, Reason


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {"lossless": True}),
    ],
)
def test_lossless_kinds_give_every_pixel(truth: Image.Image, kind: str, options: dict[str, Any]):
    assert np.array_equal(opened(encoded(truth, kind, **options)).pixels, np.asarray(truth))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"quality": 95}),
        ("JPEG", {"quality": 95, "progressive": True}),
        ("WEBP", {"quality": 95}),
        ("GIF", {}),
    ],
)
def test_lossy_kinds_come_near(truth: Image.Image, kind: str, options: dict[str, Any]):
    assert error(opened(encoded(truth, kind, **options)).pixels, truth) < 6


TURNED_BY = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,  # stored a quarter turn to the left, shown a quarter to the right
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", TURNED_BY)
def test_pictures_stand_upright(truth: Image.Image, kind: str, orientation: int):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    stored = truth.transpose(TURNED_BY[orientation])
    picture = opened(encoded(stored, kind, exif=exif, quality=95))
    assert error(picture.pixels, truth) < 4
    assert np.array_equal(picture.upright(picture.stored[..., 0]), picture.pixels[..., 0])


@pytest.mark.parametrize("orientation", [0, 9, 4711])
def test_orientations_that_do_not_exist_turn_nothing(truth: Image.Image, orientation: int):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    assert error(opened(encoded(truth, "PNG", exif=exif)).pixels, truth) == 0


def test_broken_exif_turns_nothing(truth: Image.Image):
    content = encoded(truth, "JPEG", exif=b"Exif\0\0neither MM nor II", quality=95)
    assert error(opened(content).pixels, truth) < 4


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_more_than_one_picture_is_refused(truth: Image.Image, kind: str):
    frames = [truth.rotate(90)]
    assert refusal(encoded(truth, kind, save_all=True, append_images=frames)).reason is (
        Reason.ANIMATED
    )


def test_of_a_telephones_pictures_the_first_is_opened(truth: Image.Image):
    content = encoded(truth, "MPO", save_all=True, append_images=[truth.rotate(90)], quality=95)
    assert error(opened(content).pixels, truth) < 4


def png_that_claims(width: int, height: int) -> bytes:
    """A sound header, and a few bytes of pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    beginning = b"\x89PNG\r\n\x1a\n"
    return beginning + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(60000, 60000), (11000, 10000), (9001, 9999)])
def test_bombs_are_refused_by_their_header(
    width: int, height: int, monkeypatch: pytest.MonkeyPatch
):
    def load(image: ImageFile.ImageFile) -> None:
        pytest.fail(f"{image.size} were to be decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    limits = Limits(long_side=1000, maximum_pixels=90_000_000)
    assert refusal(png_that_claims(width, height), limits).reason is Reason.HUGE


def test_tiny_pictures_are_refused_by_their_short_side(truth: Image.Image):
    content = encoded(truth, "PNG")
    assert refusal(content, Limits(long_side=1000, minimum_side=121)).reason is Reason.TINY
    assert opened(content, Limits(long_side=1000, minimum_side=120)).height == 120
    assert refusal(content, Limits(long_side=1000)).reason is Reason.TINY


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
@pytest.mark.parametrize("share", [0.02, 0.4, 0.8])
def test_files_that_are_cut_off_are_damaged(truth: Image.Image, kind: str, share: float):
    content = encoded(truth, kind)
    assert refusal(content[: 20 + int(share * len(content))]).reason is Reason.DAMAGED


def test_flipped_bytes_never_do_worse_than_a_refusal(truth: Image.Image):
    generator, refusals = np.random.default_rng(0), []
    for kind in ("JPEG", "PNG", "WEBP", "TIFF", "GIF"):
        content = np.frombuffer(encoded(truth, kind), np.uint8)
        for _ in range(20):
            spoilt = content.copy()
            spoilt[generator.integers(12, min(len(content), 900), 5)] = generator.integers(
                0, 256, 5
            )
            try:
                assert opened(spoilt.tobytes()).pixels.dtype == np.uint8
            except PhotographError as error:
                refusals.append(str(error))
    assert refusals
    assert not [text for text in refusals if "\n" in text]


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff", b"<html>404</html>", b"%PDF-1.4", b"RIFF\0\0\0\0WAVEfmt ", bytes(5000)],
)
def test_what_is_no_picture_is_called_so(content: bytes):
    assert refusal(content).reason is Reason.NOT_A_PICTURE


def test_reduction_averages_areas(truth: Image.Image):
    reduced = opened(encoded(truth, "PNG"), Limits(long_side=40, minimum_side=32))
    blocks = np.asarray(truth, dtype=float).reshape(30, 4, 40, 4, 3).mean(axis=(1, 3))
    assert np.abs(reduced.pixels - blocks).max() <= 0.51
    assert (reduced.height, reduced.width) == (120, 160)


def test_large_jpegs_are_averaged_too(truth: Image.Image):
    # Decoded at a quarter first: near to the average, and of exactly the size of any other kind.
    large = truth.resize((803, 601), Image.Resampling.BICUBIC)
    limits = Limits(long_side=160)
    exact = opened(encoded(large, "PNG"), limits)
    quick = opened(encoded(large, "JPEG", quality=95), limits)
    assert error(quick.pixels, Image.fromarray(exact.pixels)) < 2
    assert (quick.height, quick.width) == (601, 803)


def test_small_pictures_are_not_enlarged(truth: Image.Image):
    assert opened(encoded(truth, "PNG")).pixels.shape == (120, 160, 3)


def test_refusals_pass_between_processes():
    told = pickle.loads(pickle.dumps(refusal(b"")))
    assert (told.reason, str(told)) == (Reason.NOT_A_PICTURE, str(refusal(b"")))
