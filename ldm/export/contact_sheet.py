"""One picture that shows a result at a glance: mask, layer, effects and composite."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ldm.compositing import over, premultiply, stack, unpremultiply
from ldm.export.bitmap import quantised
from ldm.export.draft import draft
from ldm.values import Effects, Layers, Masks

_GAP, _CAPTION = 8, 16
_LONGEST_SIDE = 512  # of a cell
_COLUMNS = ("layer", "light: multiply", "light: add", "shadow", "reflection")

Cell = tuple[str, Float[Tensor, "4 h w"]]
"""A picture and its caption."""


def write_contact_sheet(
    picture: Float[Tensor, "1 4 h w"],
    *,
    masks: Masks,
    layers: Layers,
    effects: Effects,
    names: Sequence[str],
    path: Path,
) -> None:
    """Draw a PNG as `write_relation_sheet` does, each row with the mask that was asked for."""
    rows = [
        [_mask_cell(slot, names[slot], masks), *_row(slot, names[slot], layers, effects)]
        for slot in reversed(range(len(names)))
    ]
    write_cells([_whole(picture, layers), *rows], path)


def write_relation_sheet(
    picture: Float[Tensor, "1 4 h w"],
    *,
    layers: Layers,
    effects: Effects,
    names: Sequence[str],
    path: Path,
) -> None:
    """Draw a PNG: at the top the plain stack and the composite, below a row for each layer, the
    front first. Transparency shows as a checkerboard."""
    rows = [_row(slot, names[slot], layers, effects) for slot in reversed(range(len(names)))]
    write_cells([_whole(picture, layers), *rows], path)


def write_cells(rows: Sequence[Sequence[Cell]], path: Path) -> None:
    """Draw a PNG of rows of pictures, all of one size, each below its caption; large ones shrink
    to 512 pixels or fewer."""
    height, width = _shrunk(rows[0][0][1]).shape[-2:]
    cell_width, cell_height = width + _GAP, height + _CAPTION + _GAP
    columns = max(len(row) for row in rows)
    size = (columns * cell_width + _GAP, len(rows) * cell_height + _GAP)
    sheet = Image.new("RGB", size, (250, 250, 250))
    for y, row in enumerate(rows):
        for x, (caption, pixels) in enumerate(row):
            corner = (_GAP + x * cell_width, _GAP + y * cell_height)
            _draw(sheet, corner, caption, _shrunk(pixels))
    with draft(path) as temporary:
        sheet.save(temporary, format="PNG")


def _whole(picture: Tensor, layers: Layers) -> list[Cell]:
    """The picture without effects and with them."""
    plain = torch.cat([stack(layers), torch.ones_like(picture.split([3, 1], dim=1)[1])], dim=1)
    return [("plain stack", plain[0]), ("composite with relation", picture[0])]


def _mask_cell(slot: int, name: str, masks: Masks) -> Cell:
    mask = masks.area[0, slot].expand(3, -1, -1)
    return (f"{name}: asked mask", torch.cat([mask, torch.ones_like(mask[:1])]))


def _row(slot: int, name: str, layers: Layers, effects: Effects) -> list[Cell]:
    """A layer and its effects."""
    alpha = layers.alpha[0, slot]
    solid = torch.ones_like(alpha)
    on_layer = [torch.cat([light[0, slot], alpha]) for light in (effects.multiply, effects.add)]
    cells = [
        layers.rgba[0, slot],
        *on_layer,
        torch.cat([effects.shadow[0, slot], solid]),
        effects.reflection[0, slot],
    ]
    captions = [f"{name}: {column}" if x == 0 else column for x, column in enumerate(_COLUMNS)]
    return list(zip(captions, cells, strict=True))


def _shrunk(pixels: Float[Tensor, "4 h w"]) -> Float[Tensor, "4 h2 w2"]:
    factor = -(-max(pixels.shape[-2:]) // _LONGEST_SIDE)
    if factor == 1:
        return pixels
    return unpremultiply(F.avg_pool2d(premultiply(pixels), factor, ceil_mode=True))


def _draw(sheet: Image.Image, corner: tuple[int, int], caption: str, pixels: Tensor) -> None:
    """One cell: its caption, and below it the pixels over a checkerboard."""
    left, top = corner
    font = ImageFont.load_default(11)
    ImageDraw.Draw(sheet).text((left, top), caption[:48], fill=(40, 40, 40), font=font)
    shown = over(_checkerboard(pixels.shape[-2], pixels.shape[-1]), pixels)
    sheet.paste(
        Image.fromarray(np.ascontiguousarray(quantised(shown[None]))), (left, top + _CAPTION)
    )


def _checkerboard(height: int, width: int) -> Float[Tensor, "3 {height} {width}"]:
    squares = (torch.arange(height)[:, None] // 8 + torch.arange(width) // 8) % 2
    return (0.78 + 0.12 * squares).expand(3, -1, -1)
