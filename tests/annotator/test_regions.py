"""Laws of regions: few, disjoint, large enough, the same whatever the order, their own result."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from skimage.draw import disk, rectangle
from skimage.measure import label

from annotator.regions import Region, RegionLimits, regions
from annotator.segmenter import Segment

SHAPE = (72, 96)
LIMITS = RegionLimits(least_area=0.01, least_crumb=0.004)


def disc(row: float, column: float, radius: float) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[disk((row, column), radius, shape=SHAPE)] = True
    return mask


def box(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[rectangle((top, left), end=(bottom - 1, right - 1), shape=SHAPE)] = True
    return mask


def sure(mask: np.ndarray, quality: float = 1.0, name: str = "") -> Segment:
    return Segment(mask=mask, label=name, quality=quality, stability=1.0)


def random_segments(seed: int) -> list[Segment]:
    """Discs within discs, boxes over them, some cut by noise, some with holes, some named."""
    generator = np.random.default_rng(seed)
    segments: list[Segment] = []
    for i in range(14):
        row, column = generator.uniform((0, 0), SHAPE)
        mask = disc(row, column, generator.uniform(3, 30))
        if i % 3 == 0:
            mask &= ~disc(row, column, generator.uniform(1, 8))
        if i % 4 == 0:
            mask &= generator.random(SHAPE) > 0.1
        quality, stability = (float(x) for x in generator.choice([0.4, 0.6, 0.8, 1.0], 2))
        name = "thing" if i % 5 == 0 else ""
        segments.append(Segment(mask=mask, label=name, quality=quality, stability=stability))
    return segments


def same(one: tuple[Region, ...], other: tuple[Region, ...]) -> bool:
    return len(one) == len(other) and all(
        a.label == b.label and np.array_equal(a.mask, b.mask)
        for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("seed", range(20))
def test_regions_are_few_disjoint_large_enough_and_without_crumbs(seed: int):
    found = regions(random_segments(seed), limits=LIMITS)
    assert 1 <= len(found) <= LIMITS.count
    assert sum(region.mask.astype(int) for region in found).max() == 1
    pixels = SHAPE[0] * SHAPE[1]
    assert all(region.mask.sum() >= LIMITS.least_area * pixels for region in found)
    background = ~np.any([region.mask for region in found], axis=0)
    for area in (background, *(region.mask for region in found)):
        parts = label(area, background=0, connectivity=1)
        assert np.bincount(parts.ravel())[1:].min() >= LIMITS.least_crumb * pixels


@pytest.mark.parametrize("seed", range(20))
def test_the_order_of_the_segments_leaves_no_trace(seed: int):
    segments = random_segments(seed)
    expected = regions(segments, limits=LIMITS)
    shuffled = np.random.default_rng(seed).permutation(len(segments))
    assert same(regions([segments[i] for i in shuffled], limits=LIMITS), expected)
    assert same(regions([*segments, *segments], limits=LIMITS), expected)


@pytest.mark.parametrize("seed", range(20))
def test_regions_are_their_own_regions(seed: int):
    found = regions(random_segments(seed), limits=LIMITS)
    again = [sure(region.mask, name=region.label) for region in found]
    assert same(regions(again, limits=LIMITS), found)


def test_nothing_gives_nothing():
    assert regions([], limits=LIMITS) == ()
    assert regions([sure(np.zeros(SHAPE, bool))], limits=LIMITS) == ()


def test_what_is_disjoint_stays_as_it_is_and_keeps_its_name():
    masks = {"cat": disc(20, 20, 15), "dog": disc(50, 70, 12), "cup": box(5, 60, 20, 80)}
    found = regions([sure(mask, name=name) for name, mask in masks.items()], limits=LIMITS)
    assert {region.label for region in found} == set(masks)
    assert all(np.array_equal(region.mask, masks[region.label]) for region in found)
    sizes = [region.mask.sum() for region in found]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize(("quality", "stability"), [(0.49, 1.0), (1.0, 0.49)])
def test_what_is_doubtful_is_left_out(quality: float, stability: float):
    doubtful = Segment(mask=disc(36, 48, 20), label="", quality=quality, stability=stability)
    limits = replace(LIMITS, least_quality=0.5, least_stability=0.5)
    assert regions([doubtful], limits=limits) == ()
    assert len(regions([sure(doubtful.mask)], limits=limits)) == 1


def test_a_whole_is_kept_before_its_parts_unless_they_explain_it_with_more_certainty():
    whole, halves = box(10, 10, 50, 70), (box(10, 10, 50, 40), box(10, 40, 50, 70))
    parts = [sure(half) for half in halves]
    assert [r.mask.sum() for r in regions([sure(whole, 0.95), *parts], limits=LIMITS)] == [2400]
    assert [r.mask.sum() for r in regions([sure(whole, 0.7), *parts], limits=LIMITS)] == [1200] * 2
    # One part alone explains half of it, and does not replace it.
    assert [r.mask.sum() for r in regions([sure(whole, 0.7), parts[0]], limits=LIMITS)] == [2400]


def test_of_duplicates_the_surer_one_stays():
    one, other = disc(36, 48, 20), disc(36, 49, 20)
    (found,) = regions([sure(one, 0.7), sure(other, 0.9)], limits=LIMITS)
    assert np.array_equal(found.mask, other)


def test_where_two_overlap_the_smaller_lies_above():
    large, small = box(10, 10, 60, 50), box(30, 40, 50, 70)
    found = regions([sure(small), sure(large)], limits=LIMITS)
    assert np.array_equal(found[0].mask, large & ~small)
    assert np.array_equal(found[1].mask, small)


def test_sky_and_ground_are_background_unless_somebody_named_them():
    sky, thing = box(0, 0, 30, 96), disc(50, 50, 14)
    (found,) = regions([sure(sky), sure(thing)], limits=LIMITS)
    assert np.array_equal(found.mask, thing)
    assert len(regions([sure(sky, name="sky"), sure(thing)], limits=LIMITS)) == 2


def test_crumbs_join_the_neighbour_that_holds_most_of_their_rim():
    thing = disc(36, 40, 20)
    torn = thing.copy()
    torn[34:37, 38:41] = False
    torn[2:4, 90:93] = True
    (found,) = regions([sure(torn)], limits=LIMITS)
    assert np.array_equal(found.mask, thing)
    # A ring's hole is no crumb.
    ring = thing & ~disc(36, 40, 8)
    (found,) = regions([sure(ring)], limits=LIMITS)
    assert np.array_equal(found.mask, ring)


def test_at_most_count_regions_and_those_the_surest_and_largest():
    masks = [disc(row, column, 9) for row in (15, 55) for column in (15, 48, 80)]
    segments = [sure(mask, 1 - 0.05 * i, name=str(i)) for i, mask in enumerate(masks)]
    for count in (1, 3, 6):
        found = regions(segments, limits=replace(LIMITS, count=count))
        assert {region.label for region in found} == {str(i) for i in range(count)}
    assert not any((a.mask & b.mask).any() for a, b in combinations(found, 2))
