"""`Cluster`: the pipeline over Ray Data, on one machine or on all those of `RAY_ADDRESS`."""

import logging
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, cast

from annotator.maker import EntryT
from annotator.shard import ShardMaker, Tally, Task
from annotator.worker import WorkError

# Ray's own tasks need room beside the actors: two actors of a whole processor each would wait for
# ever on two processors.
_PROCESSORS = 0.5
# Only lists of entries and counts pass through Ray; pictures are read and written by the actors.
_STORE_BYTES = 2**28


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """An engine of `actors` Ray actors, each with a maker of its own and `gpus` GPUs (a share,
    where several fit into one).

    The folder of shards is one that all machines see under the same path. Errors: `WorkError` where
    Ray is not installed.
    """

    actors: int
    gpus: float = 0.0

    def __post_init__(self) -> None:
        if find_spec("ray") is None:
            raise WorkError("Ray is not installed: pip install -e '.[cluster]'")

    def __call__(
        self, tasks: Sequence[Task[EntryT]], build: Callable[[], ShardMaker[EntryT]]
    ) -> Iterator[Tally]:
        """One row of a data set for each shard; Ray tries those again whose actor dies."""
        if not tasks:
            return
        import ray.data

        with _session():
            rows = ray.data.from_items(
                [{"task": task} for task in tasks], override_num_blocks=len(tasks)
            )
            made = rows.map(
                cast(Any, _Actor),
                fn_constructor_args=(build,),
                concurrency=min(self.actors, len(tasks)),
                num_cpus=_PROCESSORS,
                num_gpus=self.gpus,
            )
            for row in made.iter_rows():
                answer: Tally | str = row["answer"]
                if isinstance(answer, str):
                    raise WorkError(answer)
                yield answer


class _Actor:
    """Makes shards in a process of Ray's."""

    def __init__(self, build: Callable[[], ShardMaker[Any]]) -> None:
        self._make = build()

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Ray would wrap an error into pages of traceback: it goes back as a line of text."""
        try:
            return {"answer": self._make(row["task"])}
        except Exception as error:
            return {"answer": f"{type(error).__name__}: {error}"}


@contextmanager
def _session() -> Generator[None, None, None]:
    """Ray, silent: joined where `RAY_ADDRESS` says, else begun on this machine and ended after."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
    import ray.data

    address = os.environ.get("RAY_ADDRESS")
    try:
        ray.init(
            address=address or "local",
            include_dashboard=None if address else False,
            object_store_memory=None if address else _STORE_BYTES,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except ConnectionError:
        raise WorkError(
            f"RAY_ADDRESS={address}: no cluster answers (one with tokens wants RAY_AUTH_MODE=token)"
        ) from None
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    try:
        yield
    finally:
        ray.shutdown()
