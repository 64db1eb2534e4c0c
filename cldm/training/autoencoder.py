"""The first stage: the RGBA autoencoder."""

import pytorch_lightning as pl
import torch
from jaxtyping import Float
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from cldm.losses import divergence, over_colours, reconstruction
from cldm.training.optimisation import one_cycle
from ldm.autoencoder import Autoencoder
from ldm.metrics import psnr

_COARSE = 4


class AutoencoderTraining(pl.LightningModule):
    """Reconstruction over random solid colours, and a little divergence."""

    def __init__(
        self,
        autoencoder: Autoencoder,
        *,
        learning_rate: float,
        num_steps: int,
        divergence_weight: float,
    ) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.learning_rate = learning_rate
        self.num_steps = num_steps
        self.divergence_weight = divergence_weight

    def training_step(self, canvases: Float[Tensor, "b n 4 h w"]) -> Float[Tensor, ""]:
        """The loss of canvases whose latents are drawn from the posterior."""
        mean, log_variance = self.autoencoder.posterior(canvases)
        raw = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        if self.autoencoder.linear:
            raw = faded(raw)
        found = self.autoencoder.reconstruct(raw)
        loss = reconstruction(canvases, found, _colours(canvases))
        divergent = divergence(mean, log_variance)
        self.log("train/reconstruction", loss, prog_bar=True)
        self.log("train/divergence", divergent)
        return loss + self.divergence_weight * divergent

    def validation_step(self, canvases: Float[Tensor, "b n 4 h w"]) -> None:
        """PSNR over random solid colours."""
        found = self.autoencoder.decode(self.autoencoder.encode(canvases))
        shown, shown_found = over_colours(canvases, found, _colours(canvases))
        self.log("validation/rgba_psnr", psnr(shown, shown_found), prog_bar=True)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW with one cycle of the learning rate."""
        return one_cycle(
            [weight for weight in self.autoencoder.parameters() if weight.requires_grad],
            self.learning_rate,
            self.num_steps,
        )

    def example(self, canvases: Float[Tensor, "b n 4 h w"]) -> Float[Tensor, "b n 4 h w2"]:
        """Pictures to look at: truth beside reconstruction."""
        found = self.autoencoder.decode(self.autoencoder.encode(canvases))
        return torch.cat([canvases, found], dim=-1)


def faded(raw: Float[Tensor, "b n z y x"]) -> Float[Tensor, "b n z y x"]:
    """Principal components with the detail of half of the canvases weakened, as drawn ones have it:
    all but the first four, which hold the mean colour and alpha of a square."""
    canvases = raw.shape[:2]
    left = torch.where(torch.rand(canvases) < 0.5, torch.rand(canvases), 1.0).to(raw.device)
    coarse, detail = raw[:, :, :_COARSE], raw[:, :, _COARSE:]
    return torch.cat([coarse, detail * left[:, :, None, None, None]], dim=2)


def _colours(canvases: Float[Tensor, "b n 4 h w"]) -> Float[Tensor, "b n 3 1 1"]:
    return torch.rand(*canvases.shape[:2], 3, 1, 1, device=canvases.device)
