"""Photographs listed in a table: CSV or parquet, as LAION's lists are."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import parquet

from annotator.sources.entry import Entry, Extent, SourceError, one_line, unique_keys
from ldm.storage import Provenance

# What each column may be called, in small letters; capitals do not matter.
_NAMES = {
    "path": ("path", "file", "file_name", "image_path"),
    "caption": ("text", "caption"),
    "licence": ("license", "licence"),
    "source": ("url", "source"),
}

_Row = dict[str, Any]


def list_entries(table: Path) -> list[Entry]:
    """The pictures that a `.csv` (UTF-8, commas, a first line of names) or `.parquet` lists, in the
    order of their paths.

    Columns: `path` (or `file`, `file_name`, `image_path`), relative to the table's folder;
    optional: `TEXT` or `caption`, `LICENSE` or `licence`, `URL` or `source`. Of several rows for
    one path the first counts. Errors: `SourceError`, `OSError`.
    """
    rows: dict[str, _Row] = {}
    for row in _csv_rows(table) if table.suffix.lower() == ".csv" else _parquet_rows(table):
        rows.setdefault(str(row["path"] or ""), row)
    names = sorted(rows)
    keys = unique_keys(names)
    return [_entry(table, key, name, rows[name]) for key, name in zip(keys, names, strict=True)]


def _entry(table: Path, key: str, name: str, row: _Row) -> Entry:
    return Entry(
        key=key,
        name=one_line(name),
        extent=Extent(path=table.parent / name),
        caption=one_line(row.get("caption")),
        annotations=(),
        provenance=Provenance(
            source=one_line(row.get("source")) or one_line(name),
            licence=one_line(row.get("licence")),
            author="",
            note="",
        ),
    )


def _csv_rows(table: Path) -> Iterable[_Row]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            columns = _columns(table, reader.fieldnames or ())
            for row in reader:
                yield {meaning: row[column] for meaning, column in columns.items()}
    except (csv.Error, UnicodeDecodeError) as error:
        raise SourceError(f"{table}: is no CSV in UTF-8 ({one_line(error)})") from error


def _parquet_rows(table: Path) -> Iterable[_Row]:
    try:
        columns = _columns(table, parquet.read_schema(table).names)
        rows = parquet.read_table(table, columns=list(columns.values())).to_pylist()
    except pyarrow.ArrowException as error:
        raise SourceError(f"{table}: is no parquet file ({one_line(error)})") from error
    for row in rows:
        yield {meaning: row[column] for meaning, column in columns.items()}


def _columns(table: Path, found: Iterable[str]) -> dict[str, str]:
    """What each meaning's column is called in this table."""
    known = {name.lower(): name for name in found}
    columns = {
        meaning: known[name]
        for meaning, names in _NAMES.items()
        for name in reversed(names)
        if name in known
    }
    if "path" not in columns:
        expected = ", ".join(_NAMES["path"])
        raise SourceError(
            f"{table}: no column of paths (one of {expected}); found {', '.join(found) or 'none'}"
        )
    return columns
