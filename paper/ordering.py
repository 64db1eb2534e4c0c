"""How often orderings put two objects in their right order, on scenes that they never saw:
`python -m paper.ordering` prints it; `order_figures` gives it to `paper/pseudo_layers.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8

from annotator.ordering import CueOrdering, Ordering
from paper.ordered_scenes import Arrangement, OrderedScene, Scenery
from paper.result import Figure

VALIDATION = Path("data/default/validation")


def by_area(
    pixels: UInt8[np.ndarray, "h w 3"], masks: Sequence[Bool[np.ndarray, "h w"]]
) -> list[int]:
    """The guess that the larger is nearer."""
    return sorted(range(len(masks)), key=lambda index: int(masks[index].sum()))


def by_height(
    pixels: UInt8[np.ndarray, "h w 3"], masks: Sequence[Bool[np.ndarray, "h w"]]
) -> list[int]:
    """The guess that what reaches farther down is nearer."""
    return sorted(range(len(masks)), key=lambda i: int(np.flatnonzero(masks[i].any(axis=1))[-1]))


ORDERINGS: Mapping[str, Ordering] = {
    "": CueOrdering(),
    "area_only.": by_area,
    "height_only.": by_height,
}


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Pairs of one scene that were put in the right order, of all, and of those that touch."""

    right: int
    pairs: int
    touching_right: int
    touching: int


def tally(ordering: Ordering, scene: OrderedScene) -> Tally:
    """Count the pairs of one scene."""
    rank = np.argsort(ordering(scene.pixels, scene.masks))
    pairs = list(combinations(range(len(scene.masks)), 2))
    right = [bool(rank[far] < rank[near]) for far, near in pairs]
    touching = [scene.touching(far, near) for far, near in pairs]
    return Tally(
        right=sum(right),
        pairs=len(pairs),
        touching_right=sum(np.logical_and(right, touching)),
        touching=sum(touching),
    )


def share(right: Sequence[int], total: Sequence[int]) -> Figure:
    """Share of right pairs and its 95 % interval, by drawing scenes anew (bootstrap)."""
    rights, totals = np.array(right), np.array(total)
    drawn = np.random.default_rng(0).integers(len(rights), size=(2000, len(rights)))
    shares = rights[drawn].sum(axis=1) / totals[drawn].sum(axis=1)
    low, high = np.quantile(shares, [0.025, 0.975])
    value = rights.sum() / totals.sum()
    return Figure(value=float(value), low=float(low), high=float(high), unit="share")


def order_figures(*, scenes: int = 200, seed: int = 3) -> dict[str, Figure]:
    """For each ordering the share of pairs in the right order; half of the scenes stand, half lie
    free.

    `order_accuracy`: all pairs that can be told, that is those that stand and those that lie free
    and touch; then each kind alone. Free pairs that do not touch are mere chance.
    """
    scenery = Scenery(VALIDATION)
    standing, free = (
        list(scenery.scenes(arrangement, count=scenes // 2, seed=seed))
        for arrangement in (Arrangement.standing, Arrangement.free)
    )
    figures: dict[str, Figure] = {}
    for name, ordering in ORDERINGS.items():
        stood = [tally(ordering, scene) for scene in standing]
        lay = [tally(ordering, scene) for scene in free]
        figures |= {
            f"{name}order_accuracy": share(
                [each.right for each in stood] + [each.touching_right for each in lay],
                [each.pairs for each in stood] + [each.touching for each in lay],
            ),
            f"{name}order_accuracy_standing": _all(stood),
            f"{name}order_accuracy_standing_touching": _touching(stood),
            f"{name}order_accuracy_free": _all(lay),
            f"{name}order_accuracy_free_touching": _touching(lay),
        }
    return figures


def _all(tallies: Sequence[Tally]) -> Figure:
    return share([each.right for each in tallies], [each.pairs for each in tallies])


def _touching(tallies: Sequence[Tally]) -> Figure:
    return share([each.touching_right for each in tallies], [each.touching for each in tallies])


def main() -> None:
    """Measure, print."""
    for name, figure in order_figures().items():
        print(f"{name:45} {figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})")


if __name__ == "__main__":
    main()
