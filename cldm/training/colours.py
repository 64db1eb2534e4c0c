"""Training the part of a relation network that reads colours, before the rest of it."""

from dataclasses import replace

import pytorch_lightning as pl
import torch
from jaxtyping import Bool, Float
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Generator, Tensor

from cldm.config import StageConfig
from cldm.relation.estimate import AssumedLight, assumed, overcast
from cldm.relation.guides import LightHint
from cldm.relation.learned import LearnedRelation
from cldm.training.disturbance import recoloured
from cldm.training.optimisation import one_cycle
from ldm.compositing import stack
from ldm.effects import shown
from ldm.scene import Scene, agreed
from ldm.values import Effects, Layers, identity_effects

_RECOLOURED = 0.5  # share of layers
_LEAST = 1e-4


class ColourTraining(pl.LightningModule):
    """Teaches what a relation network says of each layer as a whole, from batches of thinned
    `Scene`: to undo wrong colours, and the light that falls on it."""

    def __init__(self, network: LearnedRelation, stage: StageConfig) -> None:
        super().__init__()
        self.network = network
        self.stage = stage

    def training_step(self, batch: Scene) -> Float[Tensor, ""]:
        """The mean error of a layer, half of them in wrong colours."""
        generator = Generator().manual_seed(self.global_step)
        told = torch.rand(len(batch.light.azimuth), generator=generator) < 0.5
        told = told.to(batch.light.azimuth.device)
        wrong = self.disturbed(batch.layers, generator)
        effects = self.network.overall(wrong, _light(batch, told))
        loss = self.error(wrong, effects, batch)
        self.log("train/colours", loss)
        return loss

    def disturbed(self, layers: Layers, generator: Generator) -> Layers:
        """The layers, half of those above the back in wrong colours."""
        slots = torch.rand(layers.present.shape, generator=generator) < _RECOLOURED
        slots[:, 0] = False
        return recoloured(layers, slots.to(layers.present.device) & layers.present, generator)

    def error(self, layers: Layers, effects: Effects, scene: Scene) -> Float[Tensor, ""]:
        """Root mean square error of a layer's colours, mean over layers: all count alike."""
        told = (layers.rgb * effects.multiply + effects.add)[:, 1:]
        true = (scene.layers.rgb * scene.effects.multiply + scene.effects.add)[:, 1:]
        weight = layers.alpha[:, 1:].expand_as(told).flatten(2)
        area = weight.sum(dim=-1)
        error = ((told - true).square().flatten(2) * weight).sum(dim=-1) / area.clamp(min=1)
        seen = (area > 1) & layers.present[:, 1:]
        return (error + _LEAST).sqrt()[seen].mean()

    def validation_step(self, batch: Scene) -> None:
        """Logs by how much nearer layers come to their true colours, in shares of the error."""
        wrong = self.disturbed(batch.layers, Generator().manual_seed(0))
        told = torch.zeros_like(batch.light.azimuth, dtype=torch.bool)
        before = self.error(wrong, identity_effects(wrong), batch)
        for name, given in (("unknown", told), ("given", ~told)):
            found = self.network.overall(wrong, _light(batch, given))
            gain = 1 - self.error(wrong, found, batch) / before
            self.log(f"validation/{name}_light_undone", gain, batch_size=len(told))

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW with one cycle of the learning rate."""
        parts = self.network.colours, self.network.harmony
        weights = [weight for part in parts for weight in part.parameters()]
        return one_cycle(weights, self.stage.learning_rate, self.stage.num_steps)

    def example(self, batch: Scene) -> Float[Tensor, "b 3 3 h w"]:
        """Pictures to look at: some layers in wrong colours, put right, and the truth."""
        wrong = self.disturbed(batch.layers, Generator().manual_seed(0))
        told = torch.zeros_like(batch.light.azimuth, dtype=torch.bool)
        effects = self.network.overall(wrong, _light(batch, told))
        true = replace(
            identity_effects(wrong), multiply=batch.effects.multiply, add=batch.effects.add
        )
        pictures = [stack(wrong), shown(wrong, effects), shown(batch.layers, true)]
        return torch.stack(pictures, dim=1)


def _light(scene: Scene, told: Bool[Tensor, " b"]) -> AssumedLight:
    """Light where it is told, else an overcast sky; and who stands in it already."""
    hint, sky = LightHint(light=scene.light, given=told), overcast(len(told)).to(told.device)
    return assumed(hint, sky, agreed(scene)[:, 1:].to(scene.layers.rgba.dtype))
