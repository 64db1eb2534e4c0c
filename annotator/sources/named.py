"""What a user names, a folder, a table or shards -> the entries that it lists."""

from collections import Counter
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from annotator.sources.coco import coco_entries
from annotator.sources.entry import SUFFIXES, Entry, SourceError
from annotator.sources.folder import file_entries, folder_entries
from annotator.sources.shard import shard_entries
from annotator.sources.table import list_entries

_EXPECTED = "a folder, a COCO folder, a .csv or .parquet list, .tar shards or a picture"


def named_entries(paths: Sequence[Path]) -> list[Entry]:
    """List the photographs of what is named: one folder (of pictures, of shards, or COCO's with
    `annotations/instances*.json`), one `.csv` or `.parquet`, one picture, or any number of tars.

    Errors: `SourceError` for anything else and where nothing is listed, `OSError`.
    """
    entries = _listed(paths)
    if not entries:
        raise SourceError(f"{_joined(paths)}: holds no photographs")
    return entries


def _listed(paths: Sequence[Path]) -> list[Entry]:
    if paths and all(path.suffix.lower() == ".tar" and path.is_file() for path in paths):
        return shard_entries(paths)
    if len(paths) != 1:
        raise SourceError(f"{_joined(paths)}: expected {_EXPECTED}")
    [path] = paths
    if path.is_dir():
        return _in_folder(path)
    if not path.exists():
        raise SourceError(f"{path}: does not exist")
    if path.suffix.lower() in (".csv", ".parquet"):
        return list_entries(path)
    if path.suffix.lower() in SUFFIXES:
        return file_entries(path)
    raise SourceError(f"{path}: expected {_EXPECTED}")


def _in_folder(folder: Path) -> list[Entry]:
    if annotated := sorted(folder.glob("annotations/instances*.json")):
        return _together([_coco_split(folder, instances) for instances in annotated])
    if tars := sorted(folder.glob("*.tar")):
        return shard_entries(tars)
    return folder_entries(folder)


def _coco_split(folder: Path, instances: Path) -> list[Entry]:
    """The pictures of `annotations/instances_NAME.json` lie in `NAME`, `images/NAME` or `images`
    beside `annotations`; their captions in `captions_NAME.json`."""
    name = instances.stem.removeprefix("instances").lstrip("_")
    places = [folder / name, folder / "images" / name, folder / "images"]
    # Without a NAME the first place would be the folder itself.
    images = next((place for place in places if place != folder and place.is_dir()), None)
    if images is None:
        expected = ", ".join(str(place) for place in places if place != folder)
        raise SourceError(f"{instances}: no folder of its pictures ({expected})")
    captions = instances.with_name(instances.name.replace("instances", "captions", 1))
    return coco_entries(images, instances, captions if captions.is_file() else None)


def _together(splits: Sequence[list[Entry]]) -> list[Entry]:
    entries = sorted(chain.from_iterable(splits), key=lambda entry: entry.name)
    uses = Counter(entry.key for entry in entries)
    twice = [entry.name for entry in entries if uses[entry.key] > 1]
    if twice:
        raise SourceError(f"{twice[0]}: is listed by more than one of the annotation files")
    return entries


def _joined(paths: Sequence[Path]) -> str:
    return ", ".join(map(str, paths)) or "nothing named"
