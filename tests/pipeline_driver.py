"""A run of the pipeline in a process of its own, to be killed: FOLDER local|ray."""

import sys
from pathlib import Path

from stand_ins import Deed, DrawingFactory

from annotator.cluster import Cluster
from annotator.local import Local
from annotator.pipeline import run

# Two dozen in shards of three: what lies between two shards is met as often as what lies within.
DEEDS = [Deed(key=f"drawing-{i:02d}", befalls="error" if i % 7 == 3 else "") for i in range(24)]


def fill(out: Path, engine: str) -> None:
    """Fill a folder with drawings that take 50 ms each."""
    run(
        DEEDS,
        DrawingFactory(seconds=0.05),
        out,
        engine=Local(workers=2) if engine == "local" else Cluster(actors=2),
        settings="",
        shard_size=3,
    )


if __name__ == "__main__":
    fill(Path(sys.argv[1]), sys.argv[2])
