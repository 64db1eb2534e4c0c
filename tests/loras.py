"""LoRAs as other tools write them, and what they are tried on."""

import re
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from subjects import WIDTHS
from torch import Tensor, nn
from transformers import CLIPTextModel

from ldm.lora import Lora, merge_lora
from ldm.text import ClipTower
from ldm.unet import UNet
from ldm.weights import unet_table

RANK, ALPHA = 3, 2.0
Factors = dict[str, tuple[Tensor, Tensor]]
Spelling = Callable[[Factors, str], dict[str, Tensor]]


def factors(module: nn.Module, pattern: str) -> Factors:
    """Down and up for each block of a name, in the rank and shape that kohya's scripts have."""
    found: Factors = {}
    for name, block in module.named_modules():
        if re.search(pattern, name) and isinstance(block, nn.Linear | nn.Conv2d):
            outputs, inputs, *kernel = block.weight.shape
            up = torch.randn(outputs, RANK, *(1 for _ in kernel)) * 0.3
            found[name] = torch.randn(RANK, inputs, *kernel) * 0.3, up
    return found


def kohya(found: Factors, part: str) -> dict[str, Tensor]:
    """Dots are underscores, alpha lies beside."""
    prefix = {"unet": "lora_unet_", "text_encoder": "lora_te_text_model_"}[part]
    named = {prefix + name.replace(".", "_"): each for name, each in found.items()}
    return {
        f"{name}.{key}": tensor
        for name, (down, up) in named.items()
        for key, tensor in (
            ("lora_down.weight", down),
            ("lora_up.weight", up),
            ("alpha", torch.tensor(ALPHA)),
        )
    }


def kohya_over_ldm(found: Factors, part: str) -> dict[str, Tensor]:
    """The same over the original's names of blocks."""
    assert part == "unet"
    names = {row.diffusers: row.ldm for row in unet_table(WIDTHS)}
    return kohya({names[name]: each for name, each in found.items()}, part)


def peft(found: Factors, part: str) -> dict[str, Tensor]:
    """Today's diffusers."""
    prefix = {"unet": "unet.", "text_encoder": "text_encoder.text_model."}[part]
    return {
        f"{prefix}{name}.lora_{key}.weight": tensor
        for name, (down, up) in found.items()
        for key, tensor in (("A", down), ("B", up))
    }


def processors(found: Factors, part: str) -> dict[str, Tensor]:
    """Yesterday's diffusers, attention only."""
    assert part == "unet"
    named = {re.sub(r"\.(to_\w+)(\.0)?$", r".processor.\1_lora", name): name for name in found}
    return {
        f"unet.{old}.{key}.weight": tensor
        for old, name in named.items()
        for key, tensor in zip(("down", "up"), found[name], strict=True)
    }


def linear_layers(found: Factors, part: str) -> dict[str, Tensor]:
    """Diffusers' words between yesterday and today; only text was ever spelled so."""
    assert part == "text_encoder"
    return {
        f"text_encoder.text_model.{name}.lora_linear_layer.{key}.weight": tensor
        for name, pair in found.items()
        for key, tensor in zip(("down", "up"), pair, strict=True)
    }


def written(tensors: dict[str, Tensor], folder: Path) -> Path:
    """A file of them."""
    save_file(tensors, folder / "lora.safetensors")
    return folder / "lora.safetensors"


def text_network() -> CLIPTextModel:
    """Stable Diffusion 1's text network in small."""
    return ClipTower(width=16, depth=2, num_heads=2, length=9).network.eval()


def merged(path: Path, strength: float, unet: UNet, text: nn.Module) -> None:
    """The file merged into both."""
    merge_lora(Lora(path=path, strength=strength), unet=unet, text=text, widths=WIDTHS)


@torch.no_grad()
def state(module: nn.Module) -> dict[str, Tensor]:
    """A copy of the weights."""
    return {key: weight.clone() for key, weight in module.state_dict().items()}
