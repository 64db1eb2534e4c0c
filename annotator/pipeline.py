"""Many photographs -> shards of layers: restartable at any moment, each sample exactly once."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable

from tqdm import tqdm

from annotator.maker import EntryT, Factory
from annotator.plan import occupied, plan
from annotator.shard import ShardMaker, Tally, Task, read_records, shard_path, shard_paths, tally


@runtime_checkable
class Engine(Protocol):
    """Makes shards in processes of its own, in any order; tries a shard again whose process
    dies.

    Yields what each shard holds as it is done. Errors: `WorkError` where the work cannot go on.
    """

    def __call__(
        self, tasks: Sequence[Task[EntryT]], build: Callable[[], ShardMaker[EntryT]]
    ) -> Iterator[Tally]: ...


def run(
    entries: Sequence[EntryT],
    factory: Factory[EntryT],
    out: Path,
    *,
    engine: Engine,
    settings: str,
    shard_size: int,
    threads: int = 1,
) -> Tally:
    """Fill `out` with the shards of all entries, those that are there already excepted; what they
    hold in all.

    `settings` is the text of all else that the samples depend on; `threads` are those of a worker's
    arithmetic. The bytes depend on nothing else: neither on the engine nor on when it was stopped.
    Errors: `PlanError` before anything is written, `WorkError` and `OSError`.
    """
    intended = plan(entries, settings=settings, shard_size=shard_size, threads=threads)
    with occupied(out, intended):
        todo = [task for task in _tasks(entries, shard_size) if not _done(out, task)]
        total = summary(out)
        build = partial(ShardMaker[EntryT], factory=factory, out=out.resolve(), threads=threads)
        with tqdm(total=len(entries), initial=total.photographs, unit="photo") as bar:
            for made in engine(todo, build):
                total += made
                bar.set_postfix(kept=total.kept, refused=total.refused, refresh=False)
                bar.update(made.photographs)
    return total


def summary(out: Path) -> Tally:
    """What the finished shards of a folder hold."""
    return tally(record for path in shard_paths(out) for record in read_records(path))


def _tasks(entries: Sequence[EntryT], size: int) -> Iterator[Task[EntryT]]:
    for index, start in enumerate(range(0, len(entries), size)):
        yield Task(index=index, entries=entries[start : start + size])


def _done(out: Path, task: Task[EntryT]) -> bool:
    return shard_path(out, task.index).exists()
