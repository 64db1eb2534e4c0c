"""Networks of Stable Diffusion 1.5's size with random weights: ours and diffusers', the same."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from torch import Tensor, nn

from cldm.build import build_model, widths_of
from cldm.condition import HINT_CHANNELS
from cldm.config import ModelConfig, read_config
from cldm.control import ControlNet
from ldm.compositing import whole_frames
from ldm.layout import Prompts
from ldm.unet import UNet
from ldm.values import TensorValue
from ldm.weights import Naming, control_table, to_foreign, unet_table

MODELS = Path(__file__).parent.parent / "models"
TOKENS, TEXT = 77, 768
Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class Ours:
    """A layered U-Net with its ControlNet."""

    config: ModelConfig
    unet: UNet
    control: ControlNet


@dataclass(frozen=True, kw_only=True)
class Theirs:
    """Diffusers' pair."""

    unet: UNet2DConditionModel
    control: ControlNetModel


def ours(name: str, dtype: torch.dtype) -> Ours:
    """The networks of `models/NAME.yaml`; what Stable Diffusion lacks is silent, as at birth."""
    config = read_config(MODELS / f"{name}.yaml")
    with torch.device("meta"):
        model = build_model(config)
    unet, control = filled(model.unet, dtype), filled(model.control, dtype)
    for network in (unet, control):
        for key, weight in network.named_parameters():
            if _is_silent(key):
                weight.data.zero_()
    control.hint.convolutions[0].weight.data[:, 3:] = 0  # pyright: ignore
    return Ours(config=config, unet=unet, control=control)


def theirs(like: Ours) -> Theirs:
    """Diffusers' networks with (not copies of) the same weights."""
    widths, _ = widths_of(like.config)
    hints = like.config.hint_channels
    blocks = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",)
    sizes: dict[str, Any] = {"cross_attention_dim": TEXT, "attention_head_dim": 8}
    with torch.device("meta"):
        unet = UNet2DConditionModel(sample_size=64, **sizes)
        control = ControlNetModel(
            down_block_types=blocks, conditioning_embedding_out_channels=tuple(hints), **sizes
        )
    tables = {unet: unet_table(widths), control: control_table(widths, hints)}
    for foreign, own in ((unet, like.unet), (control, like.control)):
        known = {row.ours for row in tables[foreign]}
        weights = {
            key: weight[:, :3] if key == "hint.convolutions.0.weight" else weight
            for key, weight in own.state_dict().items()
            if key.rpartition(".")[0] in known
        }
        renamed = to_foreign(weights, tables[foreign], Naming.DIFFUSERS, linear=False)
        foreign.load_state_dict(renamed, assign=True)
    return Theirs(
        unet=unet.eval().requires_grad_(False), control=control.eval().requires_grad_(False)
    )


def filled(hollow: Module, dtype: torch.dtype) -> Module:
    """A module from the meta device with cheap random weights; no initialisation is run."""
    torch.manual_seed(0)
    weights = {
        key: torch.empty(weight.shape, dtype=dtype) for key, weight in hollow.state_dict().items()
    }
    for key, weight in weights.items():
        if weight.ndim == 1:
            weight.fill_(1.0 if "norm" in key and key.endswith("weight") else 0.0)
        else:
            weight.normal_(std=0.5 / weight[0].numel() ** 0.5)
    hollow.load_state_dict(weights, assign=True)
    return hollow.eval().requires_grad_(False)


def _is_silent(key: str) -> bool:
    """Whether a weight is zero at birth."""
    ends = ("across.0.attend.out", "layout.sense", "sketch.out", "sketch.straight")
    return key.rpartition(".")[0].endswith((*ends, "layout.time_slots")) or key == "layout.slots"


@dataclass(frozen=True, kw_only=True)
class Inputs(TensorValue):
    """Random latents, prompts and hints of one picture with some slots."""

    latents: Tensor
    timestep: Tensor
    prompts: Prompts
    hint: Tensor


def inputs(slots: int, cells: int, dtype: torch.dtype) -> Inputs:
    """What one step works on, `cells` x `cells` latents for each slot."""
    text = torch.randn(1, slots, TOKENS, TEXT).to(dtype)
    # Each prompt but the back's holds in a quarter of the picture.
    area = torch.zeros(1, slots, cells, cells)
    area[:, :, : cells // 2, : cells // 2] = 1
    return Inputs(
        latents=torch.randn(1, slots, 4, cells, cells).to(dtype),
        timestep=torch.full((1, slots), 500.0),
        prompts=Prompts(
            text=text,
            sense=text.mean(dim=2),
            area=area,
            frames=whole_frames(1, slots),
            present=torch.ones(1, slots, dtype=torch.bool),
        ),
        hint=torch.rand(1, slots, HINT_CHANNELS, 8 * cells, 8 * cells).to(dtype),
    )


def step_of_ours(networks: Ours, given: Inputs) -> Callable[[], Tensor]:
    """One denoising step; what does not depend on the noise level is computed before."""
    reading = networks.unet.read(given.prompts)
    encoded = networks.control.encode(given.hint, given.prompts)

    def step() -> Tensor:
        taps = networks.control(given.latents, given.timestep, encoded)
        return networks.unet(given.latents, given.timestep, reading, taps)

    return step


def step_of_theirs(networks: Theirs, given: Inputs) -> Callable[[], Tensor]:
    """One denoising step of the first slot as a flat picture, as diffusers' pipeline takes it."""
    latents, text = given.latents[:, 0], given.prompts.text[:, 0]
    timestep, hint = given.timestep[0, 0], given.hint[:, 0, :3]

    def step() -> Tensor:
        down, middle = networks.control(
            latents, timestep, text, controlnet_cond=hint, return_dict=False
        )
        found = networks.unet(
            latents,
            timestep,
            text,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
        )
        return found.sample[:, None]

    return step
