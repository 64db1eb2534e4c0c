"""`ClassicalSegmenter`: finds things without any weights, by what stands out and by colour.

Saliency, or a mark, says roughly where a thing is; a cut by colour finds its outline from there.
What two ways of looking agree on is trusted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from annotator.cut import Trust, cut, overlap
from annotator.photograph import Mark
from annotator.saliency import saliency
from annotator.segmenter import Segment

# A picture's greatest saliency, if smaller, is taken for noise and not raised to 1.
_LEAST_SALIENCY = 0.2
# From this share of a thing's own greatest saliency on, its pixels are certain.
_CORE = 0.75
# Seeds that overlap so much would give one and the same outline.
_SAME = 0.9
# The factor by which a level is moved to see whether a seed is stable.
_SHIFT = 1.2
# How far an outline may lie from its seed or its mark, in roots of its area.
_REACH, _EXACT_REACH = 0.15, 0.03


@dataclass(frozen=True, kw_only=True)
class _Seed:
    """A connected part of what is more salient than `level`."""

    mask: Bool[np.ndarray, "h w"]
    level: float


@dataclass(frozen=True, kw_only=True)
class ClassicalSegmenter:
    """A `Segmenter` that needs no weights.

    It looks for things at each of `levels` of saliency (0..1, relative to the picture's greatest),
    so that both parts and wholes are found, at most `num_things` at each. It leaves out what is
    smaller than `least_area` (a share of the picture) and outlines along which the colour steps by
    less than `least_contrast` (Lab units; 2.3 is just noticeable): better nothing than something
    arbitrary.

    The quality that it states is the overlap of what the level gives and what the colours give; the
    stability is that of what two neighbouring levels give, or, of a mark, of what the colours give
    when they are learned for longer.
    """

    levels: tuple[float, ...] = (0.1, 0.2, 0.35, 0.55)
    num_things: int = 3
    least_area: float = 0.008
    least_contrast: float = 10.0

    def __call__(self, pixels: UInt8[np.ndarray, "h w 3"], marks: Sequence[Mark]) -> list[Segment]:
        """One segment for each mark in their order, or else all that stand out."""
        if marks:
            return [_marked(pixels, mark) for mark in marks]
        return list(self._standing_out(pixels))

    def _standing_out(self, pixels: UInt8[np.ndarray, "h w 3"]) -> Iterator[Segment]:
        values = saliency(pixels)
        values = values / max(float(values.max()), _LEAST_SALIENCY)
        least_area = self.least_area * values.size
        for seed in self._seeds(values):
            found = cut(pixels, _trust_in_seed(seed.mask, values))
            if found.contrast >= self.least_contrast and np.count_nonzero(found.mask) >= least_area:
                quality = overlap(found.mask, seed.mask)
                stability = _stability(seed, values)
                yield Segment(mask=found.mask, label="", quality=quality, stability=stability)

    def _seeds(self, values: Float32[np.ndarray, "h w"]) -> list[_Seed]:
        """Connected parts above each level, the largest of each level first."""
        seeds: list[_Seed] = []
        for level in self.levels:
            parts = _components(values > level, least_area=self.least_area)
            for part in parts[: self.num_things]:
                if all(overlap(part, seed.mask) < _SAME for seed in seeds):
                    seeds.append(_Seed(mask=part, level=level))
        return seeds


def _stability(seed: _Seed, values: Float32[np.ndarray, "h w"]) -> float:
    """Overlap of the seeds at a level somewhat higher and somewhat lower."""
    smaller = np.count_nonzero(seed.mask & (values > seed.level * _SHIFT))
    index = cv2.connectedComponents((values > seed.level / _SHIFT).astype(np.uint8))[1]
    larger = np.count_nonzero(index == index[seed.mask][0])
    return float(smaller / larger)


def _components(
    mask: Bool[np.ndarray, "h w"], *, least_area: float
) -> list[Bool[np.ndarray, "h w"]]:
    """Connected parts of at least a share of the picture, the largest first."""
    _, index, statistics, _ = cv2.connectedComponentsWithStats(
        mask.astype(np.uint8), connectivity=4
    )
    areas = statistics[1:, cv2.CC_STAT_AREA]
    order = np.argsort(-areas, kind="stable")
    return [index == i + 1 for i in order if areas[i] >= least_area * mask.size]


def _trust_in_seed(
    seed: Bool[np.ndarray, "h w"], values: Float32[np.ndarray, "h w"]
) -> UInt8[np.ndarray, "h w"]:
    trust = np.full(seed.shape, Trust.elsewhere, np.uint8)
    trust[_grown(seed, _REACH * _root(seed))] = Trust.perhaps_elsewhere
    trust[seed] = Trust.perhaps_thing
    trust[seed & (values >= _CORE * values[seed].max())] = Trust.thing
    return trust


def _marked(pixels: UInt8[np.ndarray, "h w 3"], mark: Mark) -> Segment:
    """The thing in a box or within an outline; where no colour sets it off, all that is marked."""
    found = cut(pixels, _trust_in_outline(mark.area) if mark.exact else _trust_in_box(mark.area))
    if not found.mask.any():
        return Segment(mask=mark.area, label=mark.label, quality=0.0, stability=0.0)
    expected = found.mask if mark.exact else _filled_box(found.mask)
    return Segment(
        mask=found.mask,
        label=mark.label,
        quality=overlap(expected, mark.area),
        stability=found.stability,
    )


def _trust_in_box(area: Bool[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    return np.where(area, Trust.perhaps_thing, Trust.elsewhere).astype(np.uint8)


def _trust_in_outline(area: Bool[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    reach = _EXACT_REACH * _root(area)
    trust = np.full(area.shape, Trust.elsewhere, np.uint8)
    trust[_grown(area, reach)] = Trust.perhaps_elsewhere
    trust[area] = Trust.perhaps_thing
    trust[~_grown(~area, reach)] = Trust.thing
    return trust


def _filled_box(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    left, top, across, down = cv2.boundingRect(mask.astype(np.uint8))
    box = np.zeros(mask.shape, bool)
    box[top : top + down, left : left + across] = True
    return box


def _root(area: Bool[np.ndarray, "h w"]) -> float:
    return float(np.sqrt(np.count_nonzero(area)))


def _grown(mask: Bool[np.ndarray, "h w"], reach: float) -> Bool[np.ndarray, "h w"]:
    """The mask and all within `reach` pixels (at least one) of it."""
    distance = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    return distance <= max(1.0, reach)
