"""What training reads: cut-outs and backdrops from shards, drawn onto canvases."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from ldm.mistake import MistakeError
from ldm.storage import StoredLayer, read_shard


@dataclass(frozen=True, kw_only=True)
class Assets:
    """Layers to compose from, wherever they come from: opaque backs, and what stands before."""

    cutouts: tuple[StoredLayer, ...]
    backdrops: tuple[StoredLayer, ...]


class DataError(MistakeError):
    """Training data that cannot be learned from; its text is one line for a person."""


def shards_of(folder: Path) -> list[Path]:
    """The shards in a folder, by name. Raises DataError when there are none."""
    shards = sorted(folder.glob("*.tar"))
    if not shards:
        raise DataError(f"data {folder}: found no shards, expected .tar files (make data)")
    return shards


def read_assets(shards: Sequence[Path]) -> Assets:
    """All layers of the samples in `shards`, each cut to what is seen of it; opaque ones are
    backdrops. Raises DataError unless there are both."""
    cutouts: list[StoredLayer] = []
    backdrops: list[StoredLayer] = []
    for shard in shards:
        for sample in read_shard(shard):
            for layer in sample.layers:
                opaque = bool(layer.rgba[..., 3].min() == 255)
                (backdrops if opaque else cutouts).append(_trimmed(layer))
    if not cutouts or not backdrops:
        found = f"{len(cutouts)} cut-outs and {len(backdrops)} backdrops"
        raise DataError(f"data {shards[0].parent}: found {found}, expected some of both")
    return Assets(cutouts=tuple(cutouts), backdrops=tuple(backdrops))


def _trimmed(layer: StoredLayer) -> StoredLayer:
    """A layer without its empty margins."""
    seen = layer.rgba[..., 3] > 0
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    if not len(rows):
        return layer
    part = layer.rgba[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return replace(layer, rgba=np.ascontiguousarray(part))


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """A picture on a network's canvas, with its words."""

    rgba: UInt8[np.ndarray, "size size 4"]
    prompt: str
    opaque: bool


def cutout_canvas(layer: StoredLayer, random: np.random.Generator, size: int) -> Canvas:
    """A cut-out that fills 70 to 98 % of its canvas, mirrored half of the time, a little turned."""
    return _drawn(layer, random, size, np.array([0, 0, 1, 1]))


def scattered_canvas(layer: StoredLayer, random: np.random.Generator, size: int) -> Canvas:
    """A cut-out as a whole picture's layer: the same, in a frame anywhere in its canvas."""
    return _drawn(layer, random, size, random_boxes((), random))


def random_boxes(shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    """Frames of objects `[*shape 4]` in picture units: squares of 20 to 95 % of the picture's side,
    their centres inside it."""
    side = np.exp(random.uniform(np.log(0.2), np.log(0.95), (*shape, 1)))
    centre = random.uniform(0.12, 0.88, (*shape, 2))
    return np.concatenate([centre - side / 2, centre + side / 2], axis=-1)


def _drawn(layer: StoredLayer, random: np.random.Generator, size: int, box: np.ndarray) -> Canvas:
    """A cut-out inside a square box of a canvas."""
    height, width = layer.rgba.shape[:2]
    side = size * (box[2] - box[0])
    scale = side * random.uniform(0.70, 0.98) / max(height, width)
    slack = np.maximum(side - scale * np.array([width, height]), 0) * 0.5
    centre = size * (box[:2] + box[2:]) / 2 + slack * random.uniform(-1, 1, 2) * 0.7
    turn = np.deg2rad(random.normal(0, 3))
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    if random.random() < 0.5:
        matrix[:, 0] *= -1
    offset = centre - matrix @ (np.array([width, height]) / 2)
    warped = _warp(layer.rgba, np.column_stack([matrix, offset]), scale, size)
    return Canvas(rgba=warped, prompt=layer.prompt, opaque=False)


def backdrop_canvas(layer: StoredLayer, random: np.random.Generator, size: int) -> Canvas:
    """A square from the middle of a backdrop, 92 to 100 % of its shorter side, never mirrored: one
    prompt stands for one view, which a small network can learn."""
    height, width = layer.rgba.shape[:2]
    side = round(min(height, width) * random.uniform(0.92, 1))
    slack = np.array([height, width]) - side
    top, left = np.rint(slack / 2 + random.uniform(-0.5, 0.5, 2) * np.minimum(slack, 0.08 * side))
    part = layer.rgba[int(top) : int(top) + side, int(left) : int(left) + side]
    rgba = cv2.resize(part, (size, size), interpolation=cv2.INTER_AREA)
    return Canvas(rgba=np.ascontiguousarray(rgba), prompt=layer.prompt, opaque=True)


def _warp(
    rgba: UInt8[np.ndarray, "h w 4"], matrix: np.ndarray, scale: float, size: int
) -> UInt8[np.ndarray, "size size 4"]:
    """Affine warp of premultiplied colour; a strong reduction averages areas first."""
    pixels = rgba.astype(np.float32) / 255
    pixels[..., :3] *= pixels[..., 3:]
    if scale < 0.7:
        height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
        ratio = np.array([pixels.shape[1] / width, pixels.shape[0] / height])
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
        matrix = matrix * np.array([ratio[0], ratio[1], 1])
    warped = cv2.warpAffine(pixels, matrix, (size, size), flags=cv2.INTER_CUBIC)
    # Before alpha is clipped: where the cubic kernel overshoots, it does so in colour and alpha.
    warped[..., :3] /= np.maximum(warped[..., 3:], 1e-3)
    return (warped.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def tensor_of(pixels: UInt8[np.ndarray, "*b h w c"]) -> Float[Tensor, "*b c h w"]:
    """Stored pixels as a tensor in 0..1."""
    return torch.from_numpy(pixels).movedim(-1, -3).float() / 255


class CanvasDataset(IterableDataset[Tensor]):
    """Endless canvases `[1 4 size size]`, one slot each; a quarter are backdrops."""

    def __init__(self, assets: Assets, *, size: int, seed: int) -> None:
        super().__init__()
        self.assets = assets
        self.size = size
        self.seed = seed

    def __iter__(self) -> Iterator[Tensor]:
        worker = get_worker_info()
        random = np.random.default_rng([self.seed, worker.id if worker else 0])
        while True:
            yield tensor_of(draw_canvas(self.assets, random, self.size).rgba)[None]


def draw_canvas(assets: Assets, random: np.random.Generator, size: int) -> Canvas:
    """A random cut-out, or once in four times a backdrop, on a canvas."""
    if random.random() < 0.25:
        return backdrop_canvas(
            assets.backdrops[random.integers(len(assets.backdrops))], random, size
        )
    return cutout_canvas(assets.cutouts[random.integers(len(assets.cutouts))], random, size)
