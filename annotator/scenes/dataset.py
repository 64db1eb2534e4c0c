"""Supplies of analytic scenes: an endless one, and one that is seen again and again."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from jaxtyping import UInt8
from torch import Generator, Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import IterableDataset, get_worker_info
from tqdm import tqdm

from annotator.scenes.analytic import analytic_transport
from annotator.scenes.drawing import random_staging
from annotator.scenes.staged import scene_of, staged_layers, staged_light
from annotator.scenes.supply import Supply
from ldm.scene import LitLayers, Scene, cut_out
from ldm.values import Layers, Light


class AnalyticScenes(IterableDataset[Scene]):
    """Yields `num_batches` ready batches of scenes, the first one numbered `first`.

    Pictures are `size` pixels square and made where the supply lies, each of one to `max_bodies`
    layers. A batch depends on `seed` and its number only, whichever worker makes it. Use it with
    `DataLoader(..., batch_size=None)`.
    """

    def __init__(
        self,
        supply: Supply,
        *,
        size: int,
        batch_size: int,
        num_batches: int,
        seed: int,
        first: int = 0,
        max_bodies: int = 6,
    ) -> None:
        self.supply = supply
        self.size = size
        self.batch_size = batch_size
        self.num_batches = num_batches
        self.seed = seed
        self.first = first
        self.max_bodies = max_bodies

    def __len__(self) -> int:
        return self.num_batches

    def __iter__(self) -> Iterator[Scene]:
        worker = get_worker_info()
        offset, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for number in range(self.first + offset, self.first + self.num_batches, step):
            yield self.batch(Generator().manual_seed(self.seed * 1_000_003 + number))

    def batch(self, generator: Generator) -> Scene:
        """One random batch of scenes."""
        stagings = [
            random_staging(self.supply, generator, max_bodies=self.max_bodies)
            for _ in range(self.batch_size)
        ]
        layers = staged_layers(stagings, self.supply, self.size)
        light = staged_light(stagings, self.supply.device)
        return scene_of(stagings, layers, analytic_transport(layers, light, stagings))


class RememberedScenes(IterableDataset[LitLayers]):
    """Yields `num_batches` batches of `batch_size` pictures in known light, out of `scenes`.

    Those are made once, when they are first asked for, and kept in 8 bits, each as neutral layers
    and as layers cut from the true picture. Every other picture is turned left to right. A batch
    depends on `seed` and its number only.
    """

    def __init__(
        self,
        scenes: AnalyticScenes,
        *,
        batch_size: int,
        num_batches: int,
        seed: int,
        first: int = 0,
    ) -> None:
        self.scenes = scenes
        self.batch_size = batch_size
        self.num_batches = num_batches
        self.seed = seed
        self.first = first

    def __len__(self) -> int:
        return self.num_batches

    def __iter__(self) -> Iterator[LitLayers]:
        pool = [part for scene in tqdm(self.scenes, "scenes") for part in _pictures(scene)]
        for number in range(self.first, self.first + self.num_batches):
            generator = Generator().manual_seed(self.seed * 1_000_003 + number)
            chosen = torch.randint(len(pool), (self.batch_size,), generator=generator)
            turned = torch.rand(self.batch_size, generator=generator) < 0.5
            yield _batch([pool[index] for index in chosen.tolist()]).turned_over(turned)


@dataclass(frozen=True, kw_only=True)
class _Picture:
    rgba: UInt8[Tensor, "n 4 h w"]
    light: Light


def _pictures(scene: Scene) -> Iterator[_Picture]:
    """Every picture of a scene by itself, with the slots that are there."""
    for layers in (scene.layers, cut_out(scene).layers):
        for number, present in enumerate(layers.present):
            rgba = (255 * layers.rgba[number, present]).round().to(torch.uint8)
            yield _Picture(rgba=rgba, light=scene.light.indexed(slice(number, number + 1)))


def _batch(pictures: Sequence[_Picture]) -> LitLayers:
    rgba = pad_sequence([picture.rgba for picture in pictures], batch_first=True).float() / 255
    counts = torch.tensor([len(picture.rgba) for picture in pictures], device=rgba.device)
    light = reduce(Light.joined, [picture.light for picture in pictures])
    present = torch.arange(rgba.shape[1], device=rgba.device) < counts[:, None]
    return LitLayers(layers=Layers(rgba=rgba, present=present), light=light)
