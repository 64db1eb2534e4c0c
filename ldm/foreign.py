"""Weights of other programs, read from their files: Stable Diffusion, ControlNet, diffusers."""

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ldm.checkpoint import WeightsError
from ldm.origin import looks_like
from ldm.weights import Naming


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """What a file or folder holds: tensors by key, and whose names the keys are.

    Diffusers' keys begin with their part's folder: `unet.`, `vae.`, `text_encoder.`, `controlnet.`.
    """

    path: Path
    naming: Naming
    weights: Mapping[str, Tensor]

    def refusal(self, mismatch: str) -> WeightsError:
        """An error that says what is wrong here, and what the weights look like."""
        origin = looks_like(self.weights)
        return WeightsError(f"weights {self.path}: {mismatch}{f': {origin}' if origin else ''}")

    def tensor(self, key: str, shape: Sequence[int]) -> Tensor:
        """One tensor; a kernel of 1x1 may be missing in its shape. Raises WeightsError unless it is
        there, of that shape, in half or single precision."""
        if key not in self.weights:
            raise self.refusal(f"{key} is missing")
        found = self.weights[key]
        if not same_shape(found.shape, shape):
            raise self.refusal(f"{key} has shape {tuple(found.shape)}, expected {tuple(shape)}")
        if found.dtype not in _TYPES:
            dtype = str(found.dtype).removeprefix("torch.")
            expected = "float16, bfloat16 or float32"
            raise self.refusal(f"{key} has dtype {dtype}, expected {expected}")
        return found


_TYPES = (torch.float16, torch.bfloat16, torch.float32)


def read_foreign(path: Path) -> Foreign:
    """Read safetensors, a PyTorch pickle of tensors, or a diffusers folder; memory-mapped where the
    format allows, nothing in it executed.

    Raises WeightsError with one line when it is missing, damaged, holds anything but tensors or
    would run code.
    """
    if path.is_dir():
        return _read_folder(path)
    weights = _read_file(path)
    if _CONTROL_KEY in weights:
        return Foreign(path=path, naming=Naming.DIFFUSERS, weights=_prefixed(weights, "controlnet"))
    return Foreign(path=path, naming=Naming.LDM, weights=weights)


def same_shape(found: Sequence[int], expected: Sequence[int]) -> bool:
    """Whether two shapes are one but for 1x1 kernels, which some write as linear maps."""
    return _linear(found) == _linear(expected)


def _linear(shape: Sequence[int]) -> tuple[int, ...]:
    kernel = tuple(shape[2:])
    return tuple(shape[:2]) if prod(kernel) == 1 else tuple(shape)


_CONTROL_KEY = "controlnet_cond_embedding.conv_in.weight"
_FOLDERS = ("unet", "vae", "text_encoder", "controlnet")
_NAMES = ("diffusion_pytorch_model", "model", "pytorch_model")
_ENDINGS = (".safetensors", ".fp16.safetensors", ".bin", ".fp16.bin")
_PICKLES = (".ckpt", ".pth", ".pt", ".bin")


def _read_folder(path: Path) -> Foreign:
    """A diffusers pipeline's parts, or a ControlNet's folder alone."""
    weights: dict[str, Tensor] = {}
    for folder in _FOLDERS:
        file = _weights_in(path / folder)
        weights |= _prefixed(_read_file(file), folder) if file else {}
    alone = _weights_in(path)
    if alone and not weights:
        found = _read_file(alone)
        weights = _prefixed(found, "controlnet" if _CONTROL_KEY in found else alone.parent.name)
    if not weights:
        expected = "expected unet/, vae/, text_encoder/ or diffusion_pytorch_model.*"
        raise WeightsError(f"weights {path}: found a folder without weights, {expected}")
    return Foreign(path=path, naming=Naming.DIFFUSERS, weights=weights)


def _weights_in(folder: Path) -> Path | None:
    """The file of a diffusers folder that is read: safetensors rather than a pickle."""
    names = [name + ending for ending in _ENDINGS for name in _NAMES]
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _prefixed(weights: Mapping[str, Tensor], folder: str) -> dict[str, Tensor]:
    """Keys under their folder's name, old ones as diffusers and transformers write them today."""
    return {f"{folder}.{_modern(key)}": tensor for key, tensor in weights.items()}


def _modern(key: str) -> str:
    """Published autoencoders call their attention's parts as diffusers 0.17 did; transformers 5
    leaves out `text_model.`"""
    for old, new in _OLD_ATTENTION.items():
        key = re.sub(rf"(mid_block\.attentions\.0)\.{old}\.", rf"\1.{new}.", key)
    return key.removeprefix("text_model.")


_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", r"proj_attn": "to_out.0"}


def _read_file(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise WeightsError(f"weights {path}: no such file")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix in _PICKLES:
        return _read_pickle(path)
    raise WeightsError(
        f"weights {path}: found {path.suffix or 'no suffix'}, "
        f"expected .safetensors, {', '.join(_PICKLES)} or a diffusers folder"
    )


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        reason = _line(error)
        raise WeightsError(f"weights {path}: not a whole safetensors file ({reason})") from error


def _read_pickle(path: Path) -> dict[str, Tensor]:
    """Tensors of a pickle; Lightning's may lie under `state_dict`."""
    try:
        with torch.serialization.safe_globals(_INERT), warnings.catch_warnings():
            # Of an old pickle's protocol.
            warnings.simplefilter("ignore")
            found = torch.load(
                path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
            )
    # A damaged pickle fails in any way it likes.
    except Exception as error:
        raise WeightsError(f"weights {path}: {_reason(error)}") from error
    nested = found.get("state_dict", found) if isinstance(found, dict) else found
    if not isinstance(nested, dict):
        raise WeightsError(f"weights {path}: found a {type(nested).__name__}, expected tensors")
    for key, value in nested.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            origin = looks_like({str(key): torch.empty(0) for key in nested})
            found = f"{key} is a {type(value).__name__}, expected a tensor"
            raise WeightsError(f"weights {path}: {found}{f': {origin}' if origin else ''}")
    return nested


class Inert:
    """Stands for a harmless object of a Lightning checkpoint: takes anything, does nothing."""

    def __new__(cls, *_: Any) -> "Inert":
        """Forget what it is made of."""
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        """Forget the state as well."""


# What Lightning checkpoints of Stable Diffusion 1 mention beside their tensors.
_INERT: list[Any] = [
    (Inert, name)
    for name in (
        "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
        "numpy.core.multiarray.scalar",
        "numpy._core.multiarray.scalar",
        "numpy.dtype",
        "_codecs.encode",
    )
]


def _reason(error: Exception) -> str:
    """Why a pickle was not read, in a line."""
    wanted = re.search(r"GLOBAL (\S+)", str(error))
    if wanted and isinstance(error, pickle.UnpicklingError):
        return f"refused, the pickle would run code: it asks for {wanted[1]}"
    return f"not a whole PyTorch file ({_line(error)})"


def _line(error: Exception) -> str:
    """An error's first sentence; of a refused pickle, the one that tells something."""
    _, _, told = str(error).rpartition("WeightsUnpickler error: ")
    return f"{type(error).__name__} {told}".split("\n")[0].split(". ")[0][:160]
