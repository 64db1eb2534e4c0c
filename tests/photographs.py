"""Small photographs on disk, and whether what is listed opens to them."""

import io
import json
import pickle
import re
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from annotator.opening import Limits, photograph
from annotator.sources.entry import Entry

LIMITS = Limits(long_side=64, minimum_side=8)
HEIGHT, WIDTH = 24, 32


def pixels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def png(seed: int, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels(seed)).save(stream, "PNG", **options)
    return stream.getvalue()


def store(root: Path, files: dict[str, Any]) -> Path:
    """Write bytes, texts, and as JSON whatever else there is."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return root


def pack(path: Path, files: dict[str, bytes]) -> Path:
    """A tar of the files, in their order."""
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def check_opens(entries: list[Entry], *seeds: int) -> None:
    """Sent to another process, each entry opens to the picture of its seed, under its own key."""
    assert len({entry.key for entry in entries}) == len(entries) == len(seeds)
    for entry, seed in zip(pickle.loads(pickle.dumps(entries)), seeds, strict=True):
        opened = photograph(entry, LIMITS)
        assert np.array_equal(opened.pixels, pixels(seed))
        assert re.fullmatch(r"[A-Za-z0-9_-]+", opened.key)
        assert opened.provenance.source
