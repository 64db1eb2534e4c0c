"""LoRAs that others trained, merged into the weights: no cost when layers are drawn.

`W + strength * alpha / rank * up @ down` (Hu et al., "LoRA: Low-Rank Adaptation of Large Language
Models", 2021). Read are the key names of kohya's scripts (also over LDM's names) and of diffusers
and peft, old and new, for linear blocks and convolutions.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import CLIPTextModel

from ldm.checkpoint import WeightsError
from ldm.foreign import read_foreign, same_shape
from ldm.unet import UNet, Widths
from ldm.weights import Row, unet_table


@dataclass(frozen=True, kw_only=True)
class Lora:
    """A file, and how strongly it is meant: 1 as trained, 0 not at all, below 0 its opposite."""

    path: Path
    strength: float = 1.0


def asked_lora(words: str) -> Lora:
    """A LoRA as a person asks for it: FILE or FILE:STRENGTH.

    Raises WeightsError for a strength that is no finite number.
    """
    name, colon, strength = words.rpartition(":")
    if not colon or Path(words).exists():
        return Lora(path=Path(words))
    try:
        lora = Lora(path=Path(name), strength=float(strength))
    except ValueError:
        lora = Lora(path=Path(name), strength=math.nan)
    if not math.isfinite(lora.strength):
        raise WeightsError(f"lora {name}: found strength {strength!r}, expected a number")
    return lora


def merge_lora(lora: Lora, *, unet: UNet, text: nn.Module, widths: Widths) -> None:
    """Add a LoRA to a U-Net of these widths and to the text tower's network (transformers'
    `CLIPTextModel`; with any other only a LoRA without text is taken).

    Products are taken in float32 and rounded to the weight's own type. Raises WeightsError with one
    line naming the file, the first key that does not fit and why; no weight is changed then.
    """
    for update in _updates(_read(lora.path), _targets(unet, text, widths)):
        update.add(lora.strength)


class _Factor(Enum):
    """What a tensor of a LoRA is."""

    DOWN = "down"
    UP = "up"
    ALPHA = "alpha"


@dataclass(frozen=True, kw_only=True)
class _File:
    """What was read; `declared` is peft's config, where one stands in or beside the file."""

    path: Path
    tensors: Mapping[str, Tensor]
    declared: Mapping[str, Any]

    def refusal(self, said: str) -> WeightsError:
        """The error that names the file, in one line whatever a damaged key holds."""
        return WeightsError(f"lora {self.path}: {' '.join(said.split())}")


@dataclass(frozen=True, kw_only=True)
class _Target:
    """A weight that can be changed, and its block's name in diffusers."""

    name: str
    weight: Tensor


@dataclass(frozen=True, kw_only=True)
class _Update:
    """What is added to one weight."""

    weight: Tensor
    down: Tensor
    up: Tensor
    scale: float

    @torch.no_grad()
    def add(self, strength: float) -> None:
        """Change the weight in its place."""
        product = self.up.float().flatten(1) @ self.down.float().flatten(1)
        added = (strength * self.scale * product).to(self.weight.device)
        self.weight.copy_(self.weight.float() + added.reshape(self.weight.shape))


def _read(path: Path) -> _File:
    return _File(path=path, tensors=read_foreign(path).weights, declared=_declared(path))


def _declared(path: Path) -> Mapping[str, Any]:
    """Peft's config: diffusers keeps it in the file, peft itself beside it, under these names."""
    config, text = path.with_name("adapter_config.json"), b"{}"
    if path.stem == "adapter_model" and config.is_file():
        text = config.read_bytes()
    if path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get("lora_adapter_metadata", text)
    try:
        return dict(json.loads(text))
    except (TypeError, ValueError) as error:
        raise WeightsError(f"lora {path}: its config is no table ({error})") from error


def _targets(unet: UNet, text: nn.Module, widths: Widths) -> dict[str, _Target]:
    """Every name under which a LoRA may speak of a linear block or a convolution."""
    targets: dict[str, _Target] = {}
    for row in unet_table(widths):
        module = unet.get_submodule(row.ours)
        if isinstance(module, nn.Linear | nn.Conv2d):
            target = _Target(name=f"unet.{row.diffusers}", weight=module.weight)
            targets |= dict.fromkeys(_unet_names(row), target)
    if isinstance(text, CLIPTextModel):
        for name, module in text.named_modules():
            if isinstance(module, nn.Linear):
                target = _Target(name=f"text_encoder.text_model.{name}", weight=module.weight)
                targets |= dict.fromkeys(_text_names(name), target)
    return targets


def _unet_names(row: Row) -> list[str]:
    """Kohya's flattened names, and the dotted ones; diffusers once wrote of processors."""
    flat = ["lora_unet_" + name.replace(".", "_") for name in (row.diffusers, row.ldm)]
    old = re.sub(r"\.(to_\w+)(\.0)?$", r".processor.\1", row.diffusers)
    prefixes = ("", "unet.", "base_model.model.", "unet.base_model.model.")
    return flat + [prefix + name for prefix in prefixes for name in (row.diffusers, old)]


