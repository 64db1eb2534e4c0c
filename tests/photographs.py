"""Small photographs in memory and on disk, and whether they open to what they were."""

import io
import json
import pickle
import re
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from annotator.opening import Limits, Opened, open_picture, photograph
from annotator.refusal import PhotographError
from annotator.sources.entry import Entry

ANY_SIZE = Limits(long_side=1000, minimum_side=32)
LIMITS = Limits(long_side=64, minimum_side=8)
HEIGHT, WIDTH = 24, 32


def pixels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def png(seed: int, **options: Any) -> bytes:
    return encoded(Image.fromarray(pixels(seed)), "PNG", **options)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def opened(content: bytes, limits: Limits = ANY_SIZE) -> Opened:
    return open_picture(content, name="shelf/photo.jpg", limits=limits)


def refusal(content: bytes, limits: Limits = ANY_SIZE) -> PhotographError:
    """The refusal of a file that has to be refused, in one line that names it."""
    with pytest.raises(PhotographError, match=r"\Ashelf/photo\.jpg: [^\n]+\Z") as caught:
        opened(content, limits)
    return caught.value


def error(pixels: np.ndarray, truth: Image.Image) -> float:
    """Mean difference in levels; another size is no picture of it at all."""
    assert pixels.shape == np.asarray(truth).shape
    return float(np.abs(pixels.astype(float) - np.asarray(truth, dtype=float)).mean())


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
