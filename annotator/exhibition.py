"""What a report shows of a finished run: some that were kept, some that were refused."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from annotator.opening import Limits, photograph
from annotator.record import Record
from annotator.refusal import PhotographError
from annotator.report import Exhibit
from annotator.shard import read_records
from annotator.sources.entry import Entry
from ldm.storage import read_shard


def exhibits(
    shards: Sequence[Path], entries: Sequence[Entry], limits: Limits, *, most: int
) -> list[Exhibit]:
    """The first `most` photographs that were kept, with their layers, and the first `most` that
    were refused and can be opened."""
    listed = {entry.key: entry for entry in entries}
    records = {record.key: record for path in shards for record in read_records(path)}
    kept = islice(_kept(shards, records, listed, limits), most)
    return [*kept, *islice(_refused(records, listed, limits), most)]


def _kept(
    shards: Sequence[Path],
    records: Mapping[str, Record],
    listed: Mapping[str, Entry],
    limits: Limits,
) -> Iterator[Exhibit]:
    for path in shards:
        for sample in read_shard(path):
            yield Exhibit(
                record=records[sample.key],
                photograph=photograph(listed[sample.key], limits).pixels,
                layers=tuple(layer.rgba for layer in sample.layers),
            )


def _refused(
    records: Mapping[str, Record], listed: Mapping[str, Entry], limits: Limits
) -> Iterator[Exhibit]:
    for record in records.values():
        if not record.kept:
            try:
                opened = photograph(listed[record.key], limits)
            except PhotographError:
                continue
            yield Exhibit(record=record, photograph=opened.pixels, layers=())
