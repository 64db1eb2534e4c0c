"""Opening photographs: encoded bytes of any kind -> upright sRGB pixels, or a refusal by name."""

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

import cv2
import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import ExifTags, Image, UnidentifiedImageError

from annotator.photograph import Mark, Photograph
from annotator.refusal import PhotographError, Reason
from annotator.sources.entry import Entry, one_line
from annotator.srgb import srgb

_KINDS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")

# What files of these kinds begin with; a file's name says nothing.
_BEGINNING = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|RIFF.{4}WEBP|II[*+]\0|MM\0[*+]|BM|GIF8", re.DOTALL
)

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
    if not _BEGINNING.match(content):
        text = f"{name}: is no JPEG, PNG, WebP, TIFF, BMP or GIF picture"
        raise PhotographError(Reason.NOT_A_PICTURE, text)
    try:
        # Whatever a reader warns of is either harmless or shows as an error when decoding.
        with warnings.catch_warnings(action="ignore"):
            return _decoded(content, name, limits)
    except (PhotographError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        bound = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise PhotographError(Reason.HUGE, f"{name}: more than {bound:,} pixels") from error
    except UnidentifiedImageError as error:
        raise PhotographError(Reason.DAMAGED, f"{name}: is damaged in its header") from error
    # Damaged bytes make the readers fail in any way; all of them mean the same.
    except Exception as error:
        text = f"{name}: is damaged ({one_line(error) or type(error).__name__})"
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
            yield Mark(label=annotation.label, area=opened.upright(area), exact=annotation.exact)


def _decoded(content: bytes, name: str, limits: Limits) -> Opened:
    with Image.open(BytesIO(content), formats=_KINDS) as image:
        width, height = image.size
        _check_header(image, name, limits)
        # A JPEG is decoded at a half, quarter or eighth of its size where that is large enough.
        image.draft(image.mode, (limits.long_side, limits.long_side))
        image.load()
        return Opened(
            stored=_reduced(srgb(image, name), height, width, limits.long_side),
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


def _reduced(
    pixels: UInt8[np.ndarray, "y x 3"], height: int, width: int, long_side: int
) -> UInt8[np.ndarray, "h w 3"]:
    scale = min(1.0, long_side / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
