"""Training the part of a relation network that estimates the light, before the rest of it."""

import pytorch_lightning as pl
import torch
from jaxtyping import Float
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from cldm.config import StageConfig
from cldm.relation.estimate import light_loss
from cldm.relation.learned import LearnedRelation
from cldm.training.optimisation import one_cycle
from ldm.compositing import stack
from ldm.projection import towards
from ldm.scene import LitLayers


class LightTraining(pl.LightningModule):
    """Teaches a relation network's estimator from batches of `LitLayers`."""

    def __init__(self, network: LearnedRelation, stage: StageConfig) -> None:
        super().__init__()
        self.estimator = network.estimator
        self.small = network.look.small
        self.stage = stage

    def training_step(self, batch: LitLayers) -> Float[Tensor, ""]:
        """The squared error of all that is said of the light."""
        loss = light_loss(self.estimator(self.small(batch.layers)), batch.light)
        self.log("train/light", loss)
        return loss

    def validation_step(self, batch: LitLayers) -> None:
        """Logs the error, and the share of what can be known of the direction that is known."""
        estimate = self.estimator(self.small(batch.layers))
        size = len(batch.light.azimuth)
        direction = towards(batch.light)
        error = (estimate.direction - direction).square().sum(dim=-1).mean()
        spread = (direction - direction.mean(dim=0)).square().sum(dim=-1).mean()
        self.log("validation/light", light_loss(estimate, batch.light), batch_size=size)
        self.log("validation/direction_explained", 1 - error / spread, batch_size=size)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW with one cycle of the learning rate."""
        weights = list(self.estimator.parameters())
        return one_cycle(weights, self.stage.learning_rate, self.stage.num_steps)

    def example(self, batch: LitLayers) -> Float[Tensor, "b 2 3 h w"]:
        """Pictures to look at: the backs and the plain pictures that are judged."""
        return torch.stack([batch.layers.rgb[:, 0], stack(batch.layers)], dim=1)
