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
    RelationStageConfig,
    StageConfig,
    TextConfig,
    TrainingConfig,
    UNetConfig,
)
from ldm.denoiser import Prediction
from ldm.layout import Prompts, StackedLayout
from ldm.storage import Provenance, Sample, StoredLayer, write_shard
from ldm.unet import UNet, Widths
from ldm.values import Frames, Light
from ldm.weights import Naming, to_ours, unet_table

Module = TypeVar("Module", bound=nn.Module)
FIXTURES = Path(__file__).parent / "fixtures"
SIDE = 64  # of the pictures in which a pillar stands
STAGE = StageConfig(num_steps=3, batch_size=2, learning_rate=1e-3)
RELATION_STAGE = RelationStageConfig(num_steps=3, batch_size=2, learning_rate=1e-3)


def config(layout: Layout) -> ModelConfig:
    """A model of a few thousand weights, and the vocabulary."""
    return ModelConfig(
        canvas=32,
        picture=64,
        max_slots=3,
        prediction=Prediction.v,
        preconditioned=True,
        zero_terminal_snr=True,
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
            num_heads=(2, 2),
        ),
        relation=RelationConfig(width=16, depth=1, num_heads=2),
        training=TrainingConfig(
            autoencoder=STAGE,
            layers=STAGE,
            relation=RELATION_STAGE,
            num_slots=3,
            mean_steps=2 if layout is Layout.stacked else 0,
        ),
    )


def awake(module: Module) -> Module:
    """The module in use, with noise on all weights that are zero at birth."""
    with torch.no_grad():
        for weight in module.parameters():
            if not weight.any():
                weight.normal_(std=0.1)
    return module.eval()


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
    num_heads=(HEADS, HEADS),
    text=TEXT,
)


FULL = Widths(
    latents=4,
    channels=(320, 640, 1280, 1280),
    attention=(True, True, True, False),
    across=(False, False, False, False),
    num_residuals=2,
    num_heads=(8,) * 4,
    text=768,
)
"""Stable Diffusion 1.5's."""


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


def unet_like(foreign: UNet2DConditionModel) -> UNet:
    """Our U-Net with the weights of diffusers'; parts that only ours has are new."""
    ours = UNet(WIDTHS, StackedLayout(32, TEXT)).eval()
    taken = to_ours(foreign.state_dict(), unet_table(WIDTHS), Naming.DIFFUSERS)
    ours.load_state_dict(ours.state_dict() | taken)
    return ours


def asked(text: Float[Tensor, "b n l d"]) -> Prompts:
    """Prompts that hold everywhere, in frames of many places; the first frame is the picture."""
    batch, slots = text.shape[:2]
    corner = torch.arange(slots) * 0.1
    box = torch.stack([corner, corner * 0.5, 1 - corner * 0.3, 1 - corner], dim=-1)
    return Prompts(
        text=text,
        sense=text.mean(dim=2),
        area=torch.ones(batch, slots, 8, 8),
        frames=Frames(box=box.expand(batch, slots, 4)),
        present=torch.ones(batch, slots, dtype=torch.bool),
    )


def stored(rgba: Float[Tensor, "4 h w"], prompt: str) -> StoredLayer:
    """A layer as it lies on disk."""
    pixels = (rgba.movedim(0, -1) * 255).round().to(torch.uint8).numpy()
    free = Provenance(source="tests/fixtures", licence="see LICENCES.md", author="", note="")
    return StoredLayer(rgba=np.ascontiguousarray(pixels), prompt=prompt, provenance=free)


def cutouts() -> tuple[StoredLayer, ...]:
    """Two layers with an alpha of their own."""
    painted = torch.cat([picture("duck.jpg", 60), planet(60)[3:]])
    return stored(planet(80), "jupiter"), stored(painted[:, 10:50], "a slice of duck")


def backdrops() -> tuple[StoredLayer, ...]:
    """Two opaque layers."""
    rgb = {name: picture(f"{name}.jpg", 64) for name in ("horses", "pyramid")}
    opaque = torch.ones(1, 64, 64)
    return tuple(stored(torch.cat([rgb[name], opaque]), name) for name in rgb)


def write_data(folder: Path) -> Path:
    """Shards as training wants them: cut-outs and backdrops, for both splits and for scenes."""
    for split in ("train", "validation", "scenery"):
        for name, layers in (("cutouts", cutouts()), ("backdrops", backdrops())):
            samples = [
                Sample(key=f"{name}{index}", layers=(layer,), tags=("ground",))
                for index, layer in enumerate(layers)
            ]
            write_shard(folder / split / f"{name}.tar", samples)
    return folder


def pillar() -> Float[Tensor, "1 1 1 h w"]:
    """An upright box in the middle of the picture that stands on row 44."""
    alpha = torch.zeros(1, 1, 1, SIDE, SIDE)
    alpha[..., 20:44, 27:37] = 1
    return alpha


def light_from(azimuth: float, elevation: float = 0.7) -> Light:
    """A small light in one direction."""
    one = torch.ones(1)
    return Light(
        azimuth=azimuth * one,
        elevation=elevation * one,
        colour=torch.ones(1, 3),
        softness=0.1 * one,
        ambient=0.4 * one,
    )


def disc(across: int, down: int, radius: int = 9) -> np.ndarray:
    """A round mask in a square of `SIDE`."""
    y, x = np.mgrid[:SIDE, :SIDE]
    return (x - across) ** 2 + (y - down) ** 2 <= radius**2
