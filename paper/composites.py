"""Cut-outs of known alpha over backdrops, and masks of them as wrong as a segmenter's."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from ldm.storage import StoredLayer, read_shard

DATA = Path("data/default")
WRONG = 3.0
_CELL = 16


@dataclass(frozen=True, kw_only=True)
class Composite:
    """One object of known `alpha` and colour in a picture; `backdrop` is the picture without it,
    `prompt` what that shows.

    Colours are 0..1; `mask` is what a segmenter might say of the object.
    """

    pixels: UInt8[np.ndarray, "h w 3"]
    alpha: Float32[np.ndarray, "h w"]
    foreground: Float32[np.ndarray, "h w 3"]
    backdrop: Float32[np.ndarray, "h w 3"]
    mask: Bool[np.ndarray, "h w"]
    prompt: str


def composites(num_composites: int, seed: int) -> Iterator[Composite]:
    """Random objects of 96 to 240 px, never enlarged, in pictures of 256 to 384 px; some are cut
    by the picture's border."""
    cutouts = [layer.rgba for layer in _layers("cutouts") if max(layer.rgba.shape[:2]) >= 96]
    backdrops = list(_layers("backdrops"))
    random = np.random.default_rng(seed)
    for _ in range(num_composites):
        side = int(random.integers(256, 385))
        backdrop = backdrops[random.integers(len(backdrops))]
        view = _view(backdrop.rgba, side, random)
        placed = _placed(cutouts[random.integers(len(cutouts))], side, random)
        yield _composite(placed, view, backdrop.prompt, random)


def wrong_mask(
    alpha: Float32[np.ndarray, "h w"], random: np.random.Generator
) -> Bool[np.ndarray, "h w"]:
    """The object (alpha above a half) with its outline moved in or out by up to 3 px.

    The move varies smoothly along the outline: uniform random values on a grid of 16 px, joined by
    splines, are the signed distance from the true outline at which the mask ends.
    """
    inside = (alpha > 0.5).astype(np.uint8)
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, 5) - cv2.distanceTransform(
        1 - inside, cv2.DIST_L2, 5
    )
    cells = tuple(-(-length // _CELL) for length in alpha.shape)
    coarse = random.uniform(-WRONG, WRONG, cells).astype(np.float32)
    height, width = alpha.shape
    move = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return distance > move.clip(-WRONG, WRONG)


def _layers(name: str) -> Iterator[StoredLayer]:
    for split in ("train", "validation"):
        for sample in read_shard(DATA / split / f"{name}.tar"):
            yield sample.layers[0]


def _view(
    rgba: UInt8[np.ndarray, "h w 4"], side: int, random: np.random.Generator
) -> Float32[np.ndarray, "side side 3"]:
    """A random square part of a backdrop at the size `side`."""
    height, width = rgba.shape[:2]
    edge = min(height, width)
    top, left = random.integers(height - edge + 1), random.integers(width - edge + 1)
    part = rgba[top : top + edge, left : left + edge, :3].astype(np.float32) / 255
    return cv2.resize(part, (side, side), interpolation=cv2.INTER_AREA)


def _placed(
    rgba: UInt8[np.ndarray, "h w 4"], side: int, random: np.random.Generator
) -> Float32[np.ndarray, "side side 4"]:
    """A cut-out somewhere on an empty square, premultiplied."""
    straight = rgba.astype(np.float32) / 255
    premultiplied = straight * np.concatenate(
        [straight[..., 3:].repeat(3, 2), straight[..., 3:] ** 0], 2
    )
    scale = min(1.0, random.uniform(96, 240) / max(rgba.shape[:2]))
    height, width = (max(1, round(length * scale)) for length in rgba.shape[:2])
    small = cv2.resize(premultiplied, (width, height), interpolation=cv2.INTER_AREA)
    top = random.integers(-height // 8, side - height + height // 8)
    left = random.integers(-width // 8, side - width + width // 8)
    shift = np.array([[1, 0, left], [0, 1, top]], np.float32)
    return cv2.warpAffine(small, shift, (side, side), flags=cv2.INTER_NEAREST)


def _composite(
    placed: Float32[np.ndarray, "h w 4"],
    backdrop: Float32[np.ndarray, "h w 3"],
    prompt: str,
    random: np.random.Generator,
) -> Composite:
    alpha = placed[..., 3]
    shown = placed[..., :3] + (1 - alpha[..., None]) * backdrop
    return Composite(
        pixels=(255 * shown).round().clip(0, 255).astype(np.uint8),
        alpha=alpha,
        foreground=placed[..., :3] / alpha[..., None].clip(min=1e-6),
        backdrop=backdrop,
        mask=wrong_mask(alpha, random),
        prompt=prompt,
    )
