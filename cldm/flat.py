"""The flat model inside ours: Stable Diffusion with a ControlNet, whose pictures have one layer.

Each tensor that it shares with the layered model has an `Entry`; where the layered one is larger, a
`Widening` says along which axis.
"""

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from cldm.build import build_model, widths_of
from cldm.config import Layout, ModelConfig, read_config
from ldm.library_weights import (
    Names,
    autoencoder_table,
    clip_names,
    open_clip_names,
    table_names,
)
from ldm.settings import ConfigError
from ldm.text import TextFamily
from ldm.weights import Naming, control_table, is_projection, unet_table

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One tensor of the flat model: our name, the flat shape, its foreign names and shapes."""

    ours: str
    shape: Shape
    names: Names
    ldm_shape: Shape
    diffusers_shape: Shape

    def foreign_shape(self, naming: Naming) -> Shape:
        """The shape of each foreign tensor."""
        shape = self.ldm_shape if naming is Naming.LDM else self.diffusers_shape
        return (shape[0] // len(self.names.foreign(naming)), *shape[1:])


@dataclass(frozen=True, kw_only=True)
class Widening:
    """How a flat tensor lies in ours: first along an axis, then `fill`."""

    axis: int
    flat: int
    fill: float = 0.0

    def narrow(self, tensor: Tensor) -> Tensor:
        """The flat part of a tensor of ours."""
        return tensor.narrow(self.axis, 0, self.flat)

    def widen(self, tensor: Tensor, size: int) -> Tensor:
        """A flat tensor, filled up to our size along the axis."""
        padding = [0, 0] * (tensor.ndim - 1 - self.axis) + [0, size - self.flat]
        return F.pad(tensor, padding, value=self.fill)


def require_flat(config: ModelConfig) -> None:
    """Raise ConfigError unless a flat model of Stable Diffusion's kind is inside this one."""
    part = config.autoencoder
    fields = {
        "autoencoder.patch": (part.patch, 1),
        "autoencoder.linear": (part.linear, False),
        "preconditioned": (config.preconditioned, False),
    }
    for name, (found, expected) in fields.items():
        if found != expected:
            kind = "in a model with Stable Diffusion's weights"
            raise ConfigError(f"config: {name}: found {found}, expected {expected} {kind}")


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """What doors to and from flat models let a person choose of the layered one."""
    parser.add_argument("--model", type=Path, default=Path("models/layers_v15.yaml"))
    parser.add_argument("--layout", choices=[layout.value for layout in Layout])
    parser.add_argument("--slots", type=int, help="the greatest number of layers")


def config_of(arguments: argparse.Namespace) -> ModelConfig:
    """The layered model that a person chose; raises ConfigError."""
    given = {"unet.layout": arguments.layout, "max_slots": arguments.slots}
    chosen = [f"{key}={value}" for key, value in given.items() if value is not None]
    return read_config(arguments.model, chosen)


def model_shapes(config: ModelConfig) -> dict[str, Shape]:
    """Shapes of all weights of the layered model, without making them."""
    with torch.device("meta"):
        weights = build_model(config).state_dict()
    return {key: tuple(weight.shape) for key, weight in weights.items()}


def widenings(config: ModelConfig) -> dict[str, Widening]:
    """Tensors that may be larger in the layered model: packed slots in the channels of latents and
    hints, the mask's own channels in a hint, alpha in pixels (opaque wherever nothing is known)."""
    latents = config.autoencoder.latent_channels
    return {
        "unet.encoder.conv_in.weight": Widening(axis=1, flat=latents),
        "unet.decoder.conv_out.weight": Widening(axis=0, flat=latents),
        "unet.decoder.conv_out.bias": Widening(axis=0, flat=latents),
        "control.encoder.conv_in.weight": Widening(axis=1, flat=latents),
        "control.hint.convolutions.0.weight": Widening(axis=1, flat=3),
        "autoencoder.network.encoder.conv_in.weight": Widening(axis=1, flat=3),
        "autoencoder.network.decoder.conv_out.weight": Widening(axis=0, flat=3),
        "autoencoder.network.decoder.conv_out.bias": Widening(axis=0, flat=3, fill=1.0),
    }


def base_entries(config: ModelConfig, shapes: Mapping[str, Shape]) -> list[Entry]:
    """The flat model without its ControlNet, in the order of the files."""
    part = config.autoencoder
    autoencoder = autoencoder_table(len(part.channels), part.num_residuals)
    names = (
        _under("unet", table_names(unet_table(widths_of(config)[0]), _keys("unet", shapes)))
        | _under("autoencoder", table_names(autoencoder, _keys("autoencoder", shapes)))
        | _under("text", _text_names(config, shapes))
    )
    return _entries(names, config, shapes)


def control_entries(config: ModelConfig, shapes: Mapping[str, Shape]) -> list[Entry]:
    """The flat model's ControlNet."""
    table = control_table(widths_of(config)[0], config.hint_channels)
    names = _under("control", table_names(table, _keys("control", shapes)))
    return _entries(names, config, shapes)


_PREFIXES = {
    "unet": ("model.diffusion_model.", "unet."),
    "autoencoder": ("first_stage_model.", "vae."),
    "text": ("cond_stage_model.", "text_encoder."),
    "control": ("control_model.", "controlnet."),
}


def _keys(part: str, shapes: Iterable[str]) -> list[str]:
    return [key.removeprefix(f"{part}.") for key in shapes if key.startswith(f"{part}.")]


def _under(part: str, names: Mapping[str, Names]) -> dict[str, Names]:
    return {f"{part}.{key}": foreign.under(*_PREFIXES[part]) for key, foreign in names.items()}


def _text_names(config: ModelConfig, shapes: Mapping[str, Shape]) -> dict[str, Names]:
    keys = _keys("text", shapes)
    return clip_names(keys) if config.text.family is TextFamily.clip else open_clip_names(keys)


def _entries(
    names: Mapping[str, Names], config: ModelConfig, shapes: Mapping[str, Shape]
) -> list[Entry]:
    widened, second = widenings(config), config.text.family is TextFamily.open_clip
    return [
        _entry(key, foreign, _flat(shapes[key], widened.get(key)), second=second)
        for key, foreign in names.items()
    ]


def _flat(shape: Shape, widening: Widening | None) -> Shape:
    if widening is None:
        return shape
    return (*shape[: widening.axis], widening.flat, *shape[widening.axis + 1 :])


def _entry(key: str, names: Names, shape: Shape, *, second: bool) -> Entry:
    """An entry; projections are linear in Stable Diffusion 2, and LDM's autoencoder attends with
    1x1 convolutions."""
    ldm = diffusers = shape[:2] if second and is_projection(key) else shape
    if key.startswith("autoencoder.") and ".attentions." in key and len(shape) == 2:
        ldm = (*shape, 1, 1)
    return Entry(ours=key, shape=shape, names=names, ldm_shape=ldm, diffusers_shape=diffusers)
