"""An endless supply of analytic scenes from cut-outs and backdrops in memory."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor
from torch.utils.data import IterableDataset, get_worker_info

from annotator.scenes.analytic import scenes
from ldm.compositing import crop, resize
from ldm.scene import Scene
from ldm.storage import Sample, read_shard
from ldm.values import Frames

_AFLOAT = ("category:animals/fish", "category:solar_system", "category:space")


class AnalyticScenes(IterableDataset[Scene]):
    """Yields `num_batches` ready batches of scenes, the same ones each time.

    `cutouts` are square canvases of one size, `backdrops` opaque pictures of any size that have a
    ground. A batch depends on `seed` and its number only, whichever worker makes it. Use it with
    `DataLoader(..., batch_size=None)`.
    """

    def __init__(
        self,
        *,
        cutouts: Float[Tensor, "k 4 s s"],
        backdrops: Sequence[Float[Tensor, "3 _ _"]],
        size: int,
        batch_size: int,
        num_objects: int,
        num_batches: int,
        seed: int,
    ) -> None:
        self.cutouts = cutouts
        self.backdrops = backdrops
        self.size = size
        self.batch_size = batch_size
        self.num_objects = num_objects
        self.num_batches = num_batches
        self.seed = seed

    def __len__(self) -> int:
        return self.num_batches

    def __iter__(self) -> Iterator[Scene]:
        worker = get_worker_info()
        first, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for number in range(first, self.num_batches, step):
            yield self.batch(Generator().manual_seed(self.seed * 1_000_003 + number))

    def batch(self, generator: Generator) -> Scene:
        """One random batch of scenes."""
        return scenes(*self.ingredients(generator), generator)

    def ingredients(
        self, generator: Generator
    ) -> tuple[Float[Tensor, "b m 4 s s"], Float[Tensor, "b 3 h w"]]:
        """The cut-outs and the backdrops of one random batch."""
        shape = (self.batch_size, self.num_objects)
        chosen = torch.randint(len(self.cutouts), shape, generator=generator)
        places = torch.randint(len(self.backdrops), (self.batch_size,), generator=generator)
        views = [self._view(self.backdrops[int(place)], generator) for place in places]
        return self.cutouts[chosen], torch.stack(views)

    def _view(self, backdrop: Float[Tensor, "3 _ _"], generator: Generator) -> Tensor:
        """A random square `[3 size size]` of a backdrop near its lower rim, mirrored at random."""
        height, width = backdrop.shape[-2:]
        zoom, across, up, flip = torch.rand(4, generator=generator).tolist()
        side = min(height, width) * (0.75 + 0.25 * zoom)
        left, top = across * (width - side), (1 - 0.4 * up) * (height - side)
        corners = [left / width, top / height, (left + side) / width, (top + side) / height]
        frames = Frames(box=torch.tensor(corners)[None, None])
        opaque = F.pad(backdrop, (0, 0, 0, 0, 0, 1), value=1.0)[None, None]
        view = crop(opaque, frames, (self.size, self.size))[0, 0].split([3, 1])[0]
        return view.flip(-1) if flip < 0.5 else view


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
