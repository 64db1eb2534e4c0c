"""Photographs that lie in a folder, or one alone."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from annotator.sources.entry import SUFFIXES, Entry, Extent, one_line, unique_keys
from ldm.storage import Provenance


def folder_entries(folder: Path) -> list[Entry]:
    """The pictures in `folder` and all folders below it, in the order of their paths.

    A picture is known by its suffix; what is hidden (a name that begins with a dot) is skipped. The
    first line of a `.txt` beside a picture is its caption.
    """
    return _entries(folder, sorted(_names(folder)))


def file_entries(path: Path) -> list[Entry]:
    """The one picture at `path`; its caption as in a folder."""
    return _entries(path.parent, [path.name])


def _entries(folder: Path, names: list[str]) -> list[Entry]:
    return [
        Entry(
            key=key,
            name=one_line(name),
            extent=Extent(path=folder / name),
            caption=_caption(folder / name),
            annotations=(),
            provenance=Provenance(source=one_line(name), licence="", author="", note=""),
        )
        for key, name in zip(unique_keys(names), names, strict=True)
    ]


def _names(folder: Path) -> Iterator[str]:
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                yield PurePosixPath(parent, name).relative_to(folder).as_posix()


def _caption(picture: Path) -> str:
    try:
        with picture.with_suffix(".txt").open(encoding="utf-8", errors="replace") as stream:
            return one_line(stream.readline())
    except FileNotFoundError:
        return ""
