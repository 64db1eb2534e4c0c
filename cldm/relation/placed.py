"""Placed: a layer that is no larger than what it shows, where it lies in the picture."""

from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from cldm.relation.tones import Box, extent, whole
from ldm.compositing import premultiply, resampling, unpremultiply

_SOLID = 0.5  # a body stands on the lowest row that has such alpha, as in `ldm.projection`


@dataclass(frozen=True, kw_only=True, eq=False)
class Placed:
    """A bitmap, straight alpha, whose first row and column lie at `top` and `left`, in pixels.

    `image`: its mirror image on the ground, which begins where it stands. To move a layer is to
    place the same bitmap elsewhere: nothing is copied.
    """

    rgba: Float[Tensor, "4 h w"]
    image: Float[Tensor, "4 h2 w"]
    top: int
    left: int

    @property
    def foot(self) -> int:
        """The row below its lowest solid one, where its mirror image begins."""
        return self.top + self.image.shape[1]

    @property
    def box(self) -> Box:
        """What it covers, also beyond the picture."""
        return _box(self.rgba, self.top, self.left)

    @property
    def image_box(self) -> Box:
        """What its mirror image covers."""
        return _box(self.image, self.foot, self.left)

    def at(self, top: int, left: int) -> "Placed":
        """The same bitmap elsewhere."""
        return replace(self, top=top, left=left)

    def same(self, other: "Placed") -> bool:
        """Whether the other is this very bitmap in this place."""
        return self.rgba is other.rgba and (self.top, self.left) == (other.top, other.left)

    def own(self, box: Box) -> Float[Tensor, "4 h3 w3"]:
        """What lies of the bitmap in a box inside its own; no copy."""
        return _inside(self.rgba, self.top, self.left, box)

    def mirrored(self, box: Box) -> Float[Tensor, "4 h3 w3"]:
        """What lies of its mirror image in a box inside that image's; no copy."""
        return _inside(self.image, self.foot, self.left, box)

    def small(self, size: tuple[int, int], working: tuple[int, int]) -> Float[Tensor, "4 y x"]:
        """On the whole picture of `size`, brought to a smaller one, as `resize` does it."""
        seen = self.box.common(whole(size))
        rows, columns = seen.rows, seen.columns
        down = _shrinking(size[0], working[0], self.rgba.device)[:, rows.start : rows.stop]
        across = _shrinking(size[1], working[1], self.rgba.device)[:, columns.start : columns.stop]
        return unpremultiply(down @ (premultiply(self.own(seen)) @ across.T))


@lru_cache(maxsize=8)
def _shrinking(length: int, shorter: int, device: torch.device) -> Float[Tensor, "k l"]:
    """Matrix that brings a line of pixels to a shorter one; each move of a layer asks for it."""
    none, one = torch.zeros(1, device=device), torch.ones(1, device=device)
    return resampling(none, one, length, shorter)[0]


def placed(rgba: Float[Tensor, "4 h w"]) -> Placed:
    """A layer of the picture's size, cut down to what it shows."""
    alpha = rgba[3]
    rows = alpha.amax(dim=1)
    shown = extent(rows)
    columns = extent(alpha[shown.start : shown.stop].amax(dim=0)) if shown else shown
    own = Box(rows=shown, columns=columns).cut(rgba)
    height = extent(rows - _SOLID).stop - shown.start
    return Placed(
        rgba=own, image=own[:, : max(0, height)].flip(1), top=shown.start, left=columns.start
    )


def _box(rgba: Float[Tensor, "4 h w"], top: int, left: int) -> Box:
    height, width = rgba.shape[1:]
    return Box(rows=range(top, top + height), columns=range(left, left + width))


def _inside(rgba: Float[Tensor, "4 h w"], top: int, left: int, box: Box) -> Tensor:
    """The box of the picture, which lies inside a bitmap's."""
    rows, columns = box.rows, box.columns
    return rgba[:, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
