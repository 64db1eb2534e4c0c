"""`Ordering`: which regions of a photograph are far, which are near."""

from collections.abc import Sequence
from itertools import combinations, permutations
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, UInt8

from annotator.depth_cues import Cue, cues

_EXHAUSTIVE = 7
"""Up to so many regions all orders are compared (7! = 5040)."""

_WEIGHTS = {
    Cue.lowest: 6.98,
    Cue.centre: -0.50,
    Cue.contact: 1.39,
    Cue.area: 0.10,
    Cue.bulge: 6.29,
    Cue.junction: 9.52,
    Cue.whole: 1.79,
    Cue.unity: 2.20,
}
"""Log-odds per unit of each cue, fitted on 400 scenes of known order, made from the train split of
the default data; `python -m paper.ordering_weights` makes them."""


@runtime_checkable
class Ordering(Protocol):
    """Orders disjoint, non-empty regions: their indexes from far to near."""

    def __call__(
        self, pixels: UInt8[np.ndarray, "h w 3"], masks: Sequence[Bool[np.ndarray, "h w"]]
    ) -> list[int]: ...


class CueOrdering:
    """Orders by the regions' shapes and places (see `depth_cues`); needs no network's weights.

    The order is the most probable one under independent logistic judgements of all pairs. It
    depends on the regions only, not on the order in which they are given.
    """

    def __call__(
        self, pixels: UInt8[np.ndarray, "h w 3"], masks: Sequence[Bool[np.ndarray, "h w"]]
    ) -> list[int]:
        # Ties and rounding fall the same way, however the regions were numbered before.
        scan = sorted(range(len(masks)), key=lambda index: int(masks[index].argmax()))
        order = most_probable(logits(cues([masks[index] for index in scan])))
        return [scan[index] for index in order]


def logits(found: dict[Cue, Float[np.ndarray, "n n"]]) -> Float[np.ndarray, "n n"]:
    """At `[i, j]` the log-odds that region `i` is nearer than `j`; antisymmetric."""
    weighted = [_WEIGHTS[cue] * values for cue, values in found.items()]
    return np.sum(weighted, axis=0)


def most_probable(logits: Float[np.ndarray, "n n"]) -> list[int]:
    """Indexes from far to near: the order whose pairs' log-odds sum to the most.

    All orders are tried where there are few; otherwise regions are sorted by how many of the others
    they are expected to be nearer than (Borda's count of the probabilities).
    """
    count = len(logits)
    if count > _EXHAUSTIVE:
        nearer = 1 / (1 + np.exp(-logits))
        return np.argsort(nearer.sum(axis=1), kind="stable").tolist()
    orders = np.array(list(permutations(range(count))))
    scores = np.zeros(len(orders))
    for far, near in combinations(range(count), 2):
        scores += logits[orders[:, near], orders[:, far]]
    return orders[scores.argmax()].tolist()
