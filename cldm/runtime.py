"""Where and how a model draws: device, precision, memory, compilation."""

import argparse
from dataclasses import dataclass
from enum import Enum

import torch
from einops import rearrange, repeat

from cldm.model import LayerDiffusion
from ldm.mistake import MistakeError
from ldm.prepacked import prepack


class RuntimeChoiceError(MistakeError):
    """A device that cannot be used; its text is one line for a person."""


class NetworkPrecision(Enum):
    """In what the text tower, ControlNet and U-Net reckon; pixels and latents are float32."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"

    @property
    def dtype(self) -> torch.dtype:
        """PyTorch's name for it."""
        return getattr(torch, self.value)


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """How to draw. With `low_vram` the device holds only the part that works; `compiled` networks
    are faster after a first step that takes minutes."""

    device: torch.device
    precision: NetworkPrecision
    low_vram: bool
    compiled: bool


def usable_device(name: str) -> torch.device:
    """A device by its PyTorch name; `auto` is the accelerator, where there is one.

    Raises RuntimeChoiceError when it is unknown or cannot be used here.
    """
    try:
        if name == "auto":
            found = torch.accelerator.current_accelerator(check_available=True)
            return found or torch.device("cpu")
        device = torch.device(name)
        torch.ones(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).split("\n")[0].split(". ")[0]
        raise RuntimeChoiceError(
            f"device: found {name}, expected one that is here ({reason})"
        ) from error
    return device


def add_runtime_arguments(parser: argparse.ArgumentParser) -> None:
    """What doors that draw let a person choose."""
    precisions = [precision.value for precision in NetworkPrecision]
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, mps, ...")
    parser.add_argument("--precision", choices=precisions, default="float32")
    parser.add_argument("--low-vram", action="store_true", help="hold only the part that works")
    parser.add_argument("--compile", action="store_true", help="slow first step, faster others")


def runtime_of(arguments: argparse.Namespace) -> Runtime:
    """What a person chose; raises RuntimeChoiceError."""
    return Runtime(
        device=usable_device(arguments.device),
        precision=NetworkPrecision(arguments.precision),
        low_vram=arguments.low_vram,
        compiled=arguments.compile,
    )


def ready(model: LayerDiffusion, runtime: Runtime) -> LayerDiffusion:
    """Make a loaded model ready to draw, in place; nothing of it is trained or saved afterwards."""
    model.requires_grad_(False)
    # The noise levels say where the model works.
    (model.schedule if runtime.low_vram else model).to(runtime.device)
    model.batched_guidance = not runtime.low_vram
    if runtime.compiled:
        hasten_compilation()
    for network in (model.unet, model.control):
        if runtime.compiled:
            network.compile(fullgraph=True)
        elif runtime.device.type == "cpu":
            prepack(network)
    return model


def hasten_compilation() -> None:
    """Let the compiler take einops' operations whole: most of its time went to following them line
    by line."""
    for operation in (rearrange, repeat):
        torch.compiler.allow_in_graph(operation)
