"""The second stage: layered diffusion with control."""

from typing import Any

import pytorch_lightning as pl
import torch
from jaxtyping import Float
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from cldm.callbacks import trainable
from cldm.condition import hint
from cldm.examples import Examples
from cldm.losses import weighted_square
from cldm.model import LayerDiffusion, Sampling
from cldm.training.learning import require_same
from cldm.training.optimisation import one_cycle
from ldm.compositing import stack
from ldm.denoiser import NUM_TRAINING_STEPS, Prediction, add_noise, velocity_target

_WORDLESS = 0.1


class LayersTraining(pl.LightningModule):
    """Denoising at a noise level of its own for each slot, by those weights of the model that
    require gradients (see `cldm.training.learning`); checkpoints hold no others."""

    wordless: Tensor

    def __init__(
        self,
        model: LayerDiffusion,
        *,
        learning_rate: float,
        num_steps: int,
        timestep_shift: float,
    ) -> None:
        super().__init__()
        self.model = model
        self.strict_loading = False
        self.learning_rate = learning_rate
        self.num_steps = num_steps
        self.timestep_shift = timestep_shift
        self.register_buffer("wordless", model.tokenizer([""])[0], persistent=False)

    def training_step(self, batch: Examples) -> Float[Tensor, ""]:
        """The denoising loss of one batch."""
        loss = self.loss(batch)
        self.log("train/denoising", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: Examples) -> None:
        """The denoising loss with fixed noise."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.log("validation/denoising", self.loss(batch), prog_bar=True)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW on what learns."""
        return one_cycle(list(trainable(self).values()), self.learning_rate, self.num_steps)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave out the frozen gigabytes: they come from where they came from before."""
        found = checkpoint["state_dict"]
        checkpoint["state_dict"] = {key: found[key] for key in trainable(self)}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Raise WeightsError when something else learned there than does now."""
        require_same(checkpoint, trainable(self))

    def example(self, batch: Examples) -> Float[Tensor, "b columns 4 h w"]:
        """Asked masks, drawn layers and their plain stack, a row for each picture."""
        layers = self.model.generate(batch.condition, Sampling(num_steps=12))
        masks = batch.condition.masks.area[:, :, None].expand(-1, -1, 3, -1, -1)
        opaque = torch.ones_like(masks[:, :, :1])
        stacked = torch.cat([stack(layers), opaque[:, 0]], dim=1)[:, None]
        asked = torch.cat([masks, opaque], dim=2)[:, 1:]
        return torch.cat([asked, layers.rgba, stacked], dim=1)

    def loss(self, batch: Examples) -> Float[Tensor, ""]:
        """The squared error of the prediction, at noise levels drawn anew."""
        present = batch.condition.masks.present
        worded = torch.rand_like(present, dtype=torch.float32) >= _WORDLESS
        condition = batch.condition.dropped(worded, self.wordless)
        sigma = self.model.schedule.sigma(slot_timesteps(present, self.timestep_shift))
        sigma = torch.where(slot_clean(present), 0.0, sigma)
        noise = torch.randn_like(batch.latents)
        noisy = add_noise(batch.latents, noise, sigma)
        prompts = self.model.prompts(condition)
        found = self.model.predict(
            noisy,
            self.model.schedule.timestep(sigma),
            self.model.unet.read(prompts),
            self.model.control.encode(hint(condition, self.model.canvas), prompts),
            strength=1.0,
        )
        is_velocity = self.model.prediction is Prediction.v
        target = velocity_target(batch.latents, noise, sigma) if is_velocity else noise
        noised = (sigma > 0)[:, :, None, None]
        return weighted_square(target, found.float(), batch.weight * noised)


def slot_timesteps(present: Tensor, shift: float) -> Float[Tensor, "b n"]:
    """Timesteps for training: two pictures in three share one for all slots, the rest do not.

    A `shift` above 1 dwells on high noise, where looks are decided: `t' = s t / (1 + (s - 1) t)`
    (Esser et al., "Scaling Rectified Flow Transformers", 2024).
    """
    batch, _ = present.shape
    own = torch.rand_like(present, dtype=torch.float32)
    common = torch.rand(batch, 1, device=present.device).expand_as(own)
    shared = torch.rand(batch, 1, device=present.device) < 2 / 3
    even = torch.where(shared, common, own)
    return shift * even / (1 + (shift - 1) * even) * (NUM_TRAINING_STEPS - 1)


def slot_clean(present: Tensor) -> Tensor:
    """Which slots are kept clean, as in editing: in one picture of four, each with one half."""
    picked = torch.rand(present.shape[0], 1, device=present.device) < 0.25
    return picked & (torch.rand_like(present, dtype=torch.float32) < 0.5)
