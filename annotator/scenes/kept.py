"""Scenes that are made once and seen again and again, by few of their pixels."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch
from torch import Generator
from torch.utils.data import IterableDataset
from tqdm import tqdm

from ldm.scene import Scene, cut_out


class KeptScenes(IterableDataset[Scene]):
    """Yields `num_batches` of the batches of `scenes`, thinned, the first one numbered `first`: as
    neutral layers, or as layers cut from the true pictures.

    All are made when they are first asked for, and kept in half precision. What comes depends on
    `seed` and its number only.
    """

    def __init__(
        self, scenes: Iterable[Scene], *, every: int, num_batches: int, seed: int, first: int = 0
    ) -> None:
        self.scenes = scenes
        self.every = every
        self.num_batches = num_batches
        self.seed = seed
        self.first = first

    def __len__(self) -> int:
        return self.num_batches

    def __iter__(self) -> Iterator[Scene]:
        kept = [
            thinned(each, self.every).to(torch.float16)
            for scene in tqdm(self.scenes, "scenes")
            for each in (scene, cut_out(scene))
        ]
        for number in range(self.first, self.first + self.num_batches):
            generator = Generator().manual_seed(self.seed * 1_000_003 + number)
            yield kept[int(torch.randint(len(kept), (), generator=generator))].to(torch.float32)


def thinned(scene: Scene, every: int) -> Scene:
    """The scenes by one of `every` rows and columns of pixels."""
    pixels = (..., slice(None, None, every), slice(None, None, every))
    return replace(scene, layers=scene.layers.thinned(every), effects=scene.effects.indexed(pixels))
