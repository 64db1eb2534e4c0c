"""Tones: what a relation network says as smooth maps, and how they become Effects at full size."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Num
from torch import Tensor

from ldm.compositing import resampling
from ldm.projection import lowest_row, mirrored
from ldm.values import Effects, Layers, TensorValue

_BLACK = 1 / 255  # darker colours are taken for this when they are divided by


@dataclass(frozen=True, kw_only=True)
class Box:
    """A part of a picture: rows and columns of its pixels."""

    rows: range
    columns: range

    def cut(self, pixels: Float[Tensor, "*b h w"]) -> Float[Tensor, "*b h2 w2"]:
        """What lies in the box; no copy."""
        rows, columns = self.rows, self.columns
        return pixels[..., rows.start : rows.stop, columns.start : columns.stop]

    def common(self, other: "Box") -> "Box":
        """What both share; it may be nothing."""
        return Box(
            rows=_common(self.rows, other.rows), columns=_common(self.columns, other.columns)
        )

    def __bool__(self) -> bool:
        """Whether there is a pixel in it."""
        return bool(self.rows and self.columns)


def _common(one: range, other: range) -> range:
    return range(max(one.start, other.start), min(one.stop, other.stop))


def extent(line: Num[Tensor, " k"]) -> range:
    """From the first to the last place of a line above zero."""
    found = (line > 0).nonzero()
    return range(int(found[0]), int(found[-1]) + 1) if len(found) else range(0)


def whole(size: tuple[int, int]) -> Box:
    """All of a picture."""
    return Box(rows=range(size[0]), columns=range(size[1]))


@dataclass(frozen=True, kw_only=True)
class Tones(TensorValue):
    """Smooth maps for each slot above the back, in sRGB; zero everywhere changes nothing.

    `maps`: change of the layer's brightness, -1 (black) upward (3); lift, added to its colours (3);
    gloss, how much of the mirror image is seen; shift and sharpen, how the edge of alpha moves and
    hardens. `shadow`: change of the brightness of what lies behind, -1..0; finer, as it is sharp
    where a layer touches the ground.
    """

    maps: Float[Tensor, "*b 9 y x"]
    shadow: Float[Tensor, "*b 3 y2 x2"]

    @property
    def parts(self) -> tuple[Tensor, ...]:
        """Change, lift, gloss, shift and sharpen apart, each `[*b c y x]`."""
        return self.maps.split((3, 3, 1, 1, 1), dim=-3)


@dataclass(frozen=True, kw_only=True)
class Raising:
    """Brings what lies `near` a box on smooth maps to the box's full size, bilinear; exact in any
    part of the box.

    `columns`: a matrix; `rows` and their `weights`: of which rows each one of the box is made, two
    where maps get larger. A product would go over all that are near.
    """

    box: Box
    near: Box
    columns: Float[Tensor, "w x"]
    rows: Int[Tensor, "k h"]
    weights: Float[Tensor, "k h 1"]

    def __call__(self, maps: Float[Tensor, "*b y x"], part: Box) -> Float[Tensor, "*b h2 w2"]:
        """Raise maps that were cut to `near` in a part of the box."""
        top, left = self.box.rows.start, self.box.columns.start
        rows = slice(part.rows.start - top, part.rows.stop - top)
        wide = maps @ self.columns[part.columns.start - left : part.columns.stop - left].T
        first, *others = (
            (wide.index_select(-2, row), weight)
            for row, weight in zip(self.rows[:, rows], self.weights[:, rows], strict=True)
        )
        found = first[0].mul_(first[1])
        for each, weight in others:
            found.addcmul_(each, weight)
        return found

    def seen(self, maps: Float[Tensor, "c y x"]) -> Box:
        """The part of the box outside which maps that were cut to `near` are zero when raised."""
        there = (maps != 0).any(dim=0).to(maps.dtype)
        columns = extent(self.columns @ there.amax(dim=0))
        rows = extent((there.amax(dim=1)[self.rows] * self.weights[..., 0]).amax(dim=0))
        return Box(
            rows=self.box.rows[rows.start : rows.stop],
            columns=self.box.columns[columns.start : columns.stop],
        )


def raising(box: Box, size: tuple[int, int], maps: Float[Tensor, "*b y x"]) -> Raising:
    """How such maps of a whole picture are raised in a box of it at `size`."""
    nearby = near(box, size, (maps.shape[-2], maps.shape[-1]))
    down = _weights(box.rows, size[0], nearby.rows, maps.shape[-2], maps)
    weights, rows = down.topk(int((down > 0).sum(dim=1).amax()), dim=1)
    return Raising(
        box=box,
        near=nearby,
        columns=_weights(box.columns, size[1], nearby.columns, maps.shape[-1], maps),
        rows=rows.T.contiguous(),
        weights=weights.T[..., None].contiguous(),
    )


def near(box: Box, size: tuple[int, int], smaller: tuple[int, int]) -> Box:
    """Where maps of a `smaller` size are seen in a box of a picture of `size`."""
    rows, columns = (
        range(
            min(length, max(0, part.start * length // full - 1)),
            max(0, min(length, -(-part.stop * length // full) + 1)),
        )
        for part, full, length in zip((box.rows, box.columns), size, smaller, strict=True)
    )
    return Box(rows=rows, columns=columns)


def raised(maps: Float[Tensor, "*b c y x"], size: tuple[int, int]) -> Float[Tensor, "*b c h w"]:
    """Smooth maps of a whole picture brought to `size`."""
    smaller = (maps.shape[-2], maps.shape[-1])
    if smaller == size:
        return maps
    shrinks = size[0] < smaller[0] or size[1] < smaller[1]
    flat = maps.reshape(-1, *maps.shape[-3:])
    return F.interpolate(flat, size=size, mode="bilinear", antialias=shrinks).view(
        *maps.shape[:-2], *size
    )


def _weights(part: range, full: int, nearby: range, length: int, like: Tensor) -> Tensor:
    """Matrix that raises what is near a part of a line of `full` pixels."""
    begin, end = (like.new_full((1,), side / full) for side in (part.start, part.stop))
    matrix = resampling(begin, end, length, len(part))[0]
    return matrix[:, nearby.start : nearby.stop].contiguous()


def applied(tones: Tones, layers: Layers) -> Effects:
    """The effects on layers of full size; the back stays as it is.

    Colour, alpha and mirror image are the layer's own at full size, so its edges stay sharp.
    """
    objects = layers.rgba[:, 1:]
    image = mirrored(objects, lowest_row(objects.split([3, 1], dim=2)[1]))
    maps, shadow = (raised(part, layers.size) for part in (tones.maps, tones.shadow))
    return worked(Tones(maps=maps, shadow=shadow), layers, image)


def worked(tones: Tones, layers: Layers, image: Float[Tensor, "b m 4 h w"]) -> Effects:
    """The effects where tones, layers and their mirror images are of one size, pixel by pixel."""
    change, lift, gloss, shift, sharpen = tones.parts
    rgb, alpha = layers.rgba[:, 1:].split([3, 1], dim=2)
    # At zero, where a new network stands, the gradient passes by what darkens.
    brighter = change.clamp(min=0)
    # What brightens is textured as the layer is; what a lift takes away, too.
    rest = rgb * brighter + lift
    add = rest.clamp(min=0)
    taken_off = (rest - add) / rgb.clamp(min=_BLACK)
    return Effects(
        multiply=_above_back(bounded(1 + (change - brighter) + taken_off, 0.0, 1.0), 1.0),
        add=_above_back(bounded(add, 0.0, 1.0), 0.0),
        shadow=_above_back(1 + tones.shadow, 1.0),
        reflection=_above_back(_reflection(gloss, image), 0.0),
        alpha=torch.cat([layers.alpha[:, :1], refined(alpha, shift, sharpen)], dim=1),
    )


def toned(
    rgb: Float[Tensor, "*b 3 h w"],
    change: Float[Tensor, "*b 3 h w"],
    lift: Float[Tensor, "*b 3 h w"],
) -> Float[Tensor, "*b 3 h w"]:
    """The colours of a layer in its light: what multiply and add of `worked` make of them."""
    return torch.addcmul(lift, rgb, 1 + change).clamp(0, 1)


def _above_back(objects: Float[Tensor, "b m c h w"], neutral: float) -> Float[Tensor, "b n c h w"]:
    back = objects.new_full((1, 1, 1, 1, 1), neutral)
    shape = (objects.shape[0], 1, *objects.shape[2:])
    return torch.cat([back.expand(shape), objects], dim=1)


def _reflection(
    gloss: Float[Tensor, "b m 1 h w"], image: Float[Tensor, "b m 4 h w"]
) -> Float[Tensor, "b m 4 h w"]:
    rgb, alpha = image.split([3, 1], dim=2)
    alpha = alpha * bounded(gloss, 0.0, 1.0)
    return torch.cat([rgb * (alpha > 0), alpha], dim=2)


def refined(
    alpha: Float[Tensor, "*b 1 h w"],
    shift: Float[Tensor, "*b 1 h w"],
    sharpen: Float[Tensor, "*b 1 h w"],
) -> Float[Tensor, "*b 1 h w"]:
    """Alpha moved and hardened within its soft edge only."""
    edge = 4 * alpha * (1 - alpha)
    return bounded(alpha + edge * (shift + sharpen * (2 * alpha - 1)), 0.0, 1.0)


def bounded(value: Tensor, low: float, high: float) -> Tensor:
    """Clamped, but the gradient passes, so that nothing gets stuck at a bound."""
    clamped = value.clamp(low, high).detach()
    return clamped + (value - value.detach()) if value.requires_grad else clamped
