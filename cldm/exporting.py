"""The flat model inside ours, back as Stable Diffusion's own files and as diffusers' folders."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextConfig

from cldm.config import ModelConfig
from cldm.flat import (
    Entry,
    Widening,
    base_entries,
    control_entries,
    model_shapes,
    require_flat,
    widenings,
)
from ldm.autoencoder import STABLE_DIFFUSION_SCALE
from ldm.checkpoint import write_tensors
from ldm.export.draft import draft_folder
from ldm.foreign import Foreign
from ldm.text import TextFamily
from ldm.weights import Naming


def flat_weights(ours: Foreign, naming: Naming, config: ModelConfig) -> dict[str, Tensor]:
    """A file of ours under foreign names: slot 0's channels, three in pixels, three in hints.

    Raises WeightsError naming the first key that is missing, unknown or of another shape.
    """
    require_flat(config)
    shapes = model_shapes(config)
    weights = {key: ours.tensor(key, shape) for key, shape in shapes.items()}
    unknown = sorted(ours.weights.keys() - weights.keys())
    if unknown:
        raise ours.refusal(f"{unknown[0]} is not part of this model")
    widened, foreign = widenings(config), dict[str, Tensor]()
    for entry in (*base_entries(config, shapes), *control_entries(config, shapes)):
        foreign |= _parts(entry, weights[entry.ours], widened.get(entry.ours), naming)
    return foreign


def write_diffusers(weights: Mapping[str, Tensor], config: ModelConfig, folder: Path) -> None:
    """Weights in diffusers' names as folders unet/, vae/, text_encoder/, controlnet/, each with its
    config.json; the whole appears at once or not at all."""
    with draft_folder(folder) as temporary:
        for name, network in _networks(config).items():
            network.save_config(temporary / name)
            own = _under(name, weights)
            write_tensors(own, temporary / name / "diffusion_pytorch_model.safetensors")
        _text_config(config).save_pretrained(temporary / "text_encoder")
        # Its published name, which transformers 4 knows, too.
        text = _under("text_encoder", weights)
        text = {f"text_model.{key}": tensor for key, tensor in text.items()}
        write_tensors(text, temporary / "text_encoder" / "model.safetensors")


def _parts(
    entry: Entry, tensor: Tensor, widening: Widening | None, naming: Naming
) -> dict[str, Tensor]:
    """One tensor of ours as the foreign ones that it holds."""
    flat = widening.narrow(tensor) if widening else tensor
    names, shape = entry.names.foreign(naming), entry.foreign_shape(naming)
    parts = zip(names, flat.chunk(len(names)), strict=True)
    return {name: part.reshape(shape) for name, part in parts}


def _under(part: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    prefix = f"{part}."
    return {
        key.removeprefix(prefix): tensor
        for key, tensor in weights.items()
        if key.startswith(prefix)
    }


def _networks(config: ModelConfig) -> dict[str, Any]:
    """Diffusers' networks by folder, without weights."""
    part, network = config.autoencoder, config.unet
    levels = len(part.channels)
    down = ["CrossAttnDownBlock2D" if text else "DownBlock2D" for text in network.attention]
    up = ["CrossAttnUpBlock2D" if text else "UpBlock2D" for text in reversed(network.attention)]
    shared: dict[str, Any] = {
        "in_channels": part.latent_channels,
        "block_out_channels": tuple(network.channels),
        "down_block_types": tuple(down),
        "layers_per_block": network.num_residuals,
        "cross_attention_dim": config.text.width,
        "attention_head_dim": tuple(network.num_heads),
        "use_linear_projection": config.text.family is TextFamily.open_clip,
    }
    with torch.device("meta"):
        return {
            "unet": UNet2DConditionModel(
                **shared,
                sample_size=config.canvas // 2 ** (levels - 1),
                out_channels=part.latent_channels,
                up_block_types=tuple(up),
            ),
            "controlnet": ControlNetModel(
                **shared, conditioning_embedding_out_channels=tuple(config.hint_channels)
            ),
            # Diffusers' annotations are narrower than what it takes.
            "vae": cast(Any, AutoencoderKL)(
                sample_size=config.canvas,
                latent_channels=part.latent_channels,
                block_out_channels=tuple(part.channels),
                layers_per_block=part.num_residuals,
                norm_num_groups=part.num_groups,
                down_block_types=("DownEncoderBlock2D",) * levels,
                up_block_types=("UpDecoderBlock2D",) * levels,
                scaling_factor=1 / STABLE_DIFFUSION_SCALE,
            ),
        }


def _text_config(config: ModelConfig) -> CLIPTextConfig:
    """What transformers must know to build the tower."""
    part = config.text
    return CLIPTextConfig(
        hidden_size=part.width,
        intermediate_size=4 * part.width,
        projection_dim=part.width,
        num_hidden_layers=part.depth,
        num_attention_heads=part.num_heads,
        max_position_embeddings=part.length,
        hidden_act="quick_gelu" if part.family is TextFamily.clip else "gelu",
        architectures=["CLIPTextModel"],
    )
