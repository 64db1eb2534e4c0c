"""Laws of opening: a file of any kind gives the same upright picture, or is refused by name."""

import pickle
import struct
import zlib
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, ImageFile
from skimage import color

from annotator.opening import Limits, Opened, open_picture
from annotator.refusal import PhotographError, Reason

FIXTURES = Path(__file__).parents[1] / "fixtures"
LIMITS = Limits(long_side=1000, minimum_side=32)


@pytest.fixture(scope="module")
def truth() -> Image.Image:
    """A photograph, wider than high, that nothing has been done to."""
    with Image.open(FIXTURES / "sheep.jpg") as image:
        return image.convert("RGB").resize((160, 120))


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def opened(content: bytes, limits: Limits = LIMITS) -> Opened:
    return open_picture(content, name="shelf/photo.jpg", limits=limits)


def refusal(content: bytes, limits: Limits = LIMITS) -> PhotographError:
    with pytest.raises(PhotographError, match=r"\Ashelf/photo\.jpg: [^\n]+\Z") as caught:
        opened(content, limits)
    return caught.value


def error(pixels: np.ndarray, truth: Image.Image) -> float:
    """Mean difference in levels; another size is no picture of it at all."""
    assert pixels.shape == np.asarray(truth).shape
    return float(np.abs(pixels.astype(float) - np.asarray(truth, dtype=float)).mean())


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


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "RGBA", "CMYK"])
def test_other_colour_models_are_converted(truth: Image.Image, mode: str):
    image = truth.convert(mode)
    pixels = opened(encoded(image, "TIFF")).pixels
    assert error(pixels, image.convert("RGB")) == 0


def test_cmyk_of_an_agency_comes_near(truth: Image.Image):
    # Adobe's JPEGs store ink inverted; so does Pillow when it writes.
    assert error(opened(encoded(truth.convert("CMYK"), "JPEG", quality=95)).pixels, truth) < 4


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_grey_of_16_bits_is_scaled(kind: str):
    levels = np.tile(np.linspace(0, 65535, 256).round().astype(np.uint16), (64, 1))
    pixels = opened(encoded(Image.fromarray(levels), kind)).pixels
    assert np.array_equal(
        pixels, np.repeat(np.arange(256, dtype=np.uint8)[None], 64, 0)[..., None].repeat(3, 2)
    )


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_colour_of_16_bits_is_scaled(truth: Image.Image, suffix: str):
    levels = np.asarray(truth).astype(np.uint16)[..., ::-1] * 257
    content = cv2.imencode(suffix, levels)[1].tobytes()
    assert np.abs(opened(content).pixels.astype(int) - np.asarray(truth)).max() <= 1


def test_alpha_that_hides_nothing_is_dropped_and_any_other_refused(truth: Image.Image):
    alpha = Image.new("L", truth.size, 255)
    whole = truth.copy()
    whole.putalpha(alpha)
    alpha.putpixel((3, 5), 90)
    hidden = truth.copy()
    hidden.putalpha(alpha)
    for kind in ("PNG", "TIFF"):
        assert error(opened(encoded(whole, kind)).pixels, truth) == 0
        assert refusal(encoded(hidden, kind)).reason is Reason.TRANSPARENT
    assert refusal(encoded(hidden, "WEBP", lossless=True)).reason is Reason.TRANSPARENT


def test_a_transparent_colour_that_is_used_is_refused(truth: Image.Image):
    colours = truth.convert("P", palette=Image.Palette.ADAPTIVE, colors=200)
    pixels = encoded(colours, "GIF", transparency=colours.getpixel((0, 0)))
    assert refusal(pixels).reason is Reason.TRANSPARENT
    unused = opened(encoded(colours, "PNG", transparency=255)).pixels
    assert error(unused, colours.convert("RGB")) == 0


def exchanged_profile() -> bytes:
    """sRGB, except that what is called red is blue and the other way round."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"    ").replace(b"bXYZ", b"rXYZ").replace(b"    ", b"bXYZ", 1)


def black_ink_profile() -> bytes:
    """A printer whose black ink darkens L* evenly and whose other inks are water (ICC.1:2001,
    6.5.9: a table of 8 bits, two grid points for each ink)."""
    identity = bytes(range(256))
    grid = b"".join(bytes([255 * (1 - corner % 2), 128, 128]) for corner in range(16))
    matrix = struct.pack(">9i", *(65536 * (k % 4 == 0) for k in range(9)))
    table = b"mft1" + bytes([0, 0, 0, 0, 4, 3, 2, 0]) + matrix + identity * 4 + grid + identity * 3
    header = bytearray(128)
    header[:4] = struct.pack(">I", 144 + len(table))
    header[8:24] = b"\x02\x10\0\0prtrCMYKLab "
    header[36:40] = b"acsp"
    header[68:80] = struct.pack(">3i", 63190, 65536, 54061)
    return bytes(header) + struct.pack(">I4sII", 1, b"A2B0", 144, len(table)) + table


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_profiles_are_brought_to_srgb(truth: Image.Image, kind: str):
    options = {"lossless": True} if kind == "WEBP" else {"quality": 98}
    stored = Image.merge("RGB", truth.split()[::-1])
    content = encoded(stored, kind, icc_profile=exchanged_profile(), **options)
    assert error(opened(content).pixels, truth) < 3


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_goes_through_its_profile(kind: str):
    ink = np.zeros((64, 256, 4), np.uint8)
    ink[..., 3] = np.arange(256)
    image = Image.fromarray(ink, "CMYK")
    lab = np.zeros((64, 256, 3))
    lab[..., 0] = 100 * (1 - np.arange(256) / 255)
    expected = Image.fromarray((color.lab2rgb(lab) * 255).round().astype(np.uint8))
    pixels = opened(encoded(image, kind, icc_profile=black_ink_profile(), quality=98)).pixels
    assert error(pixels, expected) < 2
    assert error(pixels, image.convert("RGB")) > 4


@pytest.mark.parametrize("profile", [b"no profile", exchanged_profile()[:500], black_ink_profile()])
def test_profiles_that_do_not_fit_are_passed_over(truth: Image.Image, profile: bytes):
    assert error(opened(encoded(truth, "PNG", icc_profile=profile)).pixels, truth) == 0


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
    generator = np.random.default_rng(0)
    for kind in ("JPEG", "PNG", "WEBP", "TIFF", "GIF"):
        content = np.frombuffer(encoded(truth, kind), np.uint8)
        for _ in range(20):
            spoilt = content.copy()
            spoilt[generator.integers(12, min(len(content), 900), 5)] = generator.integers(
                0, 256, 5
            )
            with suppress(PhotographError):
                opened(spoilt.tobytes())


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff", b"<html>404</html>", b"%PDF-1.4", b"RIFF\0\0\0\0WAVEfmt ", bytes(5000)],
)
def test_what_is_no_picture_is_called_so(content: bytes):
    assert refusal(content).reason is Reason.NOT_A_PICTURE


@pytest.mark.parametrize("pixels", [np.zeros((64, 64), np.float32), np.zeros((64, 64), np.int32)])
def test_pixels_that_are_no_levels_are_not_guessed(pixels: np.ndarray):
    assert refusal(encoded(Image.fromarray(pixels), "TIFF")).reason is Reason.UNSUPPORTED


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
