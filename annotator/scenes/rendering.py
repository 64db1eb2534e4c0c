"""Rendering shard by shard: what one process makes, and the digests of what was made."""

from dataclasses import dataclass
from enum import Enum
from functools import cache
from hashlib import sha256
from pathlib import Path

import torch

from annotator.scenes.numbered import numbered_edit, numbered_staging
from annotator.scenes.recording import (
    Exposed,
    RenderedEdit,
    RenderedScene,
    exposed,
    recorded_edits,
    recorded_scenes,
    write_edits,
    write_scenes,
)
from annotator.scenes.rendered import rendered_transport
from annotator.scenes.script import digest, edit_text, staging_text
from annotator.scenes.staging import Staging
from annotator.scenes.supply import SUPPLY_SIDE, Supply, read_supply
from annotator.scenes.tracing import start_tracing


class Content(Enum):
    """What a shard holds."""

    scenes = "scenes"
    edits = "edits"


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One shard to be made: which numbers of the scenes or edits of a split, and how."""

    path: Path
    content: Content
    numbers: range
    split: Path
    seed: int
    size: int
    samples: int


@dataclass(frozen=True, kw_only=True)
class Digests:
    """SHA-256 of a shard's stagings, equal on all machines, and of its bytes."""

    stagings: str
    bytes: str


def render(shard: Shard) -> Digests:
    """Make a shard, unless it is there; whole or not at all."""
    if not shard.path.exists():
        supply = _supply(shard.split)
        match shard.content:
            case Content.scenes:
                write_scenes(shard.path, (_scene(shard, supply, each) for each in shard.numbers))
            case Content.edits:
                write_edits(shard.path, (_edit(shard, supply, each) for each in shard.numbers))
    return digests(shard)


def digests(shard: Shard) -> Digests:
    """The digests of a shard that is there."""
    match shard.content:
        case Content.scenes:
            texts = [staging_text(scene.staging) for scene in recorded_scenes(shard.path)]
        case Content.edits:
            texts = [edit_text(each.edit) for each in recorded_edits(shard.path)]
    return Digests(stagings=digest(texts), bytes=sha256(shard.path.read_bytes()).hexdigest())


@cache
def _supply(split: Path) -> Supply:
    """What this process renders from, where it renders."""
    device = start_tracing(threads=1)
    torch.set_num_threads(1)
    return read_supply(split, SUPPLY_SIDE).to(device)


def _scene(shard: Shard, supply: Supply, number: int) -> RenderedScene:
    staging = numbered_staging(supply, shard.seed, number)
    return RenderedScene(staging=staging, exposed=_exposed(shard, supply, staging))


def _edit(shard: Shard, supply: Supply, number: int) -> RenderedEdit:
    edit = numbered_edit(supply, shard.seed, number)
    before, after = (_exposed(shard, supply, staging) for staging in (edit.before, edit.after))
    return RenderedEdit(edit=edit, before=before, after=after)


def _exposed(shard: Shard, supply: Supply, staging: Staging) -> Exposed:
    transport = rendered_transport(staging, supply, shard.size, samples=shard.samples)
    return exposed(transport)
