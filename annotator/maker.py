"""`Maker`: turns one entry of a list of photographs into a sample, or refuses it and says why."""

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

from annotator.record import Record, Refusal
from ldm.storage import Sample


class Accident(StrEnum):
    """Names of the refusals that no maker means: it raised an error, or it took its process
    along."""

    FAILED = "failed"
    CRASHED = "crashed"


@runtime_checkable
class Entry(Protocol):
    """A photograph on a list, not yet opened: picklable; `key` is unique in the list, `name` is
    what people call it."""

    @property
    def key(self) -> str: ...

    @property
    def name(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Made:
    """A sample and its record; no sample where the record holds refusals."""

    sample: Sample | None
    record: Record


EntryT = TypeVar("EntryT", bound=Entry)
Asked = TypeVar("Asked", bound=Entry, contravariant=True)


@runtime_checkable
class Maker(Protocol[Asked]):
    """Makes the sample of an entry; equal entries give equal samples and records, in any process.

    May raise any `Exception`: it is noted as the refusal `Accident.FAILED` of that entry.
    """

    def __call__(self, entry: Asked, /) -> Made: ...


# Picklable, and importable by name from a process of its own.
Factory = Callable[[], Maker[EntryT]]


def attempt(maker: Maker[EntryT], entry: EntryT) -> Made:
    """What the maker makes of the entry; an error that it raises becomes a refusal."""
    try:
        return maker(entry)
    except Exception as error:
        return refused(entry, Accident.FAILED, _place(error))


def refused(entry: Entry, accident: Accident, text: str) -> Made:
    """No sample, and one reason."""
    refusal = Refusal(name=accident.value, text=text)
    record = Record(key=entry.key, source=entry.name, refusals=(refusal,), figures={})
    return Made(sample=None, record=record)


def _place(error: Exception) -> str:
    """One line: the error, and the line of code that raised it."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words} ({Path(last.filename).name}:{last.lineno})"
