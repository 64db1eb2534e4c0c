"""Canvases encoded once: layered diffusion learns from cached latents."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from cldm.data import Assets, Canvas, backdrop_canvas, cutout_canvas, scattered_canvas, tensor_of
from ldm.autoencoder import Autoencoder
from ldm.export.draft import draft
from ldm.text import Tokenizer
from ldm.values import TensorValue

# Encoded at a time: 16 canvases of 128 px, or one of 512.
_PIXELS = 16 * 128 * 128


@dataclass(frozen=True, kw_only=True)
class CanvasLatents(TensorValue):
    """Encoded canvases: latents, alpha 0..255 (for masks), prompt tokens."""

    latents: Float[Tensor, "k z y x"]
    alpha: UInt8[Tensor, "k h w"]
    tokens: Int[Tensor, "k l"]


@dataclass(frozen=True, kw_only=True)
class LatentCache:
    """All that layered diffusion learns from; `framed` when an object's canvas is its own frame
    rather than the whole picture."""

    cutouts: CanvasLatents
    backdrops: CanvasLatents
    framed: bool


def cached_latents(
    path: Path,
    assets: Assets,
    autoencoder: Autoencoder,
    tokenizer: Tokenizer,
    *,
    size: int,
    variations: int,
    framed: bool,
) -> LatentCache:
    """Read the cache, or make it: `variations` canvases of each asset, drawn with a fixed seed."""
    drawn = cutout_canvas if framed else scattered_canvas
    if not path.exists():
        random = np.random.default_rng(0)
        cutouts = (
            drawn(layer, random, size) for layer in assets.cutouts for _ in range(variations)
        )
        backdrops = (
            backdrop_canvas(layer, random, size)
            for layer in assets.backdrops
            for _ in range(variations)
        )
        encoded = {
            "cutouts": _encoded(cutouts, size, autoencoder, tokenizer),
            "backdrops": _encoded(backdrops, size, autoencoder, tokenizer),
        }
        _write(path, encoded)
    stored = load_file(path)
    return LatentCache(
        cutouts=_part(stored, "cutouts"), backdrops=_part(stored, "backdrops"), framed=framed
    )


def _part(stored: dict[str, Tensor], name: str) -> CanvasLatents:
    return CanvasLatents(
        latents=stored[f"{name}.latents"],
        alpha=stored[f"{name}.alpha"],
        tokens=stored[f"{name}.tokens"].long(),
    )


def _write(path: Path, encoded: dict[str, CanvasLatents]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Tensor] = {}
    for name, part in encoded.items():
        tensors[f"{name}.latents"] = part.latents.half().contiguous()
        tensors[f"{name}.alpha"] = part.alpha.contiguous()
        tensors[f"{name}.tokens"] = part.tokens.int()
    with draft(path) as temporary:
        save_file(tensors, temporary)


@torch.no_grad()
def _encoded(
    canvases: Iterator[Canvas], size: int, autoencoder: Autoencoder, tokenizer: Tokenizer
) -> CanvasLatents:
    """Canvases come as they are drawn: all of them at once would fill the memory."""
    autoencoder.eval()
    device = autoencoder.shift.device
    latents: list[Tensor] = []
    alpha: list[np.ndarray] = []
    prompts: list[str] = []
    for batch in tqdm(_batches(canvases, size), desc="encoding canvases"):
        rgba = np.stack([canvas.rgba for canvas in batch])
        latents.append(autoencoder.encode(tensor_of(rgba)[:, None].to(device))[:, 0].cpu())
        alpha.append(rgba[..., 3].copy())
        prompts += [canvas.prompt for canvas in batch]
    return CanvasLatents(
        latents=torch.cat(latents),
        alpha=torch.from_numpy(np.concatenate(alpha)),
        tokens=tokenizer(prompts),
    )


def _batches(canvases: Iterator[Canvas], size: int) -> Iterator[Sequence[Canvas]]:
    while batch := list(islice(canvases, max(1, _PIXELS // size**2))):
        yield batch
