"""Examples for layered diffusion: cached canvases composed into scenes, with rough masks."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from cldm.condition import Condition
from cldm.data import random_boxes
from cldm.latents import CanvasLatents, LatentCache
from cldm.roughening import rough_mask
from ldm.compositing import place_masks, whole_frames
from ldm.values import Frames, Masks, TensorValue


@dataclass(frozen=True, kw_only=True)
class Examples(TensorValue):
    """A batch: what is asked, the latents that answer it, and how much each cell counts."""

    condition: Condition
    latents: Float[Tensor, "b n z y x"]
    weight: Float[Tensor, "b n y x"]


class ExampleDataset(IterableDataset[Examples]):
    """Endless batches of scenes: a backdrop, and cut-outs anywhere before it.

    A cache of framed canvases gives each object a frame of its own; otherwise all canvases are
    whole pictures.
    """

    def __init__(
        self, cache: LatentCache, *, batch_size: int, num_slots: int, picture: int, seed: int
    ) -> None:
        super().__init__()
        self.cache = cache
        self.batch_size = batch_size
        self.num_slots = num_slots
        self.picture = picture
        self.seed = seed

    def __iter__(self) -> Iterator[Examples]:
        worker = get_worker_info()
        random = np.random.default_rng([self.seed, worker.id if worker else 0])
        while True:
            yield self.draw(random)

    def first(self) -> Examples:
        """The first batch, the same each time."""
        return next(iter(self))

    def draw(self, random: np.random.Generator) -> Examples:
        """One batch."""
        objects = self.batch_size * (self.num_slots - 1)
        back = _chosen(self.cache.backdrops, self.batch_size, random)
        front = _chosen(self.cache.cutouts, objects, random)
        rough = np.stack([rough_mask(alpha, random) for alpha in front.alpha.numpy()])
        weight = _cell_weight(front.alpha, back.latents.shape[-1])
        present = _presence(self.batch_size, self.num_slots, random)
        slots = (self.batch_size, self.num_slots)
        frames = random_frames(*slots, random) if self.cache.framed else whole_frames(*slots)
        size = (self.picture, self.picture)
        canvas_masks = self._stacked(torch.ones_like(back.alpha).float(), torch.from_numpy(rough))
        area = place_masks(canvas_masks, frames, size) * present[:, :, None, None]
        return Examples(
            condition=Condition(
                tokens=self._stacked(back.tokens, front.tokens),
                masks=Masks(area=area, present=present),
                frames=frames,
            ),
            latents=self._stacked(back.latents, front.latents).float(),
            weight=self._stacked(torch.ones_like(back.latents[:, 0]).float(), weight)
            * present[:, :, None, None],
        )

    def _stacked(self, back: Tensor, front: Tensor) -> Tensor:
        """Backdrops and objects along the slot axis."""
        objects = front.unflatten(0, (self.batch_size, self.num_slots - 1))
        return torch.cat([back[:, None], objects], dim=1)


def _chosen(latents: CanvasLatents, count: int, random: np.random.Generator) -> CanvasLatents:
    index = torch.from_numpy(random.integers(0, len(latents.latents), count))
    return CanvasLatents(
        latents=latents.latents[index], alpha=latents.alpha[index], tokens=latents.tokens[index]
    )


def _cell_weight(alpha: Tensor, cells: int) -> Tensor:
    """Looks are inside: cells that the object touches count fully, empty ones a fifth."""
    touched = F.adaptive_avg_pool2d(alpha[:, None].float() / 255, cells)[:, 0]
    return 0.2 + 0.8 * (touched * 3).clamp(max=1)


def _presence(batch: int, slots: int, random: np.random.Generator) -> Tensor:
    """Mostly all slots, sometimes fewer; slot 0 always."""
    count = slots - random.choice(slots, size=batch, p=_shares(slots))
    return torch.arange(slots) < torch.from_numpy(count)[:, None]


def _shares(slots: int) -> list[float]:
    """Most scenes are full; one with k slots fewer is as likely as half of one with k - 1 fewer."""
    weights = np.array([4.0, *(2.0 ** -np.arange(slots - 1))])
    return (weights / weights.sum()).tolist()


def random_frames(batch: int, slots: int, random: np.random.Generator) -> Frames:
    """Slot 0: the picture; others: squares anywhere in it, see `cldm.data.random_boxes`."""
    box = random_boxes((batch, slots), random)
    box[:, 0] = [0, 0, 1, 1]
    return Frames(box=torch.from_numpy(box).float())
