"""Sheets as 8-bit bitmaps: what the file formats store.

A bitmap is cropped to what differs from its surroundings. The surroundings are transparent, except
for an effect sheet (multiply, add) that is opaque throughout: those of such a sheet are opaque and
change nothing, white for multiply, black for add. A reader tells the two apart by the bitmap alone:
an effect sheet that is opaque on its box was opaque throughout.
"""

from dataclasses import dataclass
from io import BytesIO

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from torch import Tensor

from ldm.document import Blend, Document, Sheet

_IDENTITY = {Blend.NORMAL: (0, 0, 0, 0), Blend.MULTIPLY: (255,) * 4, Blend.ADD: (0, 0, 0, 255)}
_TRANSPARENT = _IDENTITY[Blend.NORMAL]


@dataclass(frozen=True, kw_only=True)
class Bitmap:
    """A box of straight RGBA pixels; `left` and `top` are its place on the canvas."""

    pixels: UInt8[np.ndarray, "h w 4"]
    left: int
    top: int


def quantised(rgba: Float[Tensor, "1 c h w"]) -> UInt8[np.ndarray, "h w c"]:
    """0..1 to the nearest of 0..255; what lies outside is clamped."""
    levels = (rgba.detach() * 255).round().clamp(0, 255).to(torch.uint8)
    return rearrange(levels.cpu(), "1 c h w -> h w c").numpy()


def restored(pixels: UInt8[np.ndarray, "h w 4"]) -> Float[Tensor, "1 4 h w"]:
    """0..255 back to 0..1."""
    return rearrange(torch.from_numpy(pixels), "h w c -> 1 c h w").float() / 255


def cropped(document: Document) -> list[Bitmap]:
    """Each sheet's content; a sheet without content keeps one pixel.

    Effect sheets over a ground that is not opaque stay whole: there, their white or black shows.
    """
    grounded = _opaque_ground(document.sheets[0])
    return [_bitmap(sheet, grounded or sheet.clipped) for sheet in document.sheets]


def uncropped(bitmap: Bitmap, blend: Blend, size: tuple[int, int]) -> Float[Tensor, "1 4 h w"]:
    """A bitmap on the whole canvas of `size` (height, width); what lies beyond it is cut off."""
    opaque = bool((bitmap.pixels[:, :, 3] == 255).all())
    canvas = np.full((*size, 4), _IDENTITY[blend] if opaque else _TRANSPARENT, dtype=np.uint8)
    height, width = bitmap.pixels.shape[:2]
    top, left = max(bitmap.top, 0), max(bitmap.left, 0)
    bottom, right = max(bitmap.top + height, top), max(bitmap.left + width, left)
    part = bitmap.pixels[top - bitmap.top :, left - bitmap.left :]
    window = canvas[top:bottom, left:right]
    window[:] = part[: window.shape[0], : window.shape[1]]
    return restored(canvas)


def read_pixels(content: bytes, name: str) -> UInt8[np.ndarray, "h w 4"]:
    """The pixels of a picture file with the given bytes.

    Raises `ValueError` naming `name` when it is no picture or a broken one.
    """
    try:
        with Image.open(BytesIO(content)) as image:
            return np.array(image.convert("RGBA"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{name}: found {error}, expected a whole PNG") from error


def require_exportable(document: Document) -> None:
    """Raises `ValueError` unless the document is one picture whose clipped sheets have a base.

    The base of a clipped sheet is the nearest unclipped one below it; file formats want it in the
    same group.
    """
    if not document.sheets:
        raise ValueError("document: found no sheets, expected at least one")
    batch = document.sheets[0].rgba.shape[0]
    if batch != 1:
        raise ValueError(f"document: found a batch of {batch} pictures, expected 1")
    base: Sheet | None = None
    for sheet in document.sheets:
        if not sheet.clipped:
            base = sheet
        elif base is None or base.group != sheet.group:
            raise ValueError(
                f"sheet {sheet.name!r}: found clipped with no base in its group"
                f" {sheet.group!r}, expected an unclipped sheet below it"
            )


def _opaque_ground(back: Sheet) -> bool:
    shown = back.visible and back.opacity == 1 and back.blend is Blend.NORMAL
    return shown and bool((quantised(back.rgba)[:, :, 3] == 255).all())


def _bitmap(sheet: Sheet, croppable_effect: bool) -> Bitmap:
    pixels = quantised(sheet.rgba)
    if sheet.blend is Blend.NORMAL:
        return _cut_out(pixels, pixels[:, :, 3] > 0)
    opaque = bool((pixels[:, :, 3] == 255).all())
    if opaque and croppable_effect:
        return _cut_out(pixels, (pixels != _IDENTITY[sheet.blend]).any(axis=2))
    return Bitmap(pixels=pixels, left=0, top=0)


def _cut_out(pixels: UInt8[np.ndarray, "h w 4"], content: Bool[np.ndarray, "h w"]) -> Bitmap:
    top, bottom = _extent(np.any(content, axis=1))
    left, right = _extent(np.any(content, axis=0))
    return Bitmap(pixels=pixels[top:bottom, left:right], left=left, top=top)


def _extent(occupied: Bool[np.ndarray, " k"]) -> tuple[int, int]:
    where = occupied.nonzero()[0]
    return (int(where[0]), int(where[-1]) + 1) if len(where) else (0, 1)
