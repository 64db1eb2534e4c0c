"""Foreign weights to try laws on: what published files hold, and diffusers' networks in small."""

import gzip
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from omegaconf import OmegaConf
from subjects import FIXTURES, HEADS, TEXT, awake
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from cldm.config import (
    AutoencoderConfig,
    Layout,
    ModelConfig,
    RelationConfig,
    TextConfig,
    UNetConfig,
)
from ldm.text import TextFamily

HINT_WIDTHS = (4, 8)
V15 = ModelConfig(text=TextConfig(family=TextFamily.clip, width=768, depth=12, num_heads=12))
V21 = ModelConfig(text=TextConfig(family=TextFamily.open_clip, width=1024, depth=23, num_heads=16))
"""The sizes of the published models."""


def manifest(name: str) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of a whole ControlNet 1.0 file, `sd15` or `sd21`."""
    lines = gzip.decompress((FIXTURES / f"{name}_controlnet.txt.gz").read_bytes()).decode()
    found: dict[str, tuple[int, ...]] = {}
    for line in lines.splitlines():
        key, _, shape = line.partition(" ")
        found[key] = tuple(int(size) for size in shape.split(",") if size)
    return found


def hollow(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Tensors of any size that take no memory, nor space in a pickle."""
    return {key: torch.zeros((), dtype=torch.half).expand(shape) for key, shape in shapes.items()}


def foreign_control() -> ControlNetModel:
    """Diffusers' ControlNet in the sizes of `subjects.WIDTHS`."""
    return networks(TextFamily.clip)["controlnet"]


def heads_of(family: TextFamily) -> tuple[int, int]:
    """Heads of each level; as published, Stable Diffusion 2 has more where it is coarse."""
    return (HEADS, HEADS if family is TextFamily.clip else 2 * HEADS)


@cache
def networks(family: TextFamily) -> dict[str, Any]:
    """Stable Diffusion 1 (clip) or 2 (open_clip) and a ControlNet as diffusers has them, by folder;
    as small as their blocks allow, in the sizes of `subjects.WIDTHS`, none of it silent;
    look, do not train."""
    shared: dict[str, Any] = {
        "in_channels": 4,
        "block_out_channels": (32, 64),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "layers_per_block": 2,
        "cross_attention_dim": TEXT,
        "attention_head_dim": heads_of(family),
        "use_linear_projection": family is TextFamily.open_clip,
    }
    blocks = ("UpBlock2D", "CrossAttnUpBlock2D")
    vae: dict[str, Any] = {
        "block_out_channels": (8, 16),
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
        "norm_num_groups": 4,
    }
    text = CLIPTextConfig(
        hidden_size=TEXT,
        intermediate_size=4 * TEXT,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=8,
        hidden_act="quick_gelu" if family is TextFamily.clip else "gelu",
    )
    found = {
        "unet": UNet2DConditionModel(**shared, out_channels=4, up_block_types=blocks),
        "vae": AutoencoderKL(**vae),
        "text_encoder": CLIPTextModel(text),
        "controlnet": ControlNetModel(**shared, conditioning_embedding_out_channels=HINT_WIDTHS),
    }
    return {name: awake(network).eval() for name, network in found.items()}


def write_networks(found: dict[str, Any], folder: Path) -> Path:
    """The networks as diffusers and transformers write them."""
    for name, network in found.items():
        network.save_pretrained(folder / name)
    return folder


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """Equal keys, shapes and values."""
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def flat_config(layout: Layout, family: TextFamily) -> ModelConfig:
    """A model around Stable Diffusion 1 (clip) or 2 (open_clip), as small as its blocks allow."""
    return ModelConfig(
        canvas=32,
        picture=32,
        max_slots=3,
        hint_channels=HINT_WIDTHS,
        autoencoder=AutoencoderConfig(
            latent_channels=4, channels=(8, 16), num_residuals=1, num_groups=4
        ),
        text=TextConfig(family=family, width=TEXT, depth=2, num_heads=2, length=8),
        unet=UNetConfig(
            layout=layout,
            channels=(32, 64),
            attention=(True, False),
            across=(False, True),
            num_residuals=2,
            num_heads=heads_of(family),
        ),
        relation=RelationConfig(width=16, depth=1, num_heads=2),
    )


def smallest_config() -> ModelConfig:
    """A model around Stable Diffusion 1 with one block of each kind."""
    config = flat_config(Layout.stacked, TextFamily.clip)
    return replace(
        config,
        hint_channels=(4, 8),
        autoencoder=replace(config.autoencoder, channels=(8,)),
        text=replace(config.text, width=8, depth=1),
        unet=replace(config.unet, channels=(32, 64), num_residuals=1),
    )


def write_model(config: ModelConfig, path: Path) -> Path:
    """A config as a YAML file."""
    OmegaConf.save(OmegaConf.structured(config), path)
    return path


class Evil:
    """A pickle that would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, (f"open({str(self.path)!r}, 'w')",))
