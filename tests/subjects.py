"""What laws are tried on: free pictures, and a config small enough to run in a blink."""

from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from cldm.config import (
    AutoencoderConfig,
    Layout,
    ModelConfig,
    RelationConfig,
    StageConfig,
    TextConfig,
    TrainingConfig,
    UNetConfig,
)
from ldm.denoiser import Prediction
from ldm.layout import Prompts
from ldm.unet import Widths
from ldm.values import Frames

Module = TypeVar("Module", bound=nn.Module)
FIXTURES = Path(__file__).parent / "fixtures"
STAGE = StageConfig(num_steps=3, batch_size=2, learning_rate=1e-3)


def config(layout: Layout) -> ModelConfig:
    """A model of a few thousand weights, and the vocabulary."""
    return ModelConfig(
        canvas=32,
        picture=64,
        max_slots=3,
        prediction=Prediction.v,
        hint_channels=(4, 8, 8),
        autoencoder=AutoencoderConfig(
            latent_channels=4, channels=(8, 16), num_residuals=1, num_groups=4, patch=2, linear=True
        ),
        text=TextConfig(width=32, depth=1, num_heads=2, length=8),
        unet=UNetConfig(
            layout=layout,
            channels=(32, 64),
            attention=(False, True),
            across=(False, True),
            num_residuals=1,
            num_heads=2,
        ),
        relation=RelationConfig(width=16, depth=1, num_heads=2),
        training=TrainingConfig(autoencoder=STAGE, layers=STAGE, relation=STAGE, num_slots=3),
    )


def awake(module: Module) -> Module:
    """The module with noise on all weights that are zero at birth."""
    with torch.no_grad():
        for weight in module.parameters():
            if not weight.any():
                weight.normal_(std=0.1)
    return module


def picture(name: str, size: int) -> Float[Tensor, "3 size size"]:
    """A fixture, squeezed to a square; colour only."""
    image = Image.open(FIXTURES / name).convert("RGB").resize((size, size))
    return torch.from_numpy(np.asarray(image).copy()).movedim(-1, 0).float() / 255


def planet(size: int) -> Float[Tensor, "4 size size"]:
    """The fixture with an alpha of its own."""
    image = Image.open(FIXTURES / "jupiter.png").resize((size, size))
    return torch.from_numpy(np.asarray(image).copy()).movedim(-1, 0).float() / 255


HEADS, TEXT = 2, 32
WIDTHS = Widths(
    latents=4,
    channels=(32, 64),
    attention=(True, False),
    across=(False, False),
    num_residuals=2,
    num_heads=HEADS,
    text=TEXT,
)


def foreign_unet() -> UNet2DConditionModel:
    """Diffusers' U-Net in the sizes of `WIDTHS` (its `attention_head_dim` counts heads)."""
    return UNet2DConditionModel(
        in_channels=4,
        out_channels=4,
        block_out_channels=(32, 64),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=2,
        cross_attention_dim=TEXT,
        attention_head_dim=HEADS,
    ).eval()


def asked(text: Float[Tensor, "b n l d"]) -> Prompts:
    """Prompts that hold everywhere, in frames of many places; the first frame is the picture."""
    batch, slots = text.shape[:2]
    corner = torch.arange(slots) * 0.1
    box = torch.stack([corner, corner * 0.5, 1 - corner * 0.3, 1 - corner], dim=-1)
    return Prompts(
        text=text,
        area=torch.ones(batch, slots, 8, 8),
        frames=Frames(box=box.expand(batch, slots, 4)),
        present=torch.ones(batch, slots, dtype=torch.bool),
    )
