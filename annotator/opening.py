"""Opening photographs: encoded bytes of any kind -> upright sRGB pixels, or a refusal by name."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

import cv2
import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import ExifTags, Image, ImageCms
from PIL.TiffImagePlugin import TiffImageFile

from annotator.photograph import Mark, Photograph
from annotator.refusal import PhotographError, Reason
from annotator.sources.entry import Entry

# Kinds by the bytes they begin with; a file's name says nothing.
_SIGNATURES = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "WEBP": (b"RIFF",),
    "TIFF": (b"II*\0", b"MM\0*"),
    "BMP": (b"BM",),
    "GIF": (b"GIF8",),
}

# What turns stored pixels upright: are rows and columns exchanged; then the steps along both.
_TURNS = {
    1: (False, 1, 1),
    2: (False, 1, -1),
    3: (False, -1, -1),
    4: (False, -1, 1),
    5: (True, 1, 1),
    6: (True, 1, -1),
    7: (True, -1, -1),
    8: (True, -1, 1),
}

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


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What may be opened, and how large it is kept, in pixels.

    `long_side` bounds what is kept; `minimum_side` is the least short side of the file;
    `maximum_pixels` the most pixels that are ever decoded. Twice `PIL.Image.MAX_IMAGE_PIXELS`
    (179 million) is never exceeded.
    """

    long_side: int
    minimum_side: int = 128
    maximum_pixels: int = 100_000_000


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A picture as it was stored, reduced to `stored`; the height and width it had before; and the
    orientation 1..8 (EXIF 2.3, tag 0x0112) by which it stands upright."""

    stored: UInt8[np.ndarray, "h w 3"]
    height: int
    width: int
    orientation: int

    @property
    def pixels(self) -> UInt8[np.ndarray, "upright_h upright_w 3"]:
        """The upright picture, sRGB."""
        return self.upright(self.stored)

    def upright(self, area: Shaped[np.ndarray, "h w *c"]) -> Shaped[np.ndarray, "y x *c"]:
        """Turn what lies on `stored`, a mask for instance, as the picture is turned."""
        exchanged, row_step, column_step = _TURNS[self.orientation]
        turned = area.swapaxes(0, 1) if exchanged else area
        return np.ascontiguousarray(turned[::row_step, ::column_step])


def photograph(entry: Entry, limits: Limits) -> Photograph:
    """Open what `entry` names: upright sRGB pixels, and its annotations as marks on them.

    Marks that cover no pixel centre at that size are left out. Errors: `PhotographError`.
    """
    opened = open_picture(entry.content(), name=entry.name, limits=limits)
    return Photograph(
        pixels=opened.pixels,
        key=entry.key,
        caption=entry.caption,
        marks=tuple(_marks(entry, opened)),
        provenance=entry.provenance,
    )


def open_picture(content: bytes, *, name: str, limits: Limits) -> Opened:
    """Decode a JPEG, PNG, WebP, TIFF, BMP or GIF file, whatever its name says.

    Colours are brought to sRGB by the embedded profile, 16 bits are scaled to 8, an alpha that is
    opaque everywhere is dropped; then pixels are averaged so that the long side fits. Errors:
    `PhotographError`, naming `name`.
    """
    if not content.startswith(tuple(start for kind in _SIGNATURES.values() for start in kind)):
        raise PhotographError(
            Reason.NOT_A_PICTURE, f"{name}: is no JPEG, PNG, WebP, TIFF, BMP or GIF picture"
        )
    try:
        # Whatever a reader warns of is either harmless or shows as an error when decoding.
        with warnings.catch_warnings(action="ignore"):
            return _decoded(content, name, limits)
    except (PhotographError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        bound = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise PhotographError(Reason.HUGE, f"{name}: more than {bound:,} pixels") from error
    # Damaged bytes make the readers fail in any way; all of them mean the same.
    except Exception as error:
        text = f"{name}: is damaged ({' '.join(str(error).split()) or type(error).__name__})"
        raise PhotographError(Reason.DAMAGED, text) from error


def _marks(entry: Entry, opened: Opened) -> Iterator[Mark]:
    height, width = opened.stored.shape[:2]
    for annotation in entry.annotations:
        try:
            annotation.check_drawn_on(opened.height, opened.width)
            area = annotation.shape.area(height, width)
        except ValueError as error:
            text = f"{entry.name}: annotation {annotation.label!r}: {error}"
            raise PhotographError(Reason.BAD_ANNOTATION, text) from error
        if area.any():
            yield Mark(
                label=annotation.label, area=opened.upright(area), exact=annotation.exact
            )


def _decoded(content: bytes, name: str, limits: Limits) -> Opened:
    with Image.open(BytesIO(content), formats=tuple(_SIGNATURES)) as image:
        width, height = image.size
        _check_header(image, name, limits)
        # A JPEG is decoded at a half, quarter or eighth of its size where that is large enough.
        image.draft(image.mode, (limits.long_side, limits.long_side))
        image.load()
        return Opened(
            stored=_reduced(_srgb(image, name), height, width, limits.long_side),
            height=height,
            width=width,
            orientation=_orientation(image),
        )


def _check_header(image: Image.Image, name: str, limits: Limits) -> None:
    """Refuse what can be refused before any pixel is decoded."""
    size = f"{image.width} x {image.height} pixels"
    if image.width * image.height > limits.maximum_pixels:
        text = f"{name}: {size}; at most {limits.maximum_pixels:,} in all are decoded"
        raise PhotographError(Reason.HUGE, text)
    if min(image.size) < limits.minimum_side:
        text = f"{name}: {size}; the short side needs at least {limits.minimum_side}"
        raise PhotographError(Reason.TINY, text)
    # The further pictures in a telephone's JPEG (MPO) are views and previews of the first.
    if image.format != "MPO" and getattr(image, "is_animated", False):
        raise PhotographError(Reason.ANIMATED, f"{name}: holds more than one picture")


def _orientation(image: Image.Image) -> int:
    # Asked after loading: TIFF is turned while it loads and then says so. Broken EXIF is no EXIF.
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:
        return 1
    return orientation if orientation in _TURNS else 1


def _srgb(image: Image.Image, name: str) -> UInt8[np.ndarray, "h w 3"]:
    profile = image.info.get("icc_profile")
    image = _without_alpha(_eight_bits(image, name), name)
    if profile:
        try:
            image = ImageCms.profileToProfile(
                image,
                ImageCms.ImageCmsProfile(BytesIO(profile)),
                ImageCms.createProfile("sRGB"),
                outputMode="RGB",
            ) or image
        # A profile that is broken, or meant for another kind of pixels, is passed over.
        except (ImageCms.PyCMSError, OSError):
            pass
    return np.asarray(image.convert("RGB"))


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
    if image.has_transparency_data and image.convert("RGBA").getextrema()[3] != (255, 255):
        raise PhotographError(Reason.TRANSPARENT, f"{name}: is transparent in places")
    if image.mode not in _FLAT_MODES:
        text = f"{name}: pixels of the kind {image.mode} are not read"
        raise PhotographError(Reason.UNSUPPORTED, text)
    return image.convert(_FLAT_MODES[image.mode])


def _reduced(
    pixels: UInt8[np.ndarray, "y x 3"], height: int, width: int, long_side: int
) -> UInt8[np.ndarray, "h w 3"]:
    scale = min(1.0, long_side / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
