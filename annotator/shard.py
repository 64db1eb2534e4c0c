"""One shard of samples: the unit of work, made whole or not at all, with the records beside it.

`shard-000012.tar` holds the samples that were kept, `shard-000012.jsonl` the records of all
entries.
The records are written first, so that a tar that exists is a shard that is done.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Generic

import cv2
import torch
from threadpoolctl import threadpool_limits

from annotator.maker import (
    Accident,
    EntryT,
    Factory,
    Made,
    Maker,
    attempt,
    refused,
)
from annotator.record import Record
from annotator.worker import Worker, WorkerDiedError, WorkError
from ldm.storage import Sample, write_shard

# Deaths of a shard's process before each entry gets a process of its own, then until we give up.
PATIENCE, LIMIT = 2, 6


@dataclass(frozen=True, kw_only=True)
class Task(Generic[EntryT]):
    """The entries of one shard, and its number."""

    index: int
    entries: Sequence[EntryT]


@dataclass(frozen=True, kw_only=True)
class Tally:
    """How many photographs were looked at and kept, and how often each refusal was pronounced; a
    photograph may be refused for several reasons."""

    photographs: int = 0
    kept: int = 0
    refusals: Counter[str]

    @property
    def refused(self) -> int:
        """Photographs that gave no sample."""
        return self.photographs - self.kept

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            photographs=self.photographs + other.photographs,
            kept=self.kept + other.kept,
            refusals=self.refusals + other.refusals,
        )


@dataclass(frozen=True, kw_only=True)
class ShardMaker(Generic[EntryT]):
    """Makes shards into the folder `out`, in any process: where the same shard's process died twice
    before, each entry is made in a process of its own, and those that kill it are refused."""

    factory: Factory[EntryT]
    out: Path
    threads: int

    def __call__(self, task: Task[EntryT]) -> Tally:
        """Make the shard, unless it is there; count what it holds.

        Errors: `OSError` where it cannot be written, `WorkError` where its process dies again and
        again, what the factory raises.
        """
        path = shard_path(self.out, task.index)
        if not path.exists():
            tries = path.with_name(f".{path.name}.tries.tmp")
            write_shard(path, self._samples(task, path, make=self._way(tries)))
            tries.unlink(missing_ok=True)
        return tally(read_records(path))

    def _way(self, tries: Path) -> Callable[[EntryT], Made]:
        """All in this process, or each in its own: a file counts the tries, as those that died left
        no other trace."""
        with tries.open("ab") as stream:
            stream.write(b".")
            before = stream.tell() - 1
        if before >= LIMIT:
            raise WorkError(f"{tries.name}: its process died {before} times")
        if before >= PATIENCE:
            return partial(alone, partial(_single, self.factory, self.threads))
        return partial(attempt, self._maker)

    def _samples(
        self, task: Task[EntryT], path: Path, make: Callable[[EntryT], Made]
    ) -> Iterator[Sample]:
        records: list[Record] = []
        for entry in task.entries:
            made = make(entry)
            records.append(made.record)
            if made.sample is not None:
                yield made.sample
        # The tar gets its name when this ends: its records stand by then.
        replace_text(path.with_suffix(".jsonl"), _records_text(records))

    @cached_property
    def _maker(self) -> Maker[EntryT]:
        return _built(self.factory, self.threads)


def shard_path(out: Path, index: int) -> Path:
    """Where a shard lies."""
    return out / f"shard-{index:06d}.tar"


def shard_paths(out: Path) -> list[Path]:
    """The shards that are done, in their order."""
    return sorted(out.glob("shard-*.tar"))


def read_records(shard: Path) -> list[Record]:
    """The records of all entries of a shard, in their order."""
    lines = shard.with_suffix(".jsonl").read_text(encoding="utf-8").splitlines()
    return [Record.from_json(line) for line in lines]


def tally(records: Iterable[Record]) -> Tally:
    """Count what became of the entries."""
    refusals = [[refusal.name for refusal in record.refusals] for record in records]
    return Tally(
        photographs=len(refusals),
        kept=refusals.count([]),
        refusals=Counter(name for names in refusals for name in names),
    )


def replace_text(path: Path, text: str) -> None:
    """Write a file whole or not at all; unlike that of `draft`, the temporary name tells whose it
    is, so that the next run can take it away where this one is killed."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def alone(build: Callable[[], Callable[[EntryT], Made]], entry: EntryT) -> Made:
    """What becomes of an entry in a new process; refused if it takes that along, twice."""
    how = ""
    for _ in range(PATIENCE):
        with closing(Worker(build)) as worker:
            try:
                worker.receive()
            except WorkerDiedError as death:
                raise WorkError(f"a process died while it built the maker ({death})") from death
            worker.send(entry)
            try:
                made = worker.receive()
                assert made is not None
                return made
            except WorkerDiedError as death:
                how = str(death)
    return refused(entry, Accident.CRASHED, f"its process died: {how}")


def _single(factory: Factory[EntryT], threads: int) -> Callable[[EntryT], Made]:
    return partial(attempt, _built(factory, threads))


def _built(factory: Factory[EntryT], threads: int) -> Maker[EntryT]:
    """A maker whose arithmetic is split among as many threads on any machine: the last bits of sums
    depend on it."""
    maker = factory()
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    # For the libraries of linear algebra that are loaded by now.
    threadpool_limits(limits=threads)
    return maker


def _records_text(records: Sequence[Record]) -> str:
    return "".join(record.to_json() + "\n" for record in records)
