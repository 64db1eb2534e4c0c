"""What a flat picture tells of depth: for each pair of regions, cues for which one is nearer.

Regions that stand lower, touch the lower border or are large tend to be near. Where two regions
touch, the nearer one owns the border: it bulges into the other (Kanizsa and Gerbino 1976), its
outline runs on where three regions meet, and the other one's is cut (Palou and Salembier, Monocular
Depth Ordering Using T-Junctions and Convexity Occlusion Cues, IEEE TIP 2013).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import combinations

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32

_SIDE = 256
"""Pictures are looked at with this long side, in pixels; all lengths below are meant for it."""
_REACH = 2
"""Regions touch where they come this close, in pixels."""
_NEIGHBOURHOOD = 5.0
"""Standard deviation of the Gaussian disc in which the shares of both regions are compared."""


class Cue(Enum):
    """One measure of how much nearer the first of two regions is than the second."""

    lowest = "its lowest point lies lower"
    centre = "its centre lies lower"
    contact = "more of the picture's lower border is its own"
    area = "it is larger (logarithm)"
    bulge = "it bulges into the other along their common border, away from its ends"
    junction = "its outline runs straight on where a third region meets the border"
    whole = "the other's convex hull reaches into it more than its own into the other"
    unity = "less of it lies apart from its largest piece"


def cues(masks: Sequence[Bool[np.ndarray, "h w"]]) -> dict[Cue, Float[np.ndarray, "n n"]]:
    """Each cue for each pair of non-empty regions: at `[i, j]` for `i` nearer, `-[j, i]`.

    From `bulge` on they are 0 for regions that do not touch.
    """
    regions = [_region(mask) for mask in masks]
    found = {cue: np.zeros((len(masks), len(masks))) for cue in Cue}
    for first, second in combinations(range(len(masks)), 2):
        one, other = regions[first], regions[second]
        for cue, value in (_apart(one, other) | _touching(one, other)).items():
            found[cue][first, second], found[cue][second, first] = value, -value
    return found


@dataclass(frozen=True, kw_only=True)
class _Region:
    """A region at working size with what is measured on it alone."""

    mask: Bool[np.ndarray, "h w"]
    wide: Bool[np.ndarray, "h w"]
    share: Float32[np.ndarray, "h w"]
    hull: Bool[np.ndarray, "h w"]
    position: dict[Cue, float]
    unity: float


def _shrunken(values: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "y x"]:
    scale = _SIDE / max(values.shape)
    size = (max(1, round(values.shape[1] * scale)), max(1, round(values.shape[0] * scale)))
    return cv2.resize(values, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def _region(mask: Bool[np.ndarray, "h w"]) -> _Region:
    cover = _shrunken(mask.astype(np.float32))
    # What is thinner than a pixel keeps the pixels that it fills most.
    small = cover >= min(0.5, float(cover.max()))
    height, width = small.shape
    rows = np.flatnonzero(small.any(axis=1))
    _, _, pieces, _ = cv2.connectedComponentsWithStats(small.astype(np.uint8))
    return _Region(
        mask=small,
        wide=_dilated(small, _REACH),
        share=cv2.GaussianBlur(small.astype(np.float32), (0, 0), _NEIGHBOURHOOD),
        hull=_hull(small),
        position={
            Cue.lowest: (float(rows[-1]) + 1) / height,
            Cue.centre: float(np.argwhere(small)[:, 0].mean()) / height,
            Cue.contact: float(small[-1].sum()) / width,
            Cue.area: float(np.log(small.mean())),
        },
        unity=float(pieces[1:, cv2.CC_STAT_AREA].max() / small.sum()),
    )


def _dilated(mask: Bool[np.ndarray, "h w"], radius: int) -> Bool[np.ndarray, "h w"]:
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return cv2.dilate(mask.astype(np.uint8), disc) > 0


def _hull(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    corners = cv2.convexHull(np.argwhere(mask)[:, ::-1].astype(np.int32))
    return cv2.fillConvexPoly(np.zeros(mask.shape, np.uint8), corners, 1) > 0


def _apart(one: _Region, other: _Region) -> dict[Cue, float]:
    return {cue: value - other.position[cue] for cue, value in one.position.items()}


def _touching(one: _Region, other: _Region) -> dict[Cue, float]:
    border = one.wide & other.wide
    if not border.any():
        return {}
    junctions = _dilated(~(one.wide | other.wide), 2 * _REACH) & border
    smaller = min(one.mask.sum(), other.mask.sum())
    bitten = (other.hull & one.mask).sum() - (one.hull & other.mask).sum()
    return {
        Cue.bulge: -_lead(one.share, other.share, border & ~junctions),
        Cue.junction: _lead(one.share, other.share, junctions),
        Cue.whole: float(bitten / smaller),
        Cue.unity: one.unity - other.unity,
    }


def _lead(
    one: Float32[np.ndarray, "h w"],
    other: Float32[np.ndarray, "h w"],
    where: Bool[np.ndarray, "h w"],
) -> float:
    """How much more of the surroundings the first fills than the second, -1..1; nowhere: 0."""
    if not where.any():
        return 0.0
    ours, theirs = one[where], other[where]
    return float(((ours - theirs) / (ours + theirs)).mean())
