"""The weights of `annotator.ordering`'s cues, by logistic regression on scenes of known order:
`python -m paper.ordering_weights` prints them (after `make data`).
"""

from itertools import combinations
from pathlib import Path

import numpy as np
from jaxtyping import Float
from sklearn.linear_model import LogisticRegression

from annotator.depth_cues import Cue, cues
from paper.ordered_scenes import Arrangement, Scenery

TRAIN = Path("data/default/train")
SCENES, SEED = 200, 1
"""Scenes of each arrangement."""


def decidable_pairs(scenery: Scenery) -> Float[np.ndarray, "p c"]:
    """The cues of the truly nearer region against the farther one, of all pairs that can be told.

    Objects that are free and do not touch might have any order: they teach nothing.
    """
    rows: list[list[float]] = []
    for arrangement in Arrangement:
        for scene in scenery.scenes(arrangement, count=SCENES, seed=SEED):
            found = cues(scene.masks)
            rows += [
                [found[cue][near, far] for cue in Cue]
                for far, near in combinations(range(len(scene.masks)), 2)
                if arrangement is Arrangement.standing or scene.touching(far, near)
            ]
    return np.array(rows)


def main() -> None:
    """Fit, print."""
    pairs = decidable_pairs(Scenery(TRAIN))
    scale = pairs.std(axis=0)
    # Seen from the other side every pair teaches the opposite; so there is no intercept.
    both = np.concatenate([pairs, -pairs]) / scale
    nearer = np.repeat([1, 0], len(pairs))
    found = LogisticRegression(fit_intercept=False).fit(both, nearer).coef_[0] / scale
    print(f"{len(pairs)} pairs")
    for cue, weight in zip(Cue, found, strict=True):
        print(f"    Cue.{cue.name}: {weight:.2f},")


if __name__ == "__main__":
    main()
