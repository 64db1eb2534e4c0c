"""How near completed backdrops come to the truth behind objects, by methods without weights."""

from collections.abc import Callable

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from annotator.completion import OpenCvCompletion
from paper.composites import composites
from paper.result import Figure, interval

_GROWN = 3
_Fill = Callable[[UInt8[np.ndarray, "h w 3"], Bool[np.ndarray, "h w"]], UInt8[np.ndarray, "h w 3"]]


def completion_figures(num_composites: int, seed: int) -> dict[str, Figure]:
    """PSNR in dB over the hidden pixels (where alpha is above 0, and 3 px about that)."""
    ours = OpenCvCompletion()
    fills: dict[str, _Fill] = {
        "completion_psnr_mean_colour": _mean_colour,
        "completion_psnr_telea": _telea,
        "completion_psnr_opencv": lambda pixels, hidden: ours(pixels, hidden, ""),
    }
    found: dict[str, list[float]] = {name: [] for name in fills}
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _GROWN + 1, 2 * _GROWN + 1))
    for composite in composites(num_composites, seed):
        hidden = cv2.dilate((composite.alpha > 0).astype(np.uint8), brush) > 0
        for name, fill in fills.items():
            error = (fill(composite.pixels, hidden) / 255 - composite.backdrop)[hidden]
            found[name].append(-10 * float(np.log10((error**2).mean())))
    return {name: interval(values, "dB") for name, values in found.items()}


def _mean_colour(
    pixels: UInt8[np.ndarray, "h w 3"], hidden: Bool[np.ndarray, "h w"]
) -> UInt8[np.ndarray, "h w 3"]:
    mean = pixels[~hidden].mean(axis=0).round().astype(np.uint8)
    return np.where(hidden[..., None], mean, pixels)


def _telea(
    pixels: UInt8[np.ndarray, "h w 3"], hidden: Bool[np.ndarray, "h w"]
) -> UInt8[np.ndarray, "h w 3"]:
    return cv2.inpaint(pixels, hidden.astype(np.uint8), 3, cv2.INPAINT_TELEA)