def _text_names(name: str) -> list[str]:
    flat = [f"{prefix}_text_model_" + name.replace(".", "_") for prefix in ("lora_te", "lora_te1")]
    old = re.sub(r"\.(\w+)_proj$", r".to_\1", name)
    prefixes = ("text_encoder.", "base_model.model.", "text_encoder.base_model.model.")
    dotted = [f"{model}{spelled}" for model in ("", "text_model.") for spelled in (name, old)]
    return flat + [prefix + spelled for prefix in prefixes for spelled in dotted]


# A block's name, then what the tensor is: peft says A and B for down and up.
_KEY = re.compile(r"(.+?)(?:[._]lora(?:_linear_layer)?[._](down|up|A|B)\.weight|\.alpha)")
_FACTORS = {"down": _Factor.DOWN, "A": _Factor.DOWN, "up": _Factor.UP, "B": _Factor.UP}


def _updates(file: _File, targets: Mapping[str, _Target]) -> list[_Update]:
    """All that a file changes, once everything in it is known to fit."""
    keys: dict[str, dict[_Factor, str]] = {}
    named: dict[str, _Target] = {}
    unknown: list[str] = []
    for key in sorted(file.tensors):
        match = _KEY.fullmatch(key)
        target = targets.get(match[1]) if match else None
        if match is None or target is None:
            unknown.append(key)
            continue
        named[target.name] = target
        factors = keys.setdefault(target.name, {})
        factor = _FACTORS.get(match[2], _Factor.ALPHA)
        if factor in factors:
            raise file.refusal(f"{key} says again what {factors[factor]} says")
        factors[factor] = key
    if unknown or not keys:
        raise file.refusal(_unusable(unknown, targets))
    return [_update(file, named[name], factors) for name, factors in keys.items()]


def _update(file: _File, target: _Target, keys: Mapping[_Factor, str]) -> _Update:
    for factor in (_Factor.DOWN, _Factor.UP):
        if factor not in keys:
            raise file.refusal(f"{next(iter(keys.values()))} has no {factor.value} beside it")
    down, up = file.tensors[keys[_Factor.DOWN]], file.tensors[keys[_Factor.UP]]
    rank = max([1, *down.shape[:1]])
    channels, inputs, *kernel = (*target.weight.shape, 1, 1)[:4]
    _require_shape(file, keys[_Factor.DOWN], (rank, inputs, *kernel))
    _require_shape(file, keys[_Factor.UP], (channels, rank, 1, 1))
    alpha = _alpha(file, target.name, rank, keys.get(_Factor.ALPHA))
    return _Update(weight=target.weight, down=down, up=up, scale=alpha / rank)


def _require_shape(file: _File, key: str, expected: tuple[int, ...]) -> None:
    found = file.tensors[key]
    if not same_shape(found.shape, expected):
        short = expected[:2] if expected[2:] == (1, 1) else expected
        raise file.refusal(f"{key} has shape {tuple(found.shape)}, expected {short}")
    if not found.is_floating_point():
        raise file.refusal(f"{key} has type {found.dtype}, expected floating point")


def _alpha(file: _File, name: str, rank: int, key: str | None) -> float:
    """Alpha of a block: beside its factors, or as peft's config declares it."""
    try:
        alpha = float(file.tensors[key]) if key else _declared_alpha(file, name, rank)
    except (AttributeError, RuntimeError, TypeError, ValueError, re.error):
        alpha = math.nan
    if not math.isfinite(alpha):
        raise file.refusal(f"{key or 'lora_alpha'}: expected one number for {name}")
    return alpha


def _declared_alpha(file: _File, name: str, rank: int) -> float:
    """Without a config it is the rank, as in diffusers and kohya's scripts."""
    part, _, block = name.partition(".")

    def declared(field: str, otherwise: Any) -> Any:
        return file.declared.get(f"{part}.{field}", file.declared.get(field, otherwise))

    alpha = float(declared("lora_alpha", rank))
    for pattern, own in declared("alpha_pattern", {}).items():
        if re.fullmatch(rf"(.*\.)?({pattern})", block):
            alpha = float(own)
            break
    return alpha * math.sqrt(rank) if declared("use_rslora", False) else alpha


# What keys that cannot be used say of the file, the most telling first.
_LOOKS = {
    r"lora_te2_|text_encoder_2|add_[kqv]_proj|transformer_blocks[._][1-9]": (
        "looks like Stable Diffusion XL"
    ),
    r"hada_": "looks like a LoHa (LyCORIS), expected a LoRA",
    r"lokr_": "looks like a LoKr (LyCORIS), expected a LoRA",
    r"dora_scale|lora_magnitude_vector": "looks like a DoRA, expected a LoRA",
    r"lora_mid": "looks like a LoCon in Tucker form, expected one without lora_mid",
}


def _unusable(unknown: list[str], targets: Mapping[str, _Target]) -> str:
    """Why a file is refused by its names."""
    if not unknown:
        return "there is nothing in it"
    for pattern, said in _LOOKS.items():
        for key in unknown:
            if re.search(pattern, key):
                return f"{key} {said}"
    text = re.match(r"lora_te1?_|text_encoder\.", unknown[0])
    if text and not any(name.startswith("text_encoder") for name in targets):
        return f"{unknown[0]} is for Stable Diffusion 1's text tower, this model has another"
    return f"{unknown[0]} is not part of a LoRA of this model"
