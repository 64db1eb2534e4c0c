"""Photographs a minute through the pipeline: on one machine with one and two workers, over Ray with
one and two actors.

    python -m benchmarks.pseudo_layers

Whole runs, with the start of their processes; engines take turns. Until the maker of pseudo-layers
is given, one stands in that blurs for a fixed number of rounds: it shows what the engines cost.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import cv2
import numpy as np

from annotator.cluster import Cluster
from annotator.local import Local
from annotator.maker import EntryT, Factory, Made, Record
from annotator.pipeline import Engine, run
from benchmarks.timing import RESULTS, alternating, ratio
from ldm.storage import Provenance, Sample, StoredLayer
from paper.result import Figure, write_result

ENGINES: dict[str, Engine] = {
    "local_1": Local(workers=1),
    "local_2": Local(workers=2),
    "ray_1": Cluster(actors=1),
    "ray_2": Cluster(actors=2),
}


@dataclass(frozen=True, kw_only=True)
class Key:
    """An entry that is nothing but its key."""

    key: str


@dataclass(frozen=True, kw_only=True)
class Blurring:
    """Stands in for a maker: as many blurs of a picture of noise, about 3 ms each."""

    blurs: int

    def __call__(self, entry: Key) -> Made:
        rgba = np.random.default_rng(int(entry.key)).integers(0, 256, (256, 256, 4), np.uint8)
        for _ in range(self.blurs):
            rgba = cv2.GaussianBlur(rgba, (31, 31), 5)
        provenance = Provenance(source=entry.key, licence="CC0", author="chance", note="")
        layer = StoredLayer(rgba=rgba, prompt="noise", provenance=provenance)
        sample = Sample(key=entry.key, layers=(layer,), tags=())
        return Made(sample=sample, record=Record(key=entry.key, refusals=(), figures={}))


@dataclass(frozen=True, kw_only=True)
class BlurringFactory:
    """Builds the stand-in."""

    blurs: int

    def __call__(self) -> Callable[[Key], Made]:
        return Blurring(blurs=self.blurs)


def throughput(
    entries: Sequence[EntryT], factory: Factory[EntryT], *, shard_size: int, rounds: int
) -> dict[str, Figure]:
    """Photographs a minute by each engine, and what the second worker and Ray bring."""

    def whole_run(engine: Engine) -> None:
        with tempfile.TemporaryDirectory() as out:
            run(entries, factory, Path(out), engine=engine, settings="", shard_size=shard_size)

    steps = {name: partial(whole_run, engine) for name, engine in ENGINES.items()}
    taken = alternating(steps, rounds)
    rates = {name: [60 * len(entries) / t for t in seconds] for name, seconds in taken.items()}
    return {
        "local_2_vs_local_1": ratio(rates["local_2"], rates["local_1"]),
        "ray_2_vs_ray_1": ratio(rates["ray_2"], rates["ray_1"]),
        "ray_2_vs_local_2": ratio(rates["ray_2"], rates["local_2"]),
    } | {
        name: Figure(value=median(each), low=min(each), high=max(each), unit="photographs/min")
        for name, each in rates.items()
    }


def main() -> None:
    """Measure the engines, write one result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--photographs", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--blurs", type=int, default=150, help="work of the stand-in")
    arguments = parser.parse_args()
    figures = throughput(
        [Key(key=str(number)) for number in range(arguments.photographs)],
        BlurringFactory(blurs=arguments.blurs),
        shard_size=8,
        rounds=arguments.rounds,
    )
    write_result(
        RESULTS / "pseudo_layers.json",
        command=f"python -m benchmarks.pseudo_layers --photographs {arguments.photographs}"
        f" --rounds {arguments.rounds} --blurs {arguments.blurs}",
        seed=0,
        scenes=arguments.photographs,
        figures=figures,
    )


if __name__ == "__main__":
    main()
