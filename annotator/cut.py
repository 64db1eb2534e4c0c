"""The outline of a thing that lies roughly here, found by colour.

GrabCut (Rother, Kolmogorov and Blake, SIGGRAPH 2004), on a canvas of its own around the thing: a
small thing in a large picture is cut as finely as a large one, in the same time.
"""

from dataclasses import dataclass
from enum import IntEnum

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

_LONG_SIDE = 256
_ROUNDS, _MORE_ROUNDS = 2, 1
# How much of what lies around a thing the background's colours are learned from, in long sides.
_MARGIN = 0.2
# Pixels of the canvas on either side of an outline that its contrast is taken from.
_RIM = 3
# What is to be cut is said by trust alone.
_NO_BOX = (0, 0, 0, 0)


class Trust(IntEnum):
    """What is thought of a pixel before the cut, in OpenCV's numbers."""

    elsewhere = cv2.GC_BGD
    thing = cv2.GC_FGD
    perhaps_elsewhere = cv2.GC_PR_BGD
    perhaps_thing = cv2.GC_PR_FGD


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A thing's pixels; their overlap (IoU, 0..1) with those before the colours were learned for
    one more round; the mean step of colour across the outline in Lab units, 0 without one."""

    mask: Bool[np.ndarray, "h w"]
    stability: float
    contrast: float


def cut(pixels: UInt8[np.ndarray, "h w 3"], trust: UInt8[np.ndarray, "h w"]) -> Cut:
    """Decide the pixels whose `trust` (values of `Trust`) is not certain.

    Where all is one thing, or nothing is, there is no outline to find: what was trusted stays.
    """
    rows, columns = _window(trust != Trust.elsewhere)
    part = trust[rows, columns]
    size = _canvas_size(part.shape)
    canvas = cv2.resize(pixels[rows, columns], size, interpolation=cv2.INTER_AREA)
    small = cv2.resize(part, size, interpolation=cv2.INTER_NEAREST)
    masks = _grabbed(canvas, small)
    mask = np.zeros(trust.shape, bool)
    mask[rows, columns] = _enlarged(masks[-1], part.shape)
    return Cut(
        mask=mask, stability=overlap(masks[0], masks[-1]), contrast=_contrast(canvas, masks[-1])
    )


def overlap(one: Bool[np.ndarray, "h w"], other: Bool[np.ndarray, "h w"]) -> float:
    """Intersection over union, 0..1; 0 where both are empty."""
    union = np.count_nonzero(one | other)
    return float(np.count_nonzero(one & other) / union) if union else 0.0


def _window(area: Bool[np.ndarray, "h w"]) -> tuple[slice, slice]:
    """Rows and columns of the area's box with a margin."""
    height, width = area.shape
    left, top, across, down = cv2.boundingRect(area.astype(np.uint8))
    margin = round(_MARGIN * max(across, down)) + 2
    return (
        slice(max(0, top - margin), min(height, top + down + margin)),
        slice(max(0, left - margin), min(width, left + across + margin)),
    )


def _canvas_size(shape: tuple[int, ...]) -> tuple[int, int]:
    """Width and height; never larger than the part itself."""
    scale = min(1.0, _LONG_SIDE / max(shape))
    return max(1, round(shape[1] * scale)), max(1, round(shape[0] * scale))


def _grabbed(
    canvas: UInt8[np.ndarray, "y x 3"], trust: UInt8[np.ndarray, "y x"]
) -> tuple[Bool[np.ndarray, "y x"], Bool[np.ndarray, "y x"]]:
    """The thing after some rounds, and after more."""
    thing = _is_thing(trust)
    if thing.all() or not thing.any():
        return thing, thing
    trust = trust.copy()
    back, front = np.zeros((1, 65)), np.zeros((1, 65))
    # Its first clusters of colours are drawn by chance, from this thread's generator.
    cv2.setRNGSeed(0)
    cv2.grabCut(canvas, trust, _NO_BOX, back, front, _ROUNDS, cv2.GC_INIT_WITH_MASK)
    thing = _is_thing(trust)
    if not thing.all() and thing.any():
        cv2.grabCut(canvas, trust, _NO_BOX, back, front, _MORE_ROUNDS, cv2.GC_EVAL)
    return thing, _is_thing(trust)


def _is_thing(trust: UInt8[np.ndarray, "y x"]) -> Bool[np.ndarray, "y x"]:
    return (trust == Trust.thing) | (trust == Trust.perhaps_thing)


def _enlarged(mask: Bool[np.ndarray, "y x"], shape: tuple[int, ...]) -> Bool[np.ndarray, "h w"]:
    soft = cv2.resize(mask.astype(np.float32), shape[::-1], interpolation=cv2.INTER_LINEAR)
    return soft > 0.5


def _contrast(canvas: UInt8[np.ndarray, "y x 3"], mask: Bool[np.ndarray, "y x"]) -> float:
    """Mean distance of the colours that lie a few pixels inside and outside the outline."""
    lab = cv2.cvtColor(canvas.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    inside, outside = _near_colour(lab, mask), _near_colour(lab, ~mask)
    kernel = np.ones((3, 3), np.uint8)
    outline = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_GRADIENT, kernel) > 0
    steps = np.linalg.norm(inside - outside, axis=-1)[outline]
    return float(steps.mean()) if steps.size else 0.0


def _near_colour(
    lab: Float32[np.ndarray, "y x 3"], mask: Bool[np.ndarray, "y x"]
) -> Float32[np.ndarray, "y x 3"]:
    """Mean colour of the mask's pixels around every pixel."""
    weight = mask.astype(np.float32)[..., None]
    near = cv2.GaussianBlur(np.concatenate([lab * weight, weight], axis=-1), (0, 0), _RIM)
    return near[..., :3] / (near[..., 3:] + 1e-6)
