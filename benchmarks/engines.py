"""Photographs a minute through the pipeline: on one machine with one and two workers, over Ray with
one and two actors.

    python -m benchmarks.engines

Whole runs of the default parts on real photographs (`paper.photographs`), with the start of their
processes; engines take turns.
"""

import argparse
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median

from annotator.cluster import Cluster
from annotator.config import DecomposerConfig
from annotator.local import Local
from annotator.pipeline import Engine, run
from annotator.sources.entry import Entry
from benchmarks.timing import RESULTS, alternating, ratio
from decomposing import Factory
from paper.photographs import photographs
from paper.result import Figure, write_result

ENGINES: dict[str, Engine] = {
    "local_1": Local(workers=1),
    "local_2": Local(workers=2),
    "ray_1": Cluster(actors=1),
    "ray_2": Cluster(actors=2),
}


def throughput(
    entries: Sequence[Entry], factory: Factory, *, shard_size: int, rounds: int
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
    parser.add_argument("--photographs", type=int, default=24)
    parser.add_argument("--long-side", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    figures = throughput(
        photographs(Path("data/packages"))[: arguments.photographs],
        Factory(config=DecomposerConfig(long_side=arguments.long_side)),
        shard_size=4,
        rounds=arguments.rounds,
    )
    write_result(
        RESULTS / "engines.json",
        command=f"python -m benchmarks.engines --photographs {arguments.photographs}"
        f" --long-side {arguments.long_side} --rounds {arguments.rounds}",
        seed=0,
        scenes=arguments.photographs,
        figures=figures,
    )


if __name__ == "__main__":
    main()
