"""What scenes are made of: cut-outs that can stand, and backdrops with a ground."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from annotator.scenes.staging import Box
from annotator.scenes.transport import average, mild_tint
from ldm.compositing import resize
from ldm.storage import Sample, read_shard

SUPPLY_SIDE = 160
"""Pixels of a cut-out's canvas in scenes to learn from or to be measured by: a rendered scene knows
its outlines at no other size."""

_AFLOAT = ("category:animals/fish", "category:solar_system", "category:space")


@dataclass(frozen=True, kw_only=True)
class Supply:
    """Cut-outs and backdrops in memory.

    `cutouts`: square canvases; `backdrops`: opaque pictures of any size.
    """

    cutouts: Float[Tensor, "k 4 s s"]
    backdrops: tuple[Float[Tensor, "3 _ _"], ...]

    @property
    def device(self) -> torch.device:
        """Where all of it lies."""
        return self.cutouts.device

    def to(self, device: torch.device | str) -> "Supply":
        """The same supply on another device."""
        moved = tuple(backdrop.to(device) for backdrop in self.backdrops)
        return Supply(cutouts=self.cutouts.to(device), backdrops=moved)

    @cached_property
    def squares(self) -> Float[Tensor, "p 3 t t"]:
        """All backdrops squeezed to squares twice as large as a cut-out's canvas, so that a batch
        of views is cut at once: a view in shares of the backdrop is the same in both."""
        side = 2 * self.cutouts.shape[-1]
        return torch.cat(
            [
                F.interpolate(backdrop[None], (side, side), mode="bilinear", antialias=True)
                for backdrop in self.backdrops
            ]
        ).clamp(0, 1)

    @cached_property
    def outlines(self) -> tuple[Box, ...]:
        """Left, top, right and bottom end of each object, in shares of its canvas."""
        solid = self.cutouts.split([3, 1], dim=1)[1][:, 0] > 0.5
        spans = [solid.any(dim=axis).float() for axis in (1, 2)]
        begin = [span.argmax(dim=1) for span in spans]
        end = [solid.shape[-1] - span.flip(1).argmax(dim=1) for span in spans]
        shares = (torch.stack(begin + end, dim=1) / solid.shape[-1]).tolist()
        return tuple((left, top, right, bottom) for left, top, right, bottom in shares)

    @cached_property
    def tints(self) -> tuple[tuple[float, float, float], ...]:
        """The tint of the bright parts of each backdrop: mostly that of its light.

        To a thousandth, so that processors that sum in another order stage the same scenes.
        """
        squares = self.squares
        bright = squares.mean(dim=1, keepdim=True).pow(3)
        tints = mild_tint(average(squares, bright)).double().round(decimals=3)
        return tuple((r, g, b) for r, g, b in tints.tolist())


def read_supply(split: Path, side: int) -> Supply:
    """The cut-outs (`side` pixels) and backdrops of one split of the data."""
    return Supply(
        cutouts=read_cutouts(split / "cutouts.tar", side),
        backdrops=tuple(read_backdrops(split / "backdrops.tar")),
    )


def read_cutouts(shard: Path, side: int) -> Float[Tensor, "k 4 {side} {side}"]:
    """The cut-outs of a shard that can stand, each as large as a square canvas allows."""
    standing = (sample for sample in read_shard(shard) if not _afloat(sample))
    return torch.stack([_on_canvas(_pixels(sample), side) for sample in standing])


def read_backdrops(shard: Path) -> list[Float[Tensor, "3 _ _"]]:
    """The backdrops of a shard on whose ground objects can stand."""
    grounded = (sample for sample in read_shard(shard) if "ground" in sample.tags)
    return [_pixels(sample).split([3, 1])[0] for sample in grounded]


def _afloat(sample: Sample) -> bool:
    return any(tag.startswith(_AFLOAT) for tag in sample.tags)


def _pixels(sample: Sample) -> Float[Tensor, "4 _ _"]:
    rgba = torch.from_numpy(np.ascontiguousarray(sample.layers[0].rgba))
    return rgba.permute(2, 0, 1).float() / 255


def _on_canvas(rgba: Float[Tensor, "4 _ _"], side: int) -> Float[Tensor, "4 {side} {side}"]:
    height, width = rgba.shape[-2:]
    scale = side / max(height, width)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    small = resize(rgba[None, None], size)[0, 0]
    left, above = (side - size[1]) // 2, side - size[0]
    return F.pad(small, (left, side - size[1] - left, above, 0))
