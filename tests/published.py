"""Stable Diffusion 1.5 with a ControlNet as published, but in random weights: its file, and what
diffusers and transformers make of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, UNet2DConditionModel
from diffusers.loaders.single_file_utils import (
    convert_controlnet_checkpoint,
    convert_ldm_clip_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
)
from foreign import manifest, write_model
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

import tool_add_layers
from cldm.build import load_model
from cldm.config import Layout, ModelConfig, read_config
from cldm.model import LayerDiffusion
from ldm.denoiser import Prediction

MODELS = Path(__file__).parents[1] / "models"
Weights = dict[str, Tensor]


class Size(Enum):
    """As published, or with an eighth to a tenth of the channels."""

    THIN = "thin"
    WHOLE = "whole"

    def of(self, width: int) -> int:
        """A number of channels as published to one of this size (a vocabulary is none)."""
        if self is Size.WHOLE or width == 49408:
            return width
        for multiple, share in ((320, 10), (128, 8)):
            if width % multiple == 0:
                return width // share
        return width

    def all_of(self, widths: tuple[int, ...]) -> tuple[int, ...]:
        """All widths of a shape or a list."""
        return tuple(map(self.of, widths))


def config_of(size: Size, layout: Layout) -> ModelConfig:
    """The shipped config in a size."""
    packed = "_packed" if layout is Layout.packed else ""
    config = read_config(MODELS / f"layers_v15{packed}.yaml")
    if size is Size.WHOLE:
        return config
    pixels = config.autoencoder
    return replace(
        config,
        hint_channels=size.all_of(config.hint_channels),
        autoencoder=replace(pixels, channels=size.all_of(pixels.channels), num_groups=4),
        text=replace(config.text, width=size.of(config.text.width)),
        unet=replace(config.unet, channels=size.all_of(config.unet.channels)),
    )


def write_published(size: Size, path: Path) -> Path:
    """A file in LDM's names and half precision. Nothing is silent, and no block makes its input
    larger or smaller by much."""
    chance = torch.Generator().manual_seed(0)
    weights: Weights = {}
    for key, shape in manifest("sd15").items():
        noise = torch.randn(size.all_of(shape), generator=chance)
        if noise.ndim > 1:
            noise = noise / noise[0].numel() ** 0.5
        elif key.endswith(".weight"):
            noise = 1 + 0.1 * noise
        else:
            noise = 0.1 * noise
        weights[key] = noise.half()
    save_file(weights, path)
    return path


@contextmanager
def layered(base: Path, config: ModelConfig) -> Iterator[LayerDiffusion]:
    """The published file as a model of ours, through the door and the loader."""
    with TemporaryDirectory() as folder:
        model, output = (
            write_model(config, Path(folder, "model.yaml")),
            Path(folder, config.weights),
        )
        tool_add_layers.main([str(base), str(output), "--model", str(model)])
        yield load_model(config, Path(folder))


def filled(network: Any, weights: Weights) -> Any:
    """A network that was built on the meta device, with half-precision weights in full ones."""
    own = {key: weight.float() for key, weight in weights.items()}
    network.load_state_dict(own, assign=True)
    return network.eval()


def foreign_text(size: Size, base: Path) -> CLIPTextModel:
    """transformers' text tower with the file's weights."""
    width = size.of(768)
    config = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=12,
        num_attention_heads=12,
        eos_token_id=49407,
    )
    weights = convert_ldm_clip_checkpoint(load_file(base))
    own = {key.removeprefix("text_model."): tensor.float() for key, tensor in weights.items()}
    network = CLIPTextModel(config)
    network.load_state_dict({key: own[key] for key in network.state_dict()})
    return network.eval()


def foreign_autoencoder(size: Size, base: Path) -> AutoencoderKL:
    """Diffusers' autoencoder with the file's weights."""
    with torch.device("meta"):
        network = AutoencoderKL(
            block_out_channels=size.all_of((128, 256, 512, 512)),
            layers_per_block=2,
            norm_num_groups=32 if size is Size.WHOLE else 4,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
        )
    return filled(network, convert_ldm_vae_checkpoint(load_file(base), dict(network.config)))


@dataclass(frozen=True, kw_only=True)
class Controlled:
    """Diffusers' U-Net and ControlNet, driven by hand."""

    unet: UNet2DConditionModel
    control: ControlNetModel

    def taps(
        self, noisy: Tensor, timestep: Tensor, text: Tensor, image: Tensor, strength: float
    ) -> list[Tensor]:
        """All residuals, the middle's last."""
        added, middle = self.control(noisy, timestep, text, image, strength, return_dict=False)
        return [*added, middle]

    def answer(self, noisy: Tensor, timestep: Tensor, text: Tensor, taps: list[Tensor]) -> Tensor:
        """The U-Net's prediction under control."""
        return self.unet(
            noisy,
            timestep,
            text,
            down_block_additional_residuals=tuple(taps[:-1]),
            mid_block_additional_residual=taps[-1],
        ).sample

    def drawn(
        self,
        noise: Tensor,
        wordless: Tensor,
        text: Tensor,
        image: Tensor,
        *,
        kind: Prediction,
        guidance: float,
        strength: float,
    ) -> Tensor:
        """The clean latents of the last of ten steps of DDIM."""
        scheduler = DDIMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            clip_sample=False,
            set_alpha_to_one=False,
            timestep_spacing="trailing",
            prediction_type="epsilon" if kind is Prediction.eps else "v_prediction",
        )
        scheduler.set_timesteps(10)
        noisy, clean, both = noise, noise, torch.cat([wordless, text])
        images = torch.cat([image, image])
        for timestep in scheduler.timesteps:
            twice = torch.cat([noisy, noisy])
            taps = self.taps(twice, timestep, both, images, strength)
            without, conditional = self.answer(twice, timestep, both, taps).chunk(2)
            guided = without + guidance * (conditional - without)
            step = scheduler.step(guided, int(timestep), noisy)
            noisy, clean = step.prev_sample, step.pred_original_sample
        return clean


def foreign_controlled(size: Size, base: Path) -> Controlled:
    """Diffusers' networks with the file's weights."""
    shared: dict[str, Any] = {
        "block_out_channels": size.all_of((320, 640, 1280, 1280)),
        "cross_attention_dim": size.of(768),
        "attention_head_dim": 8,
    }
    with torch.device("meta"):
        unet = UNet2DConditionModel(**shared)
        hint = size.all_of((16, 32, 96, 256))
        control = ControlNetModel(**shared, conditioning_embedding_out_channels=hint)
    weights = load_file(base)
    return Controlled(
        unet=filled(unet, convert_ldm_unet_checkpoint(weights, dict(unet.config))),
        control=filled(control, convert_controlnet_checkpoint(weights, dict(control.config))),
    )
