"""Tones: what a relation network says as smooth maps, and how they become Effects at full size."""

from dataclasses import dataclass, fields, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ldm.compositing import resampling
from ldm.projection import lowest_row, mirrored
from ldm.values import Effects, Layers, TensorValue

_BLACK = 0.02  # darker colours are taken for this when they are divided by


@dataclass(frozen=True, kw_only=True)
class Box:
    """A part of a picture: rows and columns of its pixels."""

    rows: range
    columns: range

    def cut(self, pixels: Float[Tensor, "*b h w"]) -> Float[Tensor, "*b h2 w2"]:
        """What lies in the box; no copy."""
        rows, columns = self.rows, self.columns
        return pixels[..., rows.start : rows.stop, columns.start : columns.stop]


def whole(size: tuple[int, int]) -> Box:
    """All of a picture."""
    return Box(rows=range(size[0]), columns=range(size[1]))


@dataclass(frozen=True, kw_only=True)
class Tones(TensorValue):
    """Smooth maps for each slot above the back, in sRGB; zero everywhere changes nothing.

    `change`: of the layer's brightness, -1 (black) upward; `lift`: added to its colours; `shadow`:
    of the brightness of what lies behind, -1..0; `gloss`: how much of the mirror image is seen;
    `shift`, `sharpen`: how the edge of alpha moves and hardens.
    """

    change: Float[Tensor, "b m 3 y x"]
    lift: Float[Tensor, "b m 3 y x"]
    shadow: Float[Tensor, "b m 3 y x"]
    gloss: Float[Tensor, "b m 1 y x"]
    shift: Float[Tensor, "b m 1 y x"]
    sharpen: Float[Tensor, "b m 1 y x"]

    def raised(self, size: tuple[int, int], box: Box) -> "Tones":
        """The part in a box of the maps of a picture of `size`."""
        return replace(
            self,
            **{each.name: raised(getattr(self, each.name), size, box) for each in fields(self)},
        )


def raised(
    field: Float[Tensor, "b m c y x"], size: tuple[int, int], box: Box
) -> Float[Tensor, "b m c h w"]:
    """The part in a box of a smooth map that is brought to `size`, bilinear.

    A product with two narrow matrices: many times faster than `interpolate`, and exact in any box.
    """
    if field.shape[-2:] == size:
        return box.cut(field)
    rows, above = _weights(box.rows, field.shape[-2], size[0], field)
    columns, left = _weights(box.columns, field.shape[-1], size[1], field)
    near = field[..., above : above + rows.shape[1], left : left + columns.shape[1]]
    return rows @ (near @ columns.T)


def _weights(part: range, size_in: int, size_out: int, like: Tensor) -> tuple[Tensor, int]:
    """Matrix that raises what is near a part of a line, and where on the line that begins."""
    first = max(0, part.start * size_in // size_out - 1)
    last = min(size_in, -(-part.stop * size_in // size_out) + 1)
    begin, end = (like.new_full((1,), side / size_out) for side in (part.start, part.stop))
    return resampling(begin, end, size_in, len(part))[0, :, first:last], first


def applied(tones: Tones, layers: Layers) -> Effects:
    """The effects on layers of full size; the back stays as it is.

    Colour, alpha and mirror image are the layer's own at full size, so its edges stay sharp.
    """
    objects = layers.rgba[:, 1:]
    image = mirrored(objects, lowest_row(objects.split([3, 1], dim=2)[1]))
    return worked(tones.raised(layers.size, whole(layers.size)), layers, image)


def worked(tones: Tones, layers: Layers, image: Float[Tensor, "b m 4 h w"]) -> Effects:
    """The effects where tones, layers and their mirror images are of one size, pixel by pixel."""
    rgb, alpha = layers.rgba[:, 1:].split([3, 1], dim=2)
    brighter = _rising(tones.change)
    # What brightens is textured as the layer is; what a lift takes away, too.
    rest = rgb * brighter + tones.lift
    add = _rising(rest)
    taken_off = (rest - add) / rgb.clamp(min=_BLACK)
    return Effects(
        multiply=_above_back(bounded(1 + (tones.change - brighter) + taken_off, 0.0, 1.0), 1.0),
        add=_above_back(bounded(add, 0.0, 1.0), 0.0),
        shadow=_above_back(1 + tones.shadow, 1.0),
        reflection=_above_back(_reflection(tones.gloss, image), 0.0),
        alpha=torch.cat([layers.alpha[:, :1], _refined(tones, alpha)], dim=1),
    )


def _above_back(objects: Float[Tensor, "b m c h w"], neutral: float) -> Float[Tensor, "b n c h w"]:
    return F.pad(objects, (0, 0, 0, 0, 0, 0, 1, 0), value=neutral)


def _reflection(
    gloss: Float[Tensor, "b m 1 h w"], image: Float[Tensor, "b m 4 h w"]
) -> Float[Tensor, "b m 4 h w"]:
    rgb, alpha = image.split([3, 1], dim=2)
    alpha = alpha * bounded(gloss, 0.0, 1.0)
    return torch.cat([rgb * (alpha > 0), alpha], dim=2)


def _refined(tones: Tones, alpha: Float[Tensor, "b m 1 h w"]) -> Float[Tensor, "b m 1 h w"]:
    """Alpha moved and hardened within its soft edge only."""
    edge = 4 * alpha * (1 - alpha)
    return bounded(alpha + edge * (tones.shift + tones.sharpen * (2 * alpha - 1)), 0.0, 1.0)


def _rising(change: Tensor) -> Tensor:
    """What is above zero; unlike `relu`, the gradient passes at zero, where a new network stands."""
    return change.clamp(min=0)


def bounded(value: Tensor, low: float, high: float) -> Tensor:
    """Clamped, but the gradient passes, so that nothing gets stuck at a bound."""
    clamped = value.clamp(low, high).detach()
    return clamped + (value - value.detach()) if value.requires_grad else clamped
