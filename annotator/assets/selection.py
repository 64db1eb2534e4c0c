"""What was chosen by eye from the packages, and which side of the split each choice is on."""

import hashlib
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import yaml

_FOLDER = Path(__file__).parent
_VALIDATION_SHARE = 0.15


class Split(Enum):
    """The two sides of the data."""

    TRAIN = "train"
    VALIDATION = "validation"


class SelectionError(ValueError):
    """An allow-list has an entry that cannot be used; the message names it."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One picture chosen from a package.

    `path` is below the package's picture folder. `caption` is a noun phrase. Pictures of one
    `family` show the same thing and stay on one side of a split. `ground`: an object can stand in
    the picture's lower half (always false for cut-outs).
    """

    package: str
    path: str
    caption: str
    family: str
    ground: bool


def split(family: str) -> Split:
    """The side a family belongs to: about 15 % are for validation, the same ones for ever."""
    digest = hashlib.sha256(family.encode()).digest()
    share = int.from_bytes(digest[:8], "big") / 2**64
    return Split.VALIDATION if share < _VALIDATION_SHARE else Split.TRAIN


def chosen_cutouts() -> tuple[Choice, ...]:
    """The allow-list of cut-outs, in its order. Errors: `SelectionError`."""
    return _choices(_FOLDER / "cutouts.yaml")


def chosen_backdrops() -> tuple[Choice, ...]:
    """The allow-list of backdrops, in its order. Errors: `SelectionError`."""
    return _choices(_FOLDER / "backdrops.yaml")


def chosen_scenery_cutouts() -> tuple[Choice, ...]:
    """Further cut-outs to make scenes of, never to measure by. Errors: `SelectionError`."""
    return _choices(_FOLDER / "scenery_cutouts.yaml")


def chosen_scenery_backdrops() -> tuple[Choice, ...]:
    """Further backdrops to make scenes of, never to measure by. Errors: `SelectionError`."""
    return _choices(_FOLDER / "scenery_backdrops.yaml")


def _choices(path: Path) -> tuple[Choice, ...]:
    packages: dict[str, list[dict[str, Any]]] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return tuple(
        _choice(path, package, entry) for package, entries in packages.items() for entry in entries
    )


def _choice(path: Path, package: str, entry: dict[str, Any]) -> Choice:
    texts = [entry.get(name) for name in ("path", "caption", "family")]
    if not all(isinstance(text, str) and text for text in texts):
        raise SelectionError(f"{path.name}: path, caption and family are needed in {entry}")
    return Choice(
        package=package,
        path=entry["path"],
        caption=entry["caption"],
        family=entry["family"],
        ground=bool(entry.get("ground", False)),
    )
