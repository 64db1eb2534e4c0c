"""Laws of colour: whatever a file's pixels are, they become sRGB of 8 bits or are refused."""

import struct

import cv2
import numpy as np
import pytest
from photographs import encoded, error, opened, refusal
from PIL import Image, ImageCms
from skimage import color

from annotator.refusal import Reason


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


@pytest.mark.parametrize("pixels", [np.zeros((64, 64), np.float32), np.zeros((64, 64), np.int32)])
def test_pixels_that_are_no_levels_are_not_guessed(pixels: np.ndarray):
    assert refusal(encoded(Image.fromarray(pixels), "TIFF")).reason is Reason.UNSUPPORTED
