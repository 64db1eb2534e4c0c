"""One sample of layers <-> webdataset shard; the only reader and writer.

A shard is a tar. Each sample is `KEY.json` (prompts, provenance, tags) and one lossless
`KEY.layerNN.png` for each layer, the back first. Colours under alpha 0 are kept.
"""

import json
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8
from webdataset.tariterators import group_by_keys, tar_file_expander
from webdataset.writer import TarWriter

_KEY = re.compile(r"[A-Za-z0-9_-]+")


class DamagedShardWarning(UserWarning):
    """Parts of a shard could not be read and were skipped."""


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where a layer's pixels come from: a place to find them again, licence, author, a note."""

    source: str
    licence: str
    author: str
    note: str


@dataclass(frozen=True, kw_only=True)
class StoredLayer:
    """One layer as it lies on disk: straight alpha, sRGB, 0..255; its prompt and provenance."""

    rgba: UInt8[np.ndarray, "h w 4"]
    prompt: str
    provenance: Provenance


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Layers that belong together, layer 0 at the back.

    `key` names the sample within its shard: letters, digits, `_` and `-`.
    """

    key: str
    layers: tuple[StoredLayer, ...]
    tags: tuple[str, ...]


def write_shard(path: Path, samples: Iterable[Sample]) -> int:
    """Write the samples to a tar at `path`, replacing it whole or not at all; the number written.

    Equal samples give equal bytes. Errors: `ValueError` for a key that is malformed or used twice.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    keys: set[str] = set()
    try:
        # Times and owners are fixed, so that a shard's bytes depend on its samples only.
        with temporary.open("wb") as stream, TarWriter(stream, mtime=0, encoder=False) as tar:
            for sample in samples:
                _check_key(sample.key, keys)
                tar.write(_packed(sample))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return len(keys)


def read_shard(path: Path) -> Iterator[Sample]:
    """Yield the samples of the tar at `path` in their order.

    What is damaged is skipped; at the end one `DamagedShardWarning` counts and names it.
    Errors: `OSError` when there is no such file.
    """
    damage: list[str] = []

    def note(error: Exception) -> bool:
        damage.append(f"the tar itself ({_reason(error)})")
        return False

    with path.open("rb") as stream:
        files = tar_file_expander([{"url": str(path), "stream": stream}], handler=note)
        for packed in group_by_keys(files, handler=note):
            try:
                yield _unpacked(packed)
            except (ValueError, KeyError, TypeError, cv2.error) as error:
                damage.append(f"{packed['__key__']} ({_reason(error)})")
    if damage:
        text = f"{path}: skipped {len(damage)} damaged: {'; '.join(damage)}"
        warnings.warn(text, DamagedShardWarning, stacklevel=2)


def _check_key(key: str, used: set[str]) -> None:
    if not _KEY.fullmatch(key):
        raise ValueError(f"sample key {key!r}: only letters, digits, _ and - are allowed")
    if key in used:
        raise ValueError(f"sample key {key!r} is used twice in one shard")
    used.add(key)


def _packed(sample: Sample) -> dict[str, str | bytes]:
    about = {
        "layers": [
            {"prompt": layer.prompt, "provenance": asdict(layer.provenance)}
            for layer in sample.layers
        ],
        "tags": list(sample.tags),
    }
    text = json.dumps(about, ensure_ascii=False, sort_keys=True)
    pictures = {_layer_name(i): _png(layer.rgba) for i, layer in enumerate(sample.layers)}
    return {"__key__": sample.key, "json": text.encode(), **pictures}


def _unpacked(packed: Mapping[str, Any]) -> Sample:
    about = json.loads(packed["json"])
    layers = tuple(
        StoredLayer(
            rgba=_pixels(packed[_layer_name(index)]),
            prompt=str(layer["prompt"]),
            provenance=Provenance(**{key: str(text) for key, text in layer["provenance"].items()}),
        )
        for index, layer in enumerate(about["layers"])
    )
    if not layers:
        raise ValueError("no layers")
    return Sample(
        key=str(packed["__key__"]), layers=layers, tags=tuple(str(tag) for tag in about["tags"])
    )


def _layer_name(index: int) -> str:
    return f"layer{index:02d}.png"


def _png(rgba: UInt8[np.ndarray, "h w 4"]) -> bytes:
    return cv2.imencode(".png", cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGRA))[1].tobytes()


def _pixels(png: bytes) -> UInt8[np.ndarray, "h w 4"]:
    bgra = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    if bgra is None or bgra.dtype != np.uint8 or bgra.ndim != 3 or bgra.shape[2] != 4:
        raise ValueError("not a PNG with four channels of 8 bits")
    return cv2.cvtColor(bgra, cv2.COLOR_BGRA2RGBA)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error.args[0] if error.args else error}"
