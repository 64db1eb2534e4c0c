"""Regions: from nested, overlapping segments to a few disjoint things before a background.

The principle is the artist's: a region is what one would move as one piece. So a whole is kept
before its parts, unless they cover it and are surer than it is: of all ways through the nesting,
that is taken which explains most area with most certainty. Where two regions still overlap, the
smaller lies above, as things do that stand before others. The background is what is left.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int32

from annotator.crumbs import without_crumbs
from annotator.segmenter import Segment

# Masks are compared at this size: their relations, unlike their outlines, need no more.
_LONG_SIDE = 192


@dataclass(frozen=True, kw_only=True)
class _Painting:
    """Which of `labels` each pixel belongs to, counted from 1; 0 is the background."""

    index: Int32[np.ndarray, "h w"]
    labels: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Region:
    """One thing: its pixels, and its name, empty if nobody named it."""

    mask: Bool[np.ndarray, "h w"]
    label: str


@dataclass(frozen=True, kw_only=True)
class RegionLimits:
    """What may become a region. Areas are shares of the picture; all lie in 0..1.

    count: at most so many regions.
    least_quality, least_stability: what a segment must state of itself.
    least_area, most_area: of a region.
    most_border: an unnamed segment that holds more of the picture's border is background (sky,
        ground, wall).
    least_crumb: connected parts smaller than this join the neighbour that holds most of their rim.
    duplicate: segments that overlap more (IoU) are the same thing; the surer one stays.
    inside: a segment that lies inside another by more than this share of itself is its part.
    whole: parts replace their whole only when they explain more than this many times as much.
    """

    count: int = 5
    least_quality: float = 0.6
    least_stability: float = 0.5
    least_area: float = 0.008
    most_area: float = 0.75
    most_border: float = 0.35
    least_crumb: float = 0.001
    duplicate: float = 0.8
    inside: float = 0.85
    whole: float = 1.2


def regions(segments: Sequence[Segment], *, limits: RegionLimits) -> tuple[Region, ...]:
    """At most `limits.count` disjoint regions, the largest first; none where nothing is found.

    The result does not depend on the order of the segments, and is its own result: regions given
    back as certain segments return as they are.
    """
    things = sorted((s for s in segments if _may_be_region(s, limits)), key=_rank)
    if not things:
        return ()
    painted = _painted(_chosen(things, limits))
    index = without_crumbs(painted.index, least=limits.least_crumb * painted.index.size)
    found = (
        Region(mask=index == number, label=label) for number, label in enumerate(painted.labels, 1)
    )
    fitting = (region for region in found if _fits(region.mask, region.label, limits))
    return tuple(sorted(fitting, key=_extent))


def _extent(region: Region) -> tuple[int, int]:
    """Largest first; of equals that whose first pixel comes first."""
    return -int(np.count_nonzero(region.mask)), int(region.mask.argmax())


def _may_be_region(segment: Segment, limits: RegionLimits) -> bool:
    return (
        segment.quality >= limits.least_quality
        and segment.stability >= limits.least_stability
        and _fits(segment.mask, segment.label, limits)
    )


def _fits(mask: Bool[np.ndarray, "h w"], label: str, limits: RegionLimits) -> bool:
    if not limits.least_area <= mask.mean() <= limits.most_area:
        return False
    border = np.concatenate([mask[0], mask[-1], mask[1:-1, 0], mask[1:-1, -1]])
    return bool(label) or bool(border.mean() <= limits.most_border)


def _certainty(segment: Segment) -> float:
    return segment.quality * segment.stability


def _rank(segment: Segment) -> tuple[float, int, str, bytes]:
    """Surest first; equal ranks only for equal masks and names."""
    digest = hashlib.sha256(np.packbits(segment.mask).tobytes()).digest()
    return -_certainty(segment), -int(np.count_nonzero(segment.mask)), segment.label, digest


def _chosen(things: Sequence[Segment], limits: RegionLimits) -> list[Segment]:
    """The best way through duplicates and nesting, at most `count`, the largest first."""
    step = max(1, max(things[0].mask.shape) // _LONG_SIDE)
    # Sampled, not averaged: what is disjoint stays disjoint.
    samples = np.stack([thing.mask[::step, ::step].ravel() for thing in things]).astype(np.float32)
    common = samples @ samples.T
    area = np.maximum(np.diag(common), 1)
    distinct = _distinct(common / (area[:, None] + area[None] - common), limits.duplicate)
    distinct.sort(key=lambda i: -area[i])
    certainty = np.array([_certainty(thing) for thing in things])
    kept = _best_cut(distinct, common / area[:, None], certainty * area, limits)
    kept.sort(key=lambda i: -certainty[i] * np.sqrt(area[i]))
    return [things[i] for i in sorted(kept[: limits.count], key=lambda i: -area[i])]


def _distinct(iou: Float32[np.ndarray, "s s"], duplicate: float) -> list[int]:
    kept: list[int] = []
    for i in range(len(iou)):
        if all(iou[i, j] <= duplicate for j in kept):
            kept.append(i)
    return kept


def _best_cut(
    order: Sequence[int],
    inside: Float32[np.ndarray, "s s"],
    worth: Float[np.ndarray, " s"],
    limits: RegionLimits,
) -> list[int]:
    """Of each tree of wholes and parts the cut that explains most; `order` has wholes first."""
    parts: dict[int | None, list[int]] = {i: [] for i in (*order, None)}
    for place, i in enumerate(order):
        wholes = (j for j in reversed(order[:place]) if inside[i, j] > limits.inside)
        parts[next(wholes, None)].append(i)
    cut: dict[int, list[int]] = {}
    for i in reversed(order):
        below = [part for child in parts[i] for part in cut[child]]
        explained = sum(worth[part] for part in below)
        cut[i] = below if explained > limits.whole * worth[i] else [i]
    return [part for root in parts[None] for part in cut[root]]


def _painted(things: Sequence[Segment]) -> _Painting:
    index = np.zeros(things[0].mask.shape, np.int32)
    for number, thing in enumerate(things, 1):
        index[thing.mask] = number
    return _Painting(index=index, labels=tuple(thing.label for thing in things))
