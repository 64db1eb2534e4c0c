"""Photographs with COCO's annotations: categories, outlines, captions, licences."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from annotator.sources.annotation import Annotation, Box, Outline, Runs
from annotator.sources.entry import Entry, Extent, SourceError, one_line, unique_keys
from ldm.storage import Provenance

_Row = Mapping[str, Any]


def coco_entries(images: Path, instances: Path, captions: Path | None) -> list[Entry]:
    """The pictures that `instances` (JSON, COCO's object detection format) names below `images`, in
    the order of their paths, with what is marked in them.

    An annotation's shape is its `segmentation` (polygons or run lengths), else its `bbox`; crowds
    are skipped. A picture's caption is its first one in `captions` (COCO's captions format).
    Pictures that are not there are refused when they are opened. Errors: `SourceError`, `OSError`.
    """
    document = _Document(instances)
    labels = {row["id"]: one_line(row["name"]) for row in document.rows("categories", "id", "name")}
    licences = {row["id"]: row for row in document.optional("licenses")}
    sentences = _sentences(captions) if captions else {}
    pictures: dict[str, _Row] = {}
    for row in document.rows("images", "id", "file_name", "height", "width"):
        pictures.setdefault(str(row["file_name"]), row)
