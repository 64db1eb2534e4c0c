"""`Document`: what is shown and exported; `flatten`: the one definition of the picture."""

from dataclasses import dataclass, replace
from enum import Enum

import torch
from jaxtyping import Float
from torch import Tensor

_BAND = 2**16  # pixels of a band: what is painted at once fits the cache


class Blend(Enum):
    """How a sheet mixes with what lies below, in the words of the field."""

    NORMAL = "normal"
    MULTIPLY = "multiply"
    ADD = "add"


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """One bitmap of a document.

    `rgba`: straight alpha, 0..1. `clipped`: it shows only where the nearest unclipped sheet below
    it shows, and mixes with that one alone. `group`: the name of the pass-through group that it
    stands in; neighbours with one name form one group. `opacity` 0..1.
    """

    rgba: Float[Tensor, "b 4 h w"]
    name: str
    blend: Blend = Blend.NORMAL
    clipped: bool = False
    visible: bool = True
    opacity: float = 1.0
    group: str = ""


@dataclass(frozen=True, kw_only=True)
class Document:
    """Sheets from back to front, all of one size."""

    sheets: tuple[Sheet, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = self.sheets[0].rgba.shape[-2:]
        return height, width


def flatten(document: Document) -> Float[Tensor, "b 4 h w"]:
    """The picture that a document shows, straight alpha; opaque where its back is opaque.

    Painter's loop with the compositing formula of the W3C (Compositing and Blending Level 1,
    section 5.1), `co = cs as (1 - ab) + ab as B(cb, cs) + (1 - as) ab cb`. Differentiable. Large
    pictures are painted band by band.
    """
    height, width = document.size
    step = max(1, _BAND // width)
    bands = [_painted(document.sheets, row, row + step) for row in range(0, height, step)]
    return bands[0] if len(bands) == 1 else torch.cat(bands, dim=-2)


def _painted(sheets: tuple[Sheet, ...], top: int, bottom: int) -> Float[Tensor, "b 4 rows w"]:
    """The rows of the picture from `top` to `bottom`."""
    cut = tuple(replace(sheet, rgba=sheet.rgba[..., top:bottom, :]) for sheet in sheets)
    colour, alpha = torch.zeros_like(cut[0].rgba).split([3, 1], dim=1)
    for base, clipped in clipping_runs(cut):
        if base.visible:
            own = _clipped_colour(base, clipped)
            base_alpha = base.rgba.split([3, 1], dim=1)[1] * base.opacity
            colour, alpha = _blended(colour, alpha, own, base_alpha, base.blend)
    straight = colour / alpha.clamp(min=1e-6)
    return torch.cat([straight.clamp(0, 1), alpha], dim=1)


def clipping_runs(sheets: tuple[Sheet, ...]) -> list[tuple[Sheet, list[Sheet]]]:
    """Each unclipped sheet with the sheets clipped to it."""
    runs: list[tuple[Sheet, list[Sheet]]] = []
    for sheet in sheets:
        if sheet.clipped and runs:
            runs[-1][1].append(sheet)
        else:
            runs.append((sheet, []))
    return runs


def _clipped_colour(base: Sheet, clipped: list[Sheet]) -> Tensor:
    colour = base.rgba.split([3, 1], dim=1)[0]
    for sheet in clipped:
        if sheet.visible:
            own, alpha = sheet.rgba.split([3, 1], dim=1)
            mixed = _mixed(colour, own, sheet.blend)
            colour = torch.lerp(colour, mixed, alpha * sheet.opacity)
    return colour


def _blended(
    below: Tensor, below_alpha: Tensor, colour: Tensor, alpha: Tensor, blend: Blend
) -> tuple[Tensor, Tensor]:
    """Premultiplied colour and alpha after one sheet; `below` is premultiplied, `colour` not.

    `own` is the formula's `(1 - ab) cs + ab B(cb, cs)`, with `ab cb` as it comes: no division.
    """
    match blend:
        case Blend.NORMAL:
            own = colour
        case Blend.MULTIPLY:
            own = colour * (1 - below_alpha + below)
        case Blend.ADD:
            own = (1 - below_alpha) * colour + (below + below_alpha * colour).minimum(below_alpha)
    return torch.lerp(below, own, alpha), torch.lerp(below_alpha, torch.ones_like(alpha), alpha)


def _mixed(below: Tensor, above: Tensor, blend: Blend) -> Tensor:
    if blend is Blend.MULTIPLY:
        return below * above
    if blend is Blend.ADD:
        return (below + above).clamp(max=1)
    return above
