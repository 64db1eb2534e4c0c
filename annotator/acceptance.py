"""Acceptance: is a decomposition good enough to be learnt from, and if not, why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import cv2
import numpy as np
import torch
from jaxtyping import Float32, UInt8

from annotator.pseudo_layers import Decomposition, tensors_of
from ldm import metrics
from ldm.compositing import stack

_SHARPNESS_SIDE = 512
"""Sharpness is measured with at most this long side, in pixels."""


class Flaw(Enum):
    """Why a decomposition is refused; the value says it in plain words."""

    recomposition = "the layers laid over each other do not give the photograph back"
    no_objects = "nothing but the background was found"
    too_many_objects = "the photograph fell into too many pieces"
    small_object = "a layer is too small to be learnt from"
    hard_edge = "a layer's edge is cut hard, without partial alpha"
    soft_edge = "a layer's edge is so wide that it is no edge"
    blur = "the photograph is blurred or flat"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is demanded of a decomposition; units as in the figures of `judge`."""

    recomposition_psnr: float = 36.0
    """At least; 36 dB is an error of 4 of 255, about what JPEG at quality 90 loses."""
    sharpness: float = 10.0
    """At least; 132 photographs had 24 to 7500, the middle one 1700, and 9 after a blur of 2 px."""
    objects: int = 8
    """At most."""
    smallest_area: float = 0.002
    """At least: a square of 23 px in a photograph of 512 px."""
    softness: float = 0.1
    """At least; 0 for a hard mask; 266 photographic cut-outs had 0.18 (1 %) and 0.55 (middle)."""
    edge_width: float = 20.0
    """At most, in pixels; the same cut-outs had 1.2 (middle) and 15 (99 %)."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The measured figures, and the flaws for which the decomposition is refused: none if kept."""

    figures: Mapping[str, float]
    flaws: tuple[Flaw, ...]

    @property
    def kept(self) -> bool:
        """No flaw was found."""
        return not self.flaws


def judge(decomposition: Decomposition, limits: Limits) -> Verdict:
    """Measure a decomposition and hold it against the limits.

    Figures: `recomposition_psnr` in dB over the whole photograph, at most 100; `sharpness`, the
    variance of the photograph's Laplacian in grey levels squared; `objects`, their number without
    the background; and, where there are objects, of the worst of them: `smallest_area`, the share
    of the photograph that its alpha covers; `softness`, the share of its outline's pixels that are
    partial; `edge_width`, the partial pixels per pixel of its outline.
    """
    pixels, layers = decomposition.photograph.pixels, decomposition.layers
    alphas = [layer.rgba[..., 3] for layer in layers[1:]]
    figures = {
        "recomposition_psnr": psnr(pixels, recomposed([layer.rgba for layer in layers])),
        "sharpness": sharpness(pixels),
        "objects": float(len(alphas)),
    }
    if alphas:
        edges = [_edge(alpha) for alpha in alphas]
        figures |= {
            "smallest_area": min(float(alpha.mean()) / 255 for alpha in alphas),
            "softness": min(softness for softness, _ in edges),
            "edge_width": max(width for _, width in edges),
        }
    return Verdict(figures=figures, flaws=_flaws(figures, limits))


def recomposed(layers: Sequence[UInt8[np.ndarray, "h w 4"]]) -> Float32[np.ndarray, "h w 3"]:
    """The picture 0..1 that opaque layer 0 and those laid over it in turn make."""
    return stack(tensors_of(layers))[0].movedim(0, -1).numpy()


def psnr(pixels: UInt8[np.ndarray, "h w 3"], found: Float32[np.ndarray, "h w 3"]) -> float:
    """Peak signal-to-noise ratio in dB of `found` 0..1, at most 100."""
    return float(metrics.psnr(torch.tensor(pixels) / 255, torch.tensor(found)))


def sharpness(pixels: UInt8[np.ndarray, "h w 3"]) -> float:
    """Variance of the Laplacian (Pech-Pacheco et al., ICPR 2000) of a grey picture.

    Large pictures are shrunk first, so that the same photograph has about the same sharpness at
    any resolution.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    scale = min(1.0, _SHARPNESS_SIDE / max(grey.shape))
    size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
    small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    return float(cv2.Laplacian(small, cv2.CV_64F).var())


def _edge(alpha: UInt8[np.ndarray, "h w"]) -> tuple[float, float]:
    """Share of the outline's pixels that are partial; partial pixels per pixel of the outline.

    The outline: pixels at least half covered beside pixels that are less. At the photograph's rim
    there is none.
    """
    solid = (alpha >= 128).astype(np.uint8)
    partial = (alpha > 0) & (alpha < 255)
    outline = (cv2.erode(solid, np.ones((3, 3), np.uint8)) < solid) | (
        cv2.dilate(solid, np.ones((3, 3), np.uint8)) > solid
    )
    length = outline.sum() / 2
    if not length:
        return 1.0, float(partial.sum())
    return float(partial[outline].mean()), float(partial.sum() / length)


def _flaws(figures: Mapping[str, float], limits: Limits) -> tuple[Flaw, ...]:
    found = {
        Flaw.recomposition: figures["recomposition_psnr"] < limits.recomposition_psnr,
        Flaw.blur: figures["sharpness"] < limits.sharpness,
        Flaw.no_objects: figures["objects"] == 0,
        Flaw.too_many_objects: figures["objects"] > limits.objects,
    }
    if figures["objects"]:
        found |= {
            Flaw.small_object: figures["smallest_area"] < limits.smallest_area,
            Flaw.hard_edge: figures["softness"] < limits.softness,
            Flaw.soft_edge: figures["edge_width"] > limits.edge_width,
        }
    return tuple(flaw for flaw in Flaw if found.get(flaw, False))
