"""Photographs -> shards of layers that tutorial_train.py reads.

    python tutorial_data.py photographs=[holiday] out=data/holiday
    python tutorial_data.py photographs=[coco] out=data/coco decomposer.segmenter=sam engine=ray
    python tutorial_data.py mine.yaml photographs=[laion.parquet] workers=8

The settings below can be given as `key=value`, over those of a YAML file that is named first. A run
that was stopped goes on where it was when the same command is given again; OUT/report.html shows
what was kept and what was refused.
"""

import hashlib
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from annotator.cluster import Cluster
from annotator.config import DataConfig, EngineKind
from annotator.exhibition import exhibits
from annotator.local import Local
from annotator.opening import Limits
from annotator.pipeline import Engine, run
from annotator.report import write_report
from annotator.shard import read_records, shard_paths
from annotator.sources.named import named_entries
from decomposing import Factory
from ldm.mistake import MistakeError
from ldm.settings import ConfigError, filled, one_line, read_yaml, words_of, yaml_of

# Settings
settings = DataConfig(
    photographs=[],
    out="data/pseudo_layers",
    engine=EngineKind.local,
    workers=2,
    shard_size=32,
    validation=0.1,
)


def main() -> None:
    """List the photographs, make the shards of both splits, write the report."""
    # Settings
    config = read_settings(sys.argv[1:])
    out, factory = Path(config.out), Factory(config=config.decomposer)
    engine: Engine = Local(workers=config.workers)
    if config.engine is EngineKind.ray:
        engine = Cluster(actors=config.workers, gpus=config.gpus)
    factory()  # What is missing is said here, not by every worker.

    # Photographs
    entries = named_entries([Path(name) for name in config.photographs])
    aside = kept_aside([entry.key for entry in entries], config.validation)
    splits = {
        "train": [entry for entry in entries if entry.key not in aside],
        "validation": [entry for entry in entries if entry.key in aside],
    }

    # Shards
    for split, chosen in splits.items():
        total = run(
            chosen,
            factory,
            out / split,
            engine=engine,
            settings=yaml_of(config.decomposer) + factory.history,
            shard_size=config.shard_size,
        )
        print(f"{out / split}: {total.kept} of {total.photographs} photographs kept")

    # Report
    shards = [path for split in splits for path in shard_paths(out / split)]
    records = [record for path in shards for record in read_records(path)]
    opening = Limits(long_side=config.decomposer.long_side)
    shown = exhibits(shards, entries, opening, most=24)
    title = f"Pseudo-layers of {', '.join(config.photographs)}"
    write_report(out / "report.html", title, records, shown)
    print(f"look at {out / 'report.html'}")


def read_settings(arguments: Sequence[str]) -> DataConfig:
    """The settings above, under those of a YAML file, under `key=value` words."""
    files = [word for word in arguments if "=" not in word]
    with one_line("arguments"):
        given = [read_yaml(Path(name)) for name in files]
        config = filled(settings, *given, words_of([word for word in arguments if "=" in word]))
    for name, value, least in (
        ("workers", config.workers, 1),
        ("shard_size", config.shard_size, 1),
        ("decomposer.num_regions", config.decomposer.num_regions, 1),
    ):
        if value < least:
            raise ConfigError(f"arguments: {name}: found {value}, expected {least} or more")
    if not 0 <= config.validation <= 1:
        raise ConfigError(f"arguments: validation: found {config.validation}, expected 0 to 1")
    return config


def kept_aside(keys: Sequence[str], share: float) -> set[str]:
    """A share of the keys, rounded up; which ones depends on nothing but the keys."""
    ranked = sorted(keys, key=lambda key: hashlib.sha256(key.encode()).digest())
    return set(ranked[: math.ceil(share * len(keys))])


if __name__ == "__main__":
    try:
        main()
    except (MistakeError, OSError) as error:
        sys.exit(f"error: {error}")
