"""How near completed backdrops come to the truth behind objects.

Our own model learned from the same backdrops: its figure says what it remembers, no more.
"""

from collections.abc import Mapping

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from annotator.completion import Completion, OpenCvCompletion
from paper.composites import composites
from paper.result import Figure, interval

_GROWN = 3


def completion_figures(
    num_composites: int, seed: int, others: Mapping[str, Completion]
) -> dict[str, Figure]:
    """PSNR in dB over the hidden pixels (where alpha is above 0, and 3 px about that)."""
    fills: dict[str, Completion] = {
        "mean_colour": _mean_colour,
        "telea": _telea,
        "opencv": OpenCvCompletion(),
        **others,
    }
    found: dict[str, list[float]] = {name: [] for name in fills}
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _GROWN + 1, 2 * _GROWN + 1))
    for composite in composites(num_composites, seed):
        hidden = cv2.dilate((composite.alpha > 0).astype(np.uint8), brush) > 0
        for name, fill in fills.items():
            error = (fill(composite.pixels, hidden, composite.prompt) / 255 - composite.backdrop)[
                hidden
            ]
            found[name].append(-10 * float(np.log10((error**2).mean())))
    return {f"completion_psnr_{name}": interval(values, "dB") for name, values in found.items()}


def _mean_colour(
    pixels: UInt8[np.ndarray, "h w 3"], hidden: Bool[np.ndarray, "h w"], prompt: str
) -> UInt8[np.ndarray, "h w 3"]:
    mean = pixels[~hidden].mean(axis=0).round().astype(np.uint8)
    return np.where(hidden[..., None], mean, pixels)


def _telea(
    pixels: UInt8[np.ndarray, "h w 3"], hidden: Bool[np.ndarray, "h w"], prompt: str
) -> UInt8[np.ndarray, "h w 3"]:
    return cv2.inpaint(pixels, hidden.astype(np.uint8), 3, cv2.INPAINT_TELEA)
