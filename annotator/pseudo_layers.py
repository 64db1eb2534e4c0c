"""Pseudo-layers: a flat photograph taken apart into RGBA layers that give it back."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8

from annotator.completion import Completion
from annotator.matting import Matte, matte
from annotator.ordering import Ordering
from annotator.photograph import Photograph
from annotator.regions import Region, RegionLimits, regions
from annotator.segmenter import Segmenter
from ldm.values import Layers

# Below this alpha nothing is seen, and what lies behind is known.
_LEAST_ALPHA = 0.02
# Completion keeps this far from what it must not see, in shares of the picture's longer side.
_CLEARANCE = 1 / 170
_PROJECTIONS = 8


@dataclass(frozen=True, kw_only=True)
class PseudoLayer:
    """One layer of the photograph's size: straight alpha, sRGB, 0..255; what it is called."""

    rgba: UInt8[np.ndarray, "h w 4"]
    label: str


@dataclass(frozen=True, kw_only=True)
class Decomposition:
    """A photograph and its layers; layer 0 is the back, opaque, completed where it was hidden."""

    photograph: Photograph
    layers: tuple[PseudoLayer, ...]

    def stack(self) -> Layers:
        """The layers as tensors, a batch of one."""
        rgba = np.stack([layer.rgba for layer in self.layers])
        pixels = torch.from_numpy(rgba).movedim(-1, -3).float() / 255
        return Layers(rgba=pixels[None], present=torch.ones(1, len(rgba), dtype=torch.bool))


@dataclass(frozen=True, kw_only=True)
class Decomposer:
    """What finds the things in a photograph, orders them, and completes what they hide."""

    segmenter: Segmenter
    ordering: Ordering
    completion: Completion
    limits: RegionLimits

    def __call__(self, photograph: Photograph) -> Decomposition:
        """Take a photograph apart."""
        pixels = photograph.pixels
        found = regions(self.segmenter(pixels, photograph.marks), limits=self.limits)
        order = self.ordering(pixels, [region.mask for region in found])
        return self.peeled(photograph, [found[index] for index in order])

    def peeled(self, photograph: Photograph, found: Sequence[Region]) -> Decomposition:
        """Take the regions off, the nearest first, given from far to near.

        Each leaves a picture without it, from which the next is taken; so the layers, laid over
        each other again, are the photograph. A region goes on under what was nearer, as far as it
        is the closest to what is hidden there.
        """
        rest, hidden = photograph.pixels, np.zeros(photograph.pixels.shape[:2], bool)
        layers: list[PseudoLayer] = []
        for index in reversed(range(len(found))):
            mask = _continued([region.mask for region in found[: index + 1]], hidden)
            cut = matte(rest, mask)
            label = found[index].label
            rgba, rest = self._parted(rest, cut, photograph.caption)
            hidden |= cut.alpha > 0.5
            layers.append(PseudoLayer(rgba=rgba, label=label))
        opaque = np.full((*rest.shape[:2], 1), 255, np.uint8)
        back = PseudoLayer(rgba=np.concatenate([rest, opaque], axis=2), label=photograph.caption)
        return Decomposition(photograph=photograph, layers=(back, *reversed(layers)))

    def _parted(
        self, pixels: UInt8[np.ndarray, "h w 3"], cut: Matte, prompt: str
    ) -> tuple[UInt8[np.ndarray, "h w 4"], UInt8[np.ndarray, "h w 3"]]:
        """A layer, and the picture without it; together they are the picture."""
        alpha = np.where(cut.alpha < _LEAST_ALPHA, 0, cut.alpha)
        alpha = np.rint(alpha * 255).astype(np.float32) / 255
        known = self.completion(pixels, _widened(alpha > 0), prompt).astype(np.float32) / 255
        colour, behind = exact(pixels.astype(np.float32) / 255, alpha, cut.foreground, known)
        layer = np.concatenate([colour, alpha[..., None]], axis=2)
        return _quantised(layer), _quantised(behind)


def exact(
    picture: Float[np.ndarray, "h w 3"],
    alpha: Float[np.ndarray, "h w"],
    foreground: Float[np.ndarray, "h w 3"],
    behind: Float[np.ndarray, "h w 3"],
) -> tuple[Float[np.ndarray, "h w 3"], Float[np.ndarray, "h w 3"]]:
    """The nearest colours (least squares) whose composite is the picture.

    With `r = I - a F - (1 - a) B`, to `F` comes `a r / (a^2 + (1 - a)^2)`, to `B` the same with
    `1 - a` above; again for what is left where a colour would leave 0..1.
    """
    share = alpha[..., None]
    through = 1 - share
    weight = share**2 + through**2
    for _ in range(_PROJECTIONS):
        left = (picture - share * foreground - through * behind) / weight
        foreground = (foreground + share * left).clip(0, 1)
        behind = (behind + through * left).clip(0, 1)
    return foreground, behind


def _continued(
    masks: Sequence[Bool[np.ndarray, "h w"]], hidden: Bool[np.ndarray, "h w"]
) -> Bool[np.ndarray, "h w"]:
    """The last mask, with those hidden pixels to which it is nearer than all else that is seen."""
    seen = masks[-1] & ~hidden
    if not hidden.any() or not seen.any():
        return seen
    others = ~masks[-1] & ~hidden
    return seen | (hidden & (_distance(seen) < _distance(others)))


def _distance(mask: Bool[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """How far each pixel lies from a mask, in pixels."""
    if not mask.any():
        return np.full(mask.shape, np.inf, np.float32)
    return cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def _widened(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """A mask with a little of what surrounds it."""
    return _distance(mask) <= 1 + max(mask.shape) * _CLEARANCE


def _quantised(pixels: Float[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "h w c"]:
    return np.rint(pixels * 255).astype(np.uint8)
