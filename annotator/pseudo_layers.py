"""Pseudo-layers: a flat photograph taken apart into RGBA layers that give it back."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, UInt8

from annotator.completion import Completion, OpenCvCompletion
from annotator.matting import Matte, exact, matte
from annotator.ordering import Ordering
from annotator.photograph import Photograph
from annotator.regions import Region, RegionLimits, regions
from annotator.segmenter import Segmenter
from ldm.export.bitmap import restored
from ldm.values import Layers

# Below this alpha nothing is seen, and what lies behind is known.
_LEAST_ALPHA = 0.02
# Completion keeps this far from what it must not see, in shares of the picture's longer side.
_CLEARANCE = 1 / 170
# From this alpha on, of 255, what lies behind is free.
_SOLID = 250
# Difference of colours (Euclidean, sRGB in 0..1) that is seen at a rim.
_SEEN = 0.08


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

    def to_layers(self) -> Layers:
        """The layers as tensors, a batch of one."""
        return tensors_of([layer.rgba for layer in self.layers])


def tensors_of(layers: Sequence[UInt8[np.ndarray, "h w 4"]]) -> Layers:
    """Layers of one picture as tensors, a batch of one."""
    rgba = torch.stack([restored(layer) for layer in layers], dim=1)
    return Layers(rgba=rgba, present=torch.ones(rgba.shape[:2], dtype=torch.bool))


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
            region = found[index]
            under = _continued(region.mask & ~hidden, hidden)
            rest = _spanned(rest, under, region.mask & ~hidden)
            cut = matte(rest, under | (region.mask & ~hidden))
            rgba, rest = self._parted(rest, cut, hidden, photograph.caption)
            hidden = hidden | (rgba[..., 3] >= _SOLID)
            layers.append(PseudoLayer(rgba=rgba, label=region.label))
        opaque = np.full((*rest.shape[:2], 1), 255, np.uint8)
        back = PseudoLayer(rgba=np.concatenate([rest, opaque], axis=2), label=photograph.caption)
        return Decomposition(photograph=photograph, layers=(back, *reversed(layers)))

    def _parted(
        self,
        pixels: UInt8[np.ndarray, "h w 3"],
        cut: Matte,
        hidden: Bool[np.ndarray, "h w"],
        prompt: str,
    ) -> tuple[UInt8[np.ndarray, "h w 4"], UInt8[np.ndarray, "h w 3"]]:
        """A layer, and the picture without it; together they are the picture where it is seen."""
        picture = pixels.astype(np.float32) / 255
        around = _widened(cut.alpha >= _LEAST_ALPHA)
        known = self.completion(pixels, around | hidden, prompt).astype(np.float32) / 255
        alpha = np.where(around, explained(picture, cut, known), 0)
        alpha = np.rint(np.where(alpha < _LEAST_ALPHA, 0, alpha) * 255).astype(np.float32) / 255
        colour, behind = exact(picture, alpha, cut.foreground, known)
        layer = np.concatenate([colour, alpha[..., None]], axis=2)
        return _quantised(layer), _quantised(np.where(hidden[..., None], known, behind))


def explained(
    picture: Float[np.ndarray, "h w 3"], cut: Matte, behind: Float[np.ndarray, "h w 3"]
) -> Float32[np.ndarray, "h w"]:
    """Alpha with what was left over at its rim: what neither is like the completed back nor far
    from a mixture of it and the object is the object's.

    `a = (I - B) . (F - B) / |F - B|^2`, where `|I - a F - (1 - a) B|` is small beside what `I`
    differs from `B`; nowhere less than it was.
    """
    difference, span = picture - behind, cut.foreground - behind
    length = (span**2).sum(axis=2)
    share = ((difference * span).sum(axis=2) / np.maximum(length, 1e-4)).clip(0, 1)
    missed = np.linalg.norm(difference - share[..., None] * span, axis=2)
    seen = np.linalg.norm(difference, axis=2)
    is_mixture = (seen > _SEEN) & (missed < 0.4 * seen)
    return np.maximum(cut.alpha, cv2.medianBlur(np.where(is_mixture, share, 0), 3))


def _continued(
    seen: Bool[np.ndarray, "h w"], hidden: Bool[np.ndarray, "h w"]
) -> Bool[np.ndarray, "h w"]:
    """Those hidden pixels to which a region is nearer than all else that is seen."""
    if not hidden.any() or not seen.any():
        return np.zeros_like(seen)
    return hidden & (_distance(seen) < _distance(~seen & ~hidden))


def _spanned(
    pixels: UInt8[np.ndarray, "h w 3"],
    under: Bool[np.ndarray, "h w"],
    seen: Bool[np.ndarray, "h w"],
) -> UInt8[np.ndarray, "h w 3"]:
    """A picture in which a region has its own colours also where it is hidden, whatever stands
    beside it."""
    if not under.any():
        return pixels
    return np.where(under[..., None], OpenCvCompletion()(pixels, ~seen, ""), pixels)


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
