"""Weights of ours in and out: safetensors, strictly."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ldm.export.draft import draft


class WeightsError(ValueError):
    """Weights that cannot be used; its text is one line for a person."""


def load_weights(module: nn.Module, path: Path) -> None:
    """Fill a module from a safetensors file, strictly; half precision becomes the module's own.

    Raises WeightsError naming the file and what is wrong: missing, cut short, or the first key that
    is absent, unknown or of another shape. The module is untouched then.
    """
    if not path.is_file():
        raise WeightsError(f"weights {path}: no such file")
    try:
        found = load_file(path)
    except SafetensorError as error:
        raise WeightsError(f"weights {path}: not a whole safetensors file ({error})") from error
    expected = module.state_dict()
    for key, tensor in expected.items():
        if key not in found:
            raise WeightsError(f"weights {path}: {key} is missing")
        if found[key].shape != tensor.shape:
            shapes = f"{tuple(found[key].shape)}, expected {tuple(tensor.shape)}"
            raise WeightsError(f"weights {path}: {key} has shape {shapes}")
    unknown = sorted(found.keys() - expected.keys())
    if unknown:
        raise WeightsError(f"weights {path}: {unknown[0]} is not part of this model")
    module.load_state_dict(found)


def save_weights(module: nn.Module, path: Path) -> None:
    """Write a module's weights in half precision; the file is replaced whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = {name: _halved(tensor) for name, tensor in module.state_dict().items()}
    with draft(path) as temporary:
        save_file(half, temporary)


def require_new(path: Path, suffix: str) -> None:
    """Raise WeightsError unless `path` is free, its folder is there and its name ends in
    `suffix`."""
    if path.exists():
        raise WeightsError(f"output {path}: exists already, expected a new name")
    if not path.parent.is_dir():
        raise WeightsError(f"output {path}: its folder does not exist")
    if path.suffix != suffix:
        raise WeightsError(f"output {path}: expected {suffix or 'a folder, without a suffix'}")


def write_tensors(weights: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors by name, as they are; the file is replaced whole or not at all."""
    ready = {key: tensor.contiguous() for key, tensor in weights.items()}
    with draft(path) as temporary:
        save_file(ready, temporary, metadata={"format": "pt"})


def _halved(tensor: Tensor) -> Tensor:
    return (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
