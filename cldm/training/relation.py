"""Training the relation network on scenes whose light is known."""

from dataclasses import dataclass

import pytorch_lightning as pl
import torch
from jaxtyping import Float
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from cldm.relation.guides import LightHint
from cldm.relation.losses import (
    affected,
    alpha_loss,
    composite_loss,
    reflection_loss,
    relit_loss,
    shadow_loss,
    stillness_loss,
)
from cldm.relation.network import RelationNetwork
from cldm.training.optimisation import one_cycle
from ldm.compositing import stack
from ldm.effects import shown
from ldm.metrics import psnr
from ldm.scene import Scene
from ldm.values import Effects


@dataclass(frozen=True, kw_only=True)
class RelationWeights:
    """How much each loss term counts."""

    composite: float = 4.0
    stillness: float = 4.0
    relit: float = 2.0
    shadow: float = 1.0
    reflection: float = 1.0
    alpha: float = 0.5


class RelationTraining(pl.LightningModule):
    """Teaches a relation network from batches of `Scene`.

    It is told the light of about half of the scenes.
    """

    def __init__(
        self,
        network: RelationNetwork,
        *,
        learning_rate: float,
        num_steps: int,
        weights: RelationWeights,
    ) -> None:
        super().__init__()
        self.network = network
        self.learning_rate = learning_rate
        self.num_steps = num_steps
        self.weights = weights

    def training_step(self, batch: Scene) -> Float[Tensor, ""]:
        """The weighted sum of all terms; each is logged under its name."""
        given = torch.rand(batch.light.azimuth.shape, device=self.device) < 0.5
        effects = self.network(batch.layers, LightHint(light=batch.light, given=given))
        terms = self.terms(batch, effects)
        self.log_dict({f"train/{name}": term for name, term in terms.items()})
        return torch.stack([getattr(self.weights, name) * terms[name] for name in terms]).sum()

    def validation_step(self, batch: Scene) -> None:
        """Logs how many dB nearer to the true picture the effects bring the plain one."""
        truth = shown(batch.layers, batch.effects)
        plain = psnr(truth, stack(batch.layers))
        size = truth.shape[0]
        self.log("validation/plain_psnr", plain, batch_size=size)
        for name, given in (("given", True), ("unknown", False)):
            found = psnr(truth, shown(batch.layers, self.answer(batch, given)))
            self.log(f"validation/{name}_light_psnr", found, batch_size=size)
            self.log(f"validation/{name}_light_gain_db", found - plain, batch_size=size)

    def terms(self, scene: Scene, effects: Effects) -> dict[str, Float[Tensor, ""]]:
        """Each loss term under its name."""
        truth, plain = shown(scene.layers, scene.effects), stack(scene.layers)
        picture, region = shown(scene.layers, effects), affected(truth, plain)
        return {
            "composite": composite_loss(picture, truth, region),
            "stillness": stillness_loss(picture, plain, region),
            "relit": relit_loss(scene.layers, effects, scene.effects),
            "shadow": shadow_loss(effects, scene.effects),
            "reflection": reflection_loss(effects, scene.effects),
            "alpha": alpha_loss(effects, scene.effects),
        }

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW with one cycle of the learning rate."""
        return one_cycle(list(self.network.parameters()), self.learning_rate, self.num_steps)

    def example(self, batch: Scene) -> Float[Tensor, "b 4 3 h w"]:
        """Pictures to look at: plain, without and with the light given, and the truth."""
        told = [self.answer(batch, given) for given in (False, True)]
        pictures = [stack(batch.layers), *(shown(batch.layers, effects) for effects in told)]
        return torch.stack([*pictures, shown(batch.layers, batch.effects)], dim=1)

    def answer(self, batch: Scene, given: bool) -> Effects:
        """The network's effects for scenes, told all of their light or nothing."""
        flags = torch.full_like(batch.light.azimuth, given, dtype=torch.bool)
        return self.network(batch.layers, LightHint(light=batch.light, given=flags))
