"""Weights of ours in and out: safetensors, strictly."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ldm.export.draft import draft
from ldm.mistake import MistakeError

_AT_ONCE = 32


class WeightsError(MistakeError):
    """Weights that cannot be used; its text is one line for a person."""


def load_weights(module: nn.Module, path: Path) -> None:
    """Fill a module from a safetensors file, strictly, in the module's own precision.

    Tensors that are stored in that precision stay mapped to the file until they are written to, so
    a module that was built on the meta device never takes more memory than its weights.

    Raises WeightsError naming the file and what is wrong: missing, cut short, or the first key that
    is absent, unknown or of another shape. The module is untouched then.
    """
    found, expected = _read(path), module.state_dict()
    absent = next((key for key in expected if key not in found), None)
    if absent:
        raise WeightsError(f"weights {path}: {absent} is missing")
    _fill(module, found, path)


def overlay_weights(module: nn.Module, path: Path) -> None:
    """Replace those weights of a module that a file holds: what was trained, over its base.

    Raises WeightsError as `load_weights`, but for missing keys. The module is untouched then.
    """
    _fill(module, _read(path), path)


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise WeightsError(f"weights {path}: no such file")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise WeightsError(f"weights {path}: not a whole safetensors file ({error})") from error


def _fill(module: nn.Module, found: dict[str, Tensor], path: Path) -> None:
    expected = module.state_dict()
    for key, tensor in found.items():
        if key not in expected:
            raise WeightsError(f"weights {path}: {key} is not part of this model")
        if tensor.shape != expected[key].shape:
            shapes = f"{tuple(tensor.shape)}, expected {tuple(expected[key].shape)}"
            raise WeightsError(f"weights {path}: {key} has shape {shapes}")
    own = {key: tensor for key, tensor in found.items() if tensor.dtype == expected[key].dtype}
    others = [key for key in found if key not in own]
    # Pages stay in memory as long as the file is open: a few tensors at a time.
    for begin in range(0, len(others), _AT_ONCE):
        with safe_open(path, "pt") as file:
            for key in others[begin : begin + _AT_ONCE]:
                own[key] = file.get_tensor(key).to(expected[key].dtype)
    module.load_state_dict(own, strict=False, assign=True)


def save_weights(module: nn.Module, path: Path) -> None:
    """Write a module's weights in half precision; the file is replaced whole or not at all."""
    write_halved(module.state_dict(), path)


def write_halved(weights: Mapping[str, Tensor], path: Path) -> None:
    """Write some weights by name in half precision, as `save_weights` does a module's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_tensors({name: _halved(tensor) for name, tensor in weights.items()}, path)


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
    """Write tensors by name, as they are; the file is replaced whole or not at all.

    Raises WeightsError when the folder cannot be written or the disk is full.
    """
    ready = {key: tensor.contiguous() for key, tensor in weights.items()}
    try:
        with draft(path) as temporary:
            save_file(ready, temporary, metadata={"format": "pt"})
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"output {path}: cannot be written ({error})") from error


def _halved(tensor: Tensor) -> Tensor:
    return tensor.detach().half() if tensor.is_floating_point() else tensor
