"""A decoded picture of any kind -> sRGB of 8 bits."""

from contextlib import suppress
from io import BytesIO

import numpy as np
from jaxtyping import UInt8
from PIL import ExifTags, Image, ImageCms
from PIL.TiffImagePlugin import TiffImageFile

from annotator.refusal import PhotographError, Reason

# Pillow's pixel modes that are read, and what each is without palette and alpha.
_FLAT_MODES = {
    "1": "L",
    "L": "L",
    "LA": "L",
    "P": "RGB",
    "PA": "RGB",
    "RGB": "RGB",
    "RGBA": "RGB",
    "CMYK": "CMYK",
}

_BLACK_IS_ZERO = 1


def srgb(image: Image.Image, name: str) -> UInt8[np.ndarray, "h w 3"]:
    """The picture's colours, by its embedded profile where it has one that fits; else CMYK is
    converted as Pillow does, and RGB and grey are taken for sRGB.

    16 bits are scaled to 8, an alpha that is opaque everywhere is dropped. Errors:
    `PhotographError` for transparent pictures and for kinds of pixels that are not read.
    """
    flat = _without_alpha(_eight_bits(image, name), name)
    if profile := image.info.get("icc_profile"):
        # A profile that is broken, or meant for another kind of pixels, is passed over.
        with suppress(ImageCms.PyCMSError):
            flat = _by_profile(flat, profile)
    return np.asarray(flat.convert("RGB"))


def _by_profile(image: Image.Image, profile: bytes) -> Image.Image:
    converted = ImageCms.profileToProfile(
        image,
        ImageCms.getOpenProfile(BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        outputMode="RGB",
    )
    assert converted is not None
    return converted


def _eight_bits(image: Image.Image, name: str) -> Image.Image:
    """Scale 16-bit grey; Pillow itself scales 16-bit colour."""
    if not image.mode.startswith("I;16"):
        return image
    if isinstance(image, TiffImageFile) and _bits_and_meaning(image) != ((16,), _BLACK_IS_ZERO):
        raise PhotographError(Reason.UNSUPPORTED, f"{name}: TIFF of 12 bits or with white as zero")
    return Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8))


def _bits_and_meaning(image: TiffImageFile) -> tuple[tuple[int, ...], int]:
    tags = image.tag_v2
    return (
        tags[ExifTags.Base.BitsPerSample],
        tags[ExifTags.Base.PhotometricInterpretation],
    )


def _without_alpha(image: Image.Image, name: str) -> Image.Image:
    """The picture as L, RGB or CMYK."""
    if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema()[0] != 255:
        raise PhotographError(Reason.TRANSPARENT, f"{name}: is transparent in places")
    if image.mode not in _FLAT_MODES:
        text = f"{name}: pixels of the kind {image.mode} are not read"
        raise PhotographError(Reason.UNSUPPORTED, text)
    return image.convert(_FLAT_MODES[image.mode])
