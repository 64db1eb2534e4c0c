"""Photographs in webdataset shards: `KEY.jpg`, `KEY.txt` and `KEY.json` side by side in a tar."""

import json
import os
import tarfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from webdataset.tariterators import base_plus_ext

from annotator.sources.entry import Entry, Extent, SourceError, one_line, unique_keys
from ldm.storage import DamagedShardWarning, Provenance

_PICTURES = ("jpg", "jpeg", "png", "webp")

_Files = Mapping[str, Extent]


def shard_entries(tars: Sequence[Path]) -> list[Entry]:
    """The pictures in uncompressed tars, in the order of their paths; nothing is unpacked.

    A caption is `KEY.txt`, or `caption` in `KEY.json`, which may also tell `url`, `license` and
    `author`. What cannot be read in a damaged tar is left out, and a `DamagedShardWarning` names
    it. Errors: `SourceError` for what is no tar at all, `OSError`.
    """
    damage: list[str] = []
    root = os.path.commonpath([tar.absolute().parent for tar in tars])
    samples = {
        Path(os.path.relpath(tar.with_suffix(""), root), base).as_posix(): files
        for tar in tars
        for base, files in _samples(tar, damage).items()
        if any(kind in files for kind in _PICTURES)
    }
    names = sorted(samples)
    entries = [
        _entry(key, name, samples[name], damage)
        for key, name in zip(unique_keys(names), names, strict=True)
    ]
    if damage:
        text = f"left out {len(damage)} damaged: {'; '.join(damage)}"
        warnings.warn(text, DamagedShardWarning, stacklevel=2)
    return entries


def _entry(key: str, name: str, files: _Files, damage: list[str]) -> Entry:
    name = one_line(name)
    extent = next(files[kind] for kind in _PICTURES if kind in files)
    about = _about(name, files, damage)
    caption = _text(files["txt"]) if "txt" in files else about.get("caption")
    return Entry(
        key=key,
        name=name,
        extent=extent,
        caption=one_line(caption),
        annotations=(),
        provenance=Provenance(
            source=one_line(about.get("url")) or name,
            licence=one_line(about.get("license")),
            author=one_line(about.get("author")),
            note="",
        ),
    )


def _about(name: str, files: _Files, damage: list[str]) -> dict[str, Any]:
    try:
        about = json.loads(_text(files["json"])) if "json" in files else {}
    except ValueError as error:
        damage.append(f"{name}.json ({one_line(error)})")
        return {}
    return about if isinstance(about, dict) else {}


def _text(extent: Extent) -> str:
    return extent.read().decode("utf-8", "replace")


def _samples(tar: Path, damage: list[str]) -> dict[str, dict[str, Extent]]:
    """The files in a tar, by what stands before the first dot, then by what stands after it."""
    samples: dict[str, dict[str, Extent]] = {}
    for name, extent in _members(tar, damage):
        base, kind = base_plus_ext(name)
        if base and kind:
            samples.setdefault(base, {})[kind.lower()] = extent
    return samples


def _members(tar: Path, damage: list[str]) -> Iterator[tuple[str, Extent]]:
    try:
        archive = tarfile.open(tar, "r:")  # noqa: SIM115
    except tarfile.TarError as error:
        raise SourceError(f"{tar}: is no uncompressed tar ({one_line(error)})") from error
    size = tar.stat().st_size
    with archive:
        try:
            for member in archive:
                if member.offset_data + member.size > size:
                    damage.append(f"{tar.name}: {one_line(member.name)} is cut off")
                    return
                if member.isfile():
                    yield (
                        member.name,
                        Extent(path=tar, offset=member.offset_data, length=member.size),
                    )
        except tarfile.TarError as error:
            damage.append(f"{tar.name}: ends too early ({one_line(error)})")
        else:
            # A header that is broken ends the listing as silently as the closing block.
            closing = Extent(path=tar, offset=archive.offset, length=tarfile.BLOCKSIZE).read()
            if closing != bytes(tarfile.BLOCKSIZE):
                damage.append(f"{tar.name}: what lies beyond byte {archive.offset}")
