"""An endless supply of analytic scenes."""

from collections.abc import Iterator

from torch import Generator
from torch.utils.data import IterableDataset, get_worker_info

from annotator.scenes.analytic import analytic_transport
from annotator.scenes.drawing import random_staging
from annotator.scenes.staged import StagedScene, staged_layers, staged_light, staged_scene
from annotator.scenes.supply import Supply
from ldm.scene import Scene


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
        return (staged.scene for staged in self.staged())

    def staged(self) -> Iterator[StagedScene]:
        """The same scenes, their witnesses not yet part of the backs."""
        worker = get_worker_info()
        offset, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for number in range(self.first + offset, self.first + self.num_batches, step):
            yield self._batch(Generator().manual_seed(self.seed * 1_000_003 + number))

    def _batch(self, generator: Generator) -> StagedScene:
        stagings = [
            random_staging(self.supply, generator, max_bodies=self.max_bodies)
            for _ in range(self.batch_size)
        ]
        layers = staged_layers(stagings, self.supply, self.size)
        light = staged_light(stagings, self.supply.device)
        return staged_scene(stagings, layers, analytic_transport(layers, light, stagings))
