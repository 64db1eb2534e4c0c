"""Training the relation network on scenes whose light is known."""

from dataclasses import asdict

import pytorch_lightning as pl
import torch
from jaxtyping import Float
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Generator, Tensor

from cldm.config import RelationStageConfig
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
from cldm.training.disturbance import random_slots, recoloured, roughened
from cldm.training.optimisation import one_cycle
from ldm.compositing import stack
from ldm.effects import shown
from ldm.metrics import psnr
from ldm.scene import Scene, partly_cut_out
from ldm.values import Effects, Layers


class RelationTraining(pl.LightningModule):
    """Teaches a relation network from batches of `Scene`, as the stage's recipe says.

    Some pictures come as layers that agree already, all or the lowest of them, some with a layer in
    wrong colours or with wrong edges; what should be seen is the true picture all the same. The
    estimator of the light stays as it is.
    """

    def __init__(self, network: RelationNetwork, recipe: RelationStageConfig) -> None:
        super().__init__()
        self.network = network
        self.recipe = recipe

    def training_step(self, batch: Scene) -> Float[Tensor, ""]:
        """The weighted sum of all terms; each is logged under its name."""
        generator = Generator().manual_seed(self.global_step)
        scene, layers, told = self.task(batch, generator)
        effects = self.network(layers, LightHint(light=scene.light, given=told))
        terms = self.terms(scene, layers, effects)
        self.log_dict({f"train/{name}": term for name, term in terms.items()})
        weights = asdict(self.recipe.weights)
        return torch.stack([weights[name] * term for name, term in terms.items()]).sum()

    def task(self, batch: Scene, generator: Generator) -> tuple[Scene, Layers, Tensor]:
        """What should be seen, the layers as they come, and of which pictures the light is told."""
        recipe, device = self.recipe, batch.light.azimuth.device
        random = torch.rand(3, len(batch.light.azimuth), generator=generator).to(device)
        cut = random[0] < recipe.cut_out
        partly = random[0] < recipe.cut_out + recipe.partly_cut_out
        present = batch.layers.present
        most = present[:, 1:].sum(dim=1)
        some = torch.where(partly, (random[2] * (most + 1)).long(), 0)
        scene = partly_cut_out(batch, torch.where(cut, most, some))
        share = torch.where(cut, recipe.recoloured_cut_out, recipe.recoloured)
        wrong = recoloured(scene.layers, random_slots(present, share, generator), generator)
        share = torch.full_like(share, recipe.roughened)
        wrong = roughened(wrong, random_slots(present, share, generator), generator)
        return scene, wrong, random[1] < recipe.told

    def validation_step(self, batch: Scene) -> None:
        """Logs how many dB nearer to the true picture the effects bring the plain one."""
        truth = batch.picture
        plain = psnr(truth, stack(batch.layers))
        size = truth.shape[0]
        self.log("validation/plain_psnr", plain, batch_size=size)
        for name, given in (("given", True), ("unknown", False)):
            found = psnr(truth, shown(batch.layers, self.answer(batch, given)))
            self.log(f"validation/{name}_light_psnr", found, batch_size=size)
            self.log(f"validation/{name}_light_gain_db", found - plain, batch_size=size)

    def terms(self, scene: Scene, layers: Layers, effects: Effects) -> dict[str, Float[Tensor, ""]]:
        """Each loss term under its name; `layers` are the scene's as they came."""
        truth, plain = scene.picture, stack(layers)
        picture, region = shown(layers, effects), affected(truth, plain)
        return {
            "composite": composite_loss(picture, truth, region),
            "stillness": stillness_loss(picture, plain, region),
            "relit": relit_loss(layers, effects, scene.layers, scene.effects),
            "shadow": shadow_loss(effects, scene.effects),
            "reflection": reflection_loss(effects, scene.effects),
            "alpha": alpha_loss(effects, scene.effects),
        }

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW with one cycle of the learning rate."""
        recipe, weights = self.recipe, list(self.network.parameters())
        return one_cycle(weights, recipe.learning_rate, recipe.num_steps)

    def example(self, batch: Scene) -> Float[Tensor, "b 4 3 h w"]:
        """Pictures to look at: plain, without and with the light given, and the truth."""
        told = [self.answer(batch, given) for given in (False, True)]
        pictures = [stack(batch.layers), *(shown(batch.layers, effects) for effects in told)]
        return torch.stack([*pictures, batch.picture], dim=1)

    def answer(self, batch: Scene, given: bool) -> Effects:
        """The network's effects for scenes, told all of their light or nothing."""
        flags = torch.full_like(batch.light.azimuth, given, dtype=torch.bool)
        return self.network(batch.layers, LightHint(light=batch.light, given=flags))
