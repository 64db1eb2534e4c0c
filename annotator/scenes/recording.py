"""Rendered scenes <-> webdataset shards; the only reader and writer of them.

A shard is a tar. A scene is `KEY.json`, its staging, and lossless pictures of where its light
goes; an edit has those of before and of after. Pictures hold roots of light, since roots of light
are what is seen of it, so that 8 bits suffice.
"""

import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor
from webdataset.tariterators import group_by_keys, tar_file_expander
from webdataset.writer import TarWriter

from annotator.scenes.script import edit_text, read_edit, read_staging, staging_text
from annotator.scenes.staging import Edit, Staging
from annotator.scenes.transport import Transport
from ldm.export.draft import draft
from ldm.mistake import MistakeError

Recorded = TypeVar("Recorded")

_OPEN = 200  # what the root of 1 is in 8 bits: the open ground comes back exactly, 1.6 still fits
_LIGHT, _MIRROR, _JSON = "light.png", "mirror.png", "json"


class RecordingError(MistakeError):
    """A shard of scenes that cannot be read; its text is one line that names it."""


@dataclass(frozen=True, kw_only=True)
class Exposed:
    """Transport of one picture in 8 bits: `light` holds roots of key light and sky behind each
    body, and of key light, sky and light off the ground on it; `mirror` its image."""

    light: UInt8[Tensor, "m 5 h w"]
    mirror: UInt8[Tensor, "m 4 h w"]

    def to(self, device: torch.device | str) -> "Exposed":
        """The same on another device."""
        return Exposed(light=self.light.to(device), mirror=self.mirror.to(device))


@dataclass(frozen=True, kw_only=True)
class RenderedScene:
    """A staging and where light goes in it."""

    staging: Staging
    exposed: Exposed


@dataclass(frozen=True, kw_only=True)
class RenderedEdit:
    """An edit, and where light goes before and after it."""

    edit: Edit
    before: Exposed
    after: Exposed


def exposed(transport: Transport) -> Exposed:
    """Transport of one picture (b = 1), all of whose bodies are present, in 8 bits."""
    light = [transport.key, transport.sky]
    light += [transport.own_key, transport.own_sky, transport.own_ground]
    roots = torch.cat(light, dim=2)[0].clamp(min=0).sqrt() * _OPEN
    return Exposed(light=_bytes(roots), mirror=_bytes(transport.mirror[0] * 255))


def developed(exposures: Sequence[Exposed], num_bodies: int) -> Transport:
    """The transport of a batch, padded to `num_bodies` with absent ones."""
    light = torch.stack([_padded(each.light, num_bodies) for each in exposures]).float()
    key, sky, own_key, own_sky, own_ground = (light / _OPEN).square().split(1, dim=2)
    counts = torch.tensor([len(each.light) for each in exposures], device=light.device)
    return Transport(
        key=key,
        sky=sky,
        own_key=own_key,
        own_sky=own_sky,
        own_ground=own_ground,
        mirror=torch.stack([_padded(each.mirror, num_bodies) for each in exposures]).float() / 255,
        present=torch.arange(num_bodies, device=light.device) < counts[:, None],
    )


def write_scenes(path: Path, scenes: Iterable[RenderedScene]) -> None:
    """Write scenes to a tar, whole or not at all; equal scenes give equal bytes."""
    _write(
        path,
        (
            {_JSON: staging_text(scene.staging).encode()} | _packed("", scene.exposed)
            for scene in scenes
        ),
    )


def write_edits(path: Path, edits: Iterable[RenderedEdit]) -> None:
    """Write edits to a tar, whole or not at all; equal edits give equal bytes."""
    _write(
        path,
        (
            {_JSON: edit_text(each.edit).encode()}
            | _packed("before.", each.before)
            | _packed("after.", each.after)
            for each in edits
        ),
    )


def recorded_scenes(path: Path) -> Iterator[RenderedScene]:
    """The scenes of a shard in their order. Errors: `OSError`, `RecordingError` naming the file."""
    return _read(path, _scene)


def recorded_edits(path: Path) -> Iterator[RenderedEdit]:
    """The edits of a shard in their order. Errors: `OSError`, `RecordingError` naming the file."""
    return _read(path, _edit)


def _write(path: Path, samples: Iterable[dict[str, bytes]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Times and owners are fixed, so that a shard's bytes depend on its scenes only.
    with (
        draft(path) as temporary,
        temporary.open("wb") as stream,
        TarWriter(stream, mtime=0, encoder=False) as tar,
    ):
        for number, sample in enumerate(samples):
            tar.write({"__key__": f"{number:06d}", **sample})


def _read(path: Path, unpacked: Callable[[Mapping[str, Any]], Recorded]) -> Iterator[Recorded]:
    with path.open("rb") as stream:
        try:
            for packed in group_by_keys(tar_file_expander([{"url": str(path), "stream": stream}])):
                yield unpacked(packed)
        except (ValueError, KeyError, TypeError, EOFError, tarfile.TarError, cv2.error) as error:
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            raise RecordingError(
                f"{path}: found a damaged shard of scenes ({reason}); delete and render it again"
            ) from error


def _scene(packed: Mapping[str, Any]) -> RenderedScene:
    return RenderedScene(
        staging=read_staging(packed[_JSON].decode()), exposed=_unpacked("", packed)
    )


def _edit(packed: Mapping[str, Any]) -> RenderedEdit:
    return RenderedEdit(
        edit=read_edit(packed[_JSON].decode()),
        before=_unpacked("before.", packed),
        after=_unpacked("after.", packed),
    )


def _packed(when: str, exposed: Exposed) -> dict[str, bytes]:
    """Two pictures: grey ones one below the other, and coloured ones with alpha likewise."""
    light = rearrange(exposed.light, "m c h w -> (m c h) w")
    mirror = rearrange(exposed.mirror, "m c h w -> (m h) w c")
    return {
        f"{when}{_LIGHT}": _png(light.cpu().numpy()),
        f"{when}{_MIRROR}": _png(cv2.cvtColor(mirror.cpu().numpy(), cv2.COLOR_RGBA2BGRA)),
    }


def _unpacked(when: str, packed: Mapping[str, Any]) -> Exposed:
    light = torch.from_numpy(_pixels(packed[f"{when}{_LIGHT}"]))
    bgra = _pixels(packed[f"{when}{_MIRROR}"])
    mirror = torch.from_numpy(cv2.cvtColor(bgra, cv2.COLOR_BGRA2RGBA))
    size = light.shape[-1]  # pictures are square
    return Exposed(
        light=rearrange(light, "(m c h) w -> m c h w", c=5, h=size),
        mirror=rearrange(mirror, "(m h) w c -> m c h w", c=4, h=size),
    )


def _png(pixels: UInt8[np.ndarray, "..."]) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def _pixels(png: bytes) -> UInt8[np.ndarray, "..."]:
    found = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    if found is None:
        raise ValueError("not a PNG")
    return found


def _bytes(values: Float[Tensor, "*k"]) -> UInt8[Tensor, "*k"]:
    return values.round().clamp(0, 255).byte()


def _padded(pictures: UInt8[Tensor, "m c h w"], most: int) -> UInt8[Tensor, "{most} c h w"]:
    return F.pad(pictures, (0, 0, 0, 0, 0, 0, 0, most - len(pictures)))
