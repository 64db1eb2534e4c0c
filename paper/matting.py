"""How near alpha and colour come to the truth from a mask that is up to 3 px wrong."""

from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
from jaxtyping import Float
from pymatting import estimate_alpha_cf, estimate_foreground_ml

from annotator.matting import matte
from paper.composites import Composite, composites
from paper.result import Figure, interval

# A trimap as people draw it, and one that is as wide as the mask is wrong.
_WIDE, _NARROW = 10, 3
_EDGE = 5
_Cut = tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "h w 3"]]


def matting_figures(num_composites: int, seed: int) -> dict[str, Figure]:
    """SAD (sum of the absolute errors of alpha, in pixels), MSE (mean over the picture, in 1/1000)
    and the mean absolute error of premultiplied colour within 5 px of the true outline, for the
    mask as it is, pymatting with fixed trimaps, and ours; and the ratio of ours' SAD to the
    mask's, composite by composite."""
    ways: dict[str, Callable[[Composite], _Cut]] = {
        "hard_mask": _hard_mask,
        "pymatting_10px": partial(_fixed_trimap, band=_WIDE),
        "pymatting_3px": partial(_fixed_trimap, band=_NARROW),
        "ours": _ours,
    }
    found: dict[str, list[float]] = {}
    for composite in composites(num_composites, seed):
        for way, cut in ways.items():
            for name, error in _errors(composite, *cut(composite)).items():
                found.setdefault(f"{way}.{name}", []).append(error)
    units = {"matting_sad": "px", "matting_mse": "1/1000", "edge_colour_error": "0..1"}
    figures = {name: interval(v, units[name.split(".")[1]]) for name, v in found.items()}
    pairs = zip(found["ours.matting_sad"], found["hard_mask.matting_sad"], strict=True)
    figures["matting_sad_ratio"] = interval([ours / hard for ours, hard in pairs], "ratio")
    return figures


def _errors(
    composite: Composite, alpha: Float[np.ndarray, "h w"], colour: Float[np.ndarray, "h w 3"]
) -> dict[str, float]:
    wrong = np.abs(alpha - composite.alpha)
    shown = np.abs(alpha[..., None] * colour - composite.alpha[..., None] * composite.foreground)
    edge = np.abs(_signed_distance(composite.alpha > 0.5)) < _EDGE
    return {
        "matting_sad": float(wrong.sum()),
        "matting_mse": 1000 * float((wrong**2).mean()),
        "edge_colour_error": float(shown[edge].mean()),
    }


def _ours(composite: Composite) -> _Cut:
    layer = matte(composite.pixels, composite.mask)
    return layer.alpha, layer.foreground


def _hard_mask(composite: Composite) -> _Cut:
    return composite.mask.astype(np.float64), composite.pixels / 255


def _fixed_trimap(composite: Composite, *, band: int) -> _Cut:
    """Pymatting's closed form within `band` px of the mask's outline; the mask itself where no
    inside or outside is left, or its solver gives up."""
    distance = _signed_distance(composite.mask)
    trimap = np.where(np.abs(distance) <= band, 0.5, (distance > 0).astype(np.float64))
    try:
        alpha = estimate_alpha_cf(composite.pixels / 255, trimap)
    except ValueError:
        return _hard_mask(composite)
    return alpha, np.asarray(estimate_foreground_ml(composite.pixels / 255, alpha))


def _signed_distance(inside: np.ndarray) -> Float[np.ndarray, "h w"]:
    within, without = (
        cv2.distanceTransform(side.astype(np.uint8), cv2.DIST_L2, 5) for side in (inside, ~inside)
    )
    return within - without
