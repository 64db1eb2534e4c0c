"""Photographs with COCO's annotations: categories, outlines, captions, licences."""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float32

from annotator.sources.annotation import Annotation, Box, Outline, Runs
from annotator.sources.entry import Entry, Extent, SourceError, one_line, unique_keys
from ldm.storage import Provenance

_Row = Mapping[str, Any]
_Converted = TypeVar("_Converted")


def coco_entries(images: Path, instances: Path, captions: Path | None) -> list[Entry]:
    """The pictures that `instances` (JSON, COCO's object detection format) names below `images`, in
    the order of their paths, with what is marked in them.

    An annotation's shape is its `segmentation` (polygons or run lengths), else its `bbox`; crowds
    are skipped. A picture's caption is its first one in `captions` (COCO's captions format).
    Pictures that are not there are refused when they are opened. Errors: `SourceError`, `OSError`.
    """
    document = _Document.read(instances)
    licences = dict(document.converted("licenses", _licence)) if "licenses" in document.rows else {}
    pictures = dict(document.converted("images", lambda row: _picture(row, licences)))
    marks = _marks(document, pictures)
    sentences = _sentences(captions) if captions else {}
    order = sorted(pictures, key=lambda number: pictures[number].name)
    names = [f"{images.name}/{pictures[number].name}" for number in order]
    if len(set(names)) < len(names):
        raise SourceError(f"{instances}: two of the images have the same file_name")
    return [
        Entry(
            key=key,
            name=one_line(name),
            extent=Extent(path=images / pictures[number].name),
            caption=sentences.get(number, ""),
            annotations=tuple(marks[number]),
            provenance=pictures[number].provenance,
        )
        for key, name, number in zip(unique_keys(names), names, order, strict=True)
    ]


@dataclass(frozen=True, kw_only=True)
class _Picture:
    name: str
    height: int
    width: int
    provenance: Provenance


@dataclass(frozen=True, kw_only=True)
class _Document:
    """A COCO file: its tables of rows."""

    path: Path
    rows: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> "_Document":
        try:
            rows = json.loads(path.read_bytes())
        except ValueError as error:
            raise SourceError(f"{path}: is no JSON ({one_line(error)})") from error
        if not isinstance(rows, dict):
            raise SourceError(f"{path}: expected an object with 'images' and 'annotations'")
        return cls(path=path, rows=rows)

    def converted(self, table: str, convert: Callable[[_Row], _Converted]) -> list[_Converted]:
        """Every row of `table`, converted; what is wrong with a row is told with its place."""
        rows = self.rows.get(table)
        if not isinstance(rows, list):
            raise SourceError(f"{self.path}: lacks the list '{table}'")
        converted: list[_Converted] = []
        for index, row in enumerate(rows):
            place = f"{self.path}: {table}[{index}]"
            try:
                converted.append(convert(row))
            except KeyError as error:
                raise SourceError(f"{place} lacks {error}") from error
            except (TypeError, ValueError, AttributeError) as error:
                raise SourceError(f"{place}: {one_line(error)}") from error
        return converted


def _licence(row: _Row) -> tuple[Any, _Row]:
    return row["id"], row


def _picture(row: _Row, licences: Mapping[Any, _Row]) -> tuple[Any, _Picture]:
    name, height, width = str(row["file_name"]), int(row["height"]), int(row["width"])
    if min(height, width) < 1:
        raise ValueError(f"{width} x {height} pixels")
    licence = licences.get(row.get("license"), {})
    provenance = Provenance(
        source=one_line(row.get("flickr_url") or row.get("coco_url") or name),
        licence=one_line(licence.get("name")),
        author="",
        note=one_line(licence.get("url")),
    )
    return row["id"], _Picture(name=name, height=height, width=width, provenance=provenance)


def _sentences(captions: Path) -> dict[Any, str]:
    rows = _Document.read(captions).converted(
        "annotations", lambda row: (row["image_id"], one_line(row["caption"]))
    )
    # The first of a picture's captions is the one that stays.
    return dict(reversed(rows))


def _marks(
    document: _Document, pictures: Mapping[Any, _Picture]
) -> defaultdict[Any, list[Annotation]]:
    labels = dict(document.converted("categories", lambda row: (row["id"], one_line(row["name"]))))
    marks: defaultdict[Any, list[Annotation]] = defaultdict(list)

    def sort_in(row: _Row) -> None:
        number, category = row["image_id"], row["category_id"]
        if category not in labels:
            raise ValueError(f"category {category!r} is not in 'categories'")
        if number in pictures and not row.get("iscrowd"):
            marks[number].append(_annotation(row, labels[category], pictures[number]))

    document.converted("annotations", sort_in)
    return marks


def _annotation(row: _Row, label: str, picture: _Picture) -> Annotation:
    segmentation = row.get("segmentation") or []
    if isinstance(segmentation, Mapping):
        height, width = map(int, segmentation["size"])
        counts = segmentation["counts"]
        shape = Runs(
            counts=counts if isinstance(counts, str) else tuple(map(int, counts)),
            height=height,
            width=width,
        )
        return Annotation(label=label, shape=shape, height=height, width=width)
    height, width = picture.height, picture.width
    polygons = [_corners(numbers, height, width) for numbers in segmentation]
    # Fewer than three corners enclose nothing.
    outlines = tuple(corners for corners in polygons if len(corners) > 2)
    shape = Outline(polygons=outlines) if outlines else _box(row["bbox"], height, width)
    return Annotation(label=label, shape=shape, height=height, width=width)


def _corners(numbers: Any, height: int, width: int) -> Float32[np.ndarray, "_ 2"]:
    corners = np.asarray(numbers, np.float64).reshape(-1, 2) / (width, height)
    if not np.isfinite(corners).all():
        raise ValueError("a polygon's corner is not finite")
    return corners.astype(np.float32)


def _box(numbers: Any, height: int, width: int) -> Box:
    left, top, across, down = map(float, numbers)
    return Box(
        left=left / width,
        top=top / height,
        right=(left + across) / width,
        bottom=(top + down) / height,
    )
