"""Crumbs: connected parts of a partition that are too small to stand alone."""

import numpy as np
from jaxtyping import Bool, Int
from skimage.measure import label


def without_crumbs(index: Int[np.ndarray, "h w"], *, least: float) -> Int[np.ndarray, "h w"]:
    """The partition with every connected part of fewer than `least` pixels given to that neighbour
    (a value of `index`) which holds most of its rim; parts are connected along pixels' sides.

    Specks vanish and holes fill alike. Unchanged where no part is large enough to take the rest.
    """
    while True:
        parts = np.asarray(label(index, background=-1, connectivity=1), np.int64) - 1
        crumb = np.less(np.bincount(parts.ravel()), least)
        rim = _rims(parts, crumb, index)
        taken = np.asarray(rim.any(axis=1))
        if not taken.any():
            return index
        index = np.where(taken[parts], rim.argmax(axis=1)[parts], index)


def _rims(
    parts: Int[np.ndarray, "h w"], crumb: Bool[np.ndarray, " p"], index: Int[np.ndarray, "h w"]
) -> Int[np.ndarray, "p v"]:
    """How many pixel sides each crumb shares with each value of `index`, crumbs not counted."""
    rims = np.zeros((len(crumb), int(index.max()) + 1), np.int64)
    for one, other in (
        (np.s_[1:, :], np.s_[:-1, :]),
        (np.s_[:-1, :], np.s_[1:, :]),
        (np.s_[:, 1:], np.s_[:, :-1]),
        (np.s_[:, :-1], np.s_[:, 1:]),
    ):
        met = crumb[parts[one]] & ~crumb[parts[other]]
        np.add.at(rims, (parts[one][met], index[other][met]), 1)
    return rims
