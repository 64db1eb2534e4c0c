"""Completion by the layered model: what a photograph's objects hide is drawn."""

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from cldm.condition import Condition, frames_of
from cldm.config import ModelConfig
from cldm.data import tensor_of
from cldm.model import LayerDiffusion, Sampling, visiting
from ldm.compositing import bleed, crop, crop_masks, place
from ldm.denoiser import KnownDenoiser
from ldm.sampler import sample
from ldm.values import Frames, Layers, Masks


class DiffusionCompletion:
    """A photograph as a scene of two layers: what hides is kept clean, the hidden part of the back
    is drawn, and all that is seen of it stays known at every step."""

    def __init__(self, model: LayerDiffusion, config: ModelConfig, sampling: Sampling) -> None:
        self.model = model
        self.config = config
        self.sampling = sampling

    @torch.no_grad()
    def __call__(
        self, pixels: UInt8[np.ndarray, "h w 3"], hidden: Bool[np.ndarray, "h w"], prompt: str
    ) -> UInt8[np.ndarray, "h w 3"]:
        """The photograph with its hidden part drawn; what is seen stays bit for bit."""
        if not hidden.any():
            return pixels
        picture = tensor_of(pixels)[None].to(self.model.device)
        away = torch.from_numpy(hidden)[None, None].to(picture)
        drawn = adapted(self._drawn(picture, away, prompt), picture, away)
        found = (drawn[0].movedim(0, -1) * 255).round().cpu().numpy().astype(np.uint8)
        return np.where(hidden[..., None], found, pixels)

    def _drawn(self, picture: Tensor, away: Tensor, prompt: str) -> Float[Tensor, "1 3 h w"]:
        """What the model sees behind `away`."""
        masks = Masks(
            area=torch.cat([torch.ones_like(away), away], dim=1),
            present=torch.ones(1, 2, dtype=torch.bool, device=away.device),
        )
        frames = frames_of(masks, self.config)
        tokens = self.model.tokenizer([prompt, ""])[None]
        condition = Condition(tokens=tokens.to(away.device), masks=masks, frames=frames)
        latents, known = self._known(picture, away, frames)
        free = torch.tensor([[True, False]], device=self.model.device)
        generator = torch.Generator().manual_seed(self.sampling.seed)
        with visiting(self.model.unet, self.model.device):
            *_, last = sample(
                KnownDenoiser(self.model.guided(condition, self.sampling), latents, known),
                latents,
                free,
                self.model.schedule,
                sampler=self.sampling.sampler,
                num_steps=self.sampling.num_steps,
                generator=generator,
            )
        canvases = self.model.autoencoder.decode(last.latents)
        size = (picture.shape[-2], picture.shape[-1])
        return Layers(rgba=place(canvases, frames, size), present=masks.present).rgb[:, 0]

    def _known(self, picture: Tensor, away: Tensor, frames: Frames) -> tuple[Tensor, Tensor]:
        """Latents of the back (with the colours around bled into what is hidden) and of what hides
        it, and which cells of the back are seen."""
        seen = bleed(torch.cat([picture, 1 - away], dim=1)[:, None])
        seen = torch.cat([seen[:, :, :3], torch.ones_like(seen[:, :, 3:])], dim=2)
        hiding = torch.cat([picture, away], dim=1)[:, None]
        canvas = (self.model.canvas, self.model.canvas)
        canvases = crop(torch.cat([seen, hiding], dim=1), frames, canvas)
        latents = self.model.autoencoder.encode(canvases)
        cells = (latents.shape[-2], latents.shape[-1])
        covered = crop_masks(torch.cat([away, away], dim=1), frames, cells)
        return latents, (covered < 1e-3)[:, :, None]


def adapted(
    drawn: Float[Tensor, "b 3 h w"],
    picture: Float[Tensor, "b 3 h w"],
    away: Float[Tensor, "b 1 h w"],
) -> Float[Tensor, "b 3 h w"]:
    """What was drawn, shifted in colour so that it meets the picture at the rim of `away`: the
    difference that is seen around goes on smoothly inside (a membrane, as in Perez et al.,
    "Poisson Image Editing", 2003)."""
    difference = torch.cat([(picture - drawn) / 2 + 0.5, 1 - away], dim=1)[:, None]
    smooth = bleed(difference)[:, 0, :3] * 2 - 1
    return (drawn + smooth).clamp(0, 1)
