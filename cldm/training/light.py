"""Training the part of a relation network that estimates the light, before the rest of it."""

from dataclasses import replace

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from jaxtyping import Float
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Generator, Tensor

from cldm.config import StageConfig
from cldm.relation.learned import LearnedRelation
from cldm.training.disturbance import random_slots, recoloured
from cldm.training.optimisation import one_cycle
from ldm.compositing import stack
from ldm.projection import towards
from ldm.scene import LitLayers

_RECOLOURED = 0.3  # share of pictures


class LightTraining(pl.LightningModule):
    """Teaches a relation network's estimator from batches of `LitLayers`."""

    def __init__(self, network: LearnedRelation, stage: StageConfig) -> None:
        super().__init__()
        self.estimator = network.estimator
        self.small = network.look.small
        self.stage = stage

    def training_step(self, batch: LitLayers) -> Float[Tensor, ""]:
        """How wrong the estimator is of the traces and of the light, some layers being in wrong
        colours."""
        generator = Generator().manual_seed(self.global_step)
        share = torch.full_like(batch.light.azimuth, _RECOLOURED)
        slots = random_slots(batch.layers.present, share, generator)
        wrong = recoloured(batch.layers, slots, generator)
        loss = self.estimator.loss(self.seen(replace(batch, layers=wrong)))
        self.log("train/light", loss)
        return loss

    def validation_step(self, batch: LitLayers) -> None:
        """Logs the loss, the share of what can be known of the direction that is known, and the
        median angle in degrees by which it is off."""
        seen = self.seen(batch)
        found, direction = self.estimator(seen.layers).direction, towards(batch.light)
        size = len(direction)
        error = (found - direction).square().sum(dim=-1).mean()
        spread = (direction - direction.mean(dim=0)).square().sum(dim=-1).mean()
        cosine = F.cosine_similarity(found, direction).clamp(-1, 1)
        angle = torch.rad2deg(torch.arccos(cosine)).median()
        self.log("validation/light", self.estimator.loss(seen), batch_size=size)
        self.log("validation/direction_explained", 1 - error / spread, batch_size=size)
        self.log("validation/direction_error_deg", angle, batch_size=size)

    def seen(self, batch: LitLayers) -> LitLayers:
        """The batch at the size at which the network looks at it."""
        return replace(batch, layers=self.small(batch.layers))

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW with one cycle of the learning rate."""
        weights = list(self.estimator.parameters())
        return one_cycle(weights, self.stage.learning_rate, self.stage.num_steps)

    def example(self, batch: LitLayers) -> Float[Tensor, "b 4 3 h w"]:
        """Pictures to look at: the backs and the plain pictures that are judged, and the traces of
        light in the backs, found and true, bodies in red and their shadows in green."""
        seen = self.seen(batch)
        found = self.estimator.sight(seen.layers).found.traces.sigmoid()
        shown = [_drawn(traces, batch.layers.size) for traces in (found, batch.traces)]
        return torch.stack([batch.layers.rgb[:, 0], stack(batch.layers), *shown], dim=1)


def _drawn(traces: Float[Tensor, "b 2 y x"], size: tuple[int, int]) -> Float[Tensor, "b 3 h w"]:
    """Traces as red and green."""
    return F.pad(F.interpolate(traces, size=size), (0, 0, 0, 0, 0, 1))
