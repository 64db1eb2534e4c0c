"""Scenes whose true order is known, composed from cut-outs: to fit and to measure orderings."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Generator, Tensor

from annotator.scenes.supply import read_backdrops, read_cutouts
from ldm.compositing import crop, place, stack, visibility
from ldm.values import Frames, Layers
from paper.ordered_placement import placed

SIDE = 256
_SMALLEST = 0.004
"""Regions of which less than this share of the picture is seen are left out."""


class Arrangement(Enum):
    """How objects lie in the picture.

    `standing`: on the ground, the far ones higher and smaller, seen through a window that may cut
    them; `free`: anywhere, of any size, in any order, so that only borders tell what is in front.
    """

    standing = "standing"
    free = "free"


@dataclass(frozen=True, kw_only=True)
class OrderedScene:
    """A picture and what is seen of its objects, from far to near."""

    pixels: UInt8[np.ndarray, "h w 3"]
    masks: tuple[Bool[np.ndarray, "h w"], ...]

    def touching(self, one: int, other: int) -> bool:
        """Whether two objects come as close as a few pixels, most often because they overlap."""
        near = cv2.dilate(self.masks[one].astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        return bool((near & self.masks[other]).any())


class Scenery:
    """Cut-outs and backdrops of one split of the default data; `folder` holds its shards."""

    def __init__(self, folder: Path) -> None:
        self.cutouts = read_cutouts(folder / "cutouts.tar", side=128)
        self.backdrops = read_backdrops(folder / "backdrops.tar")

    def scenes(self, arrangement: Arrangement, *, count: int, seed: int) -> Iterator[OrderedScene]:
        """Scenes of two to five objects each, the same ones each time."""
        generator = Generator().manual_seed(seed)
        while count:
            scene = _seen(self._layers(arrangement, generator))
            if len(scene.masks) > 1:
                count -= 1
                yield scene

    def _layers(self, arrangement: Arrangement, generator: Generator) -> Layers:
        chosen = torch.randint(len(self.cutouts), (1, 5), generator=generator)
        backdrop = self.backdrops[int(torch.randint(len(self.backdrops), (), generator=generator))]
        view = F.interpolate(backdrop[None], (SIDE, SIDE), mode="area")
        match arrangement:
            case Arrangement.standing:
                return _through_window(placed(self.cutouts[chosen], view, generator), generator)
            case Arrangement.free:
                return _scattered(self.cutouts[chosen], view, generator)


def _scattered(
    cutouts: Float[Tensor, "1 m 4 s s"], view: Float[Tensor, "1 3 h w"], generator: Generator
) -> Layers:
    """Cut-outs anywhere, 25 to 70 % of the picture large, in any order."""
    size, across, down = torch.rand(3, 1, cutouts.shape[1], generator=generator)
    side = 0.25 + 0.45 * size
    left, top = across * 1.1 - 0.05 - side / 2, down * 1.1 - 0.05 - side / 2
    frames = Frames(box=torch.stack([left, top, left + side, top + side], dim=-1))
    objects = place(cutouts, frames, (view.shape[-2], view.shape[-1]))
    back = F.pad(view, (0, 0, 0, 0, 0, 1), value=1.0)[:, None]
    rgba = torch.cat([back, objects], dim=1)
    return Layers(rgba=rgba, present=torch.ones(rgba.shape[:2], dtype=torch.bool))


def _through_window(layers: Layers, generator: Generator) -> Layers:
    """A square part of the layers, 60 to 100 % wide."""
    zoom, across, down = torch.rand(3, generator=generator)
    side = 0.6 + 0.4 * zoom
    left, top = across * (1 - side), down * (1 - side)
    box = torch.stack([left, top, left + side, top + side]).expand(*layers.rgba.shape[:2], 4)
    size = (layers.rgba.shape[-2], layers.rgba.shape[-1])
    return Layers(rgba=crop(layers.rgba, Frames(box=box), size), present=layers.present)


def _seen(layers: Layers) -> OrderedScene:
    """The picture, and each object's pixels where it is seen most."""
    picture = (stack(layers)[0].permute(1, 2, 0) * 255).round().byte().numpy()
    front = visibility(layers.alpha)[0, :, 0].argmax(dim=0)
    masks = [(front == slot).numpy() for slot in range(1, layers.rgba.shape[1])]
    return OrderedScene(
        pixels=picture, masks=tuple(mask for mask in masks if mask.mean() >= _SMALLEST)
    )
