"""Scenes and edits by number: the same ones for the same seed, whoever draws them, in any order."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from torch import Generator

from annotator.scenes.drawing import random_staging
from annotator.scenes.edits import random_edit
from annotator.scenes.script import digest, edit_text
from annotator.scenes.staging import Edit, EditKind, Staging
from annotator.scenes.supply import Supply
from ldm.mistake import MistakeError

TEST_SCENES = Path(__file__).parents[1] / "assets" / "test_scenes.yaml"


class FixedScenesError(MistakeError):
    """The test scenes are not those that they ought to be; the text is one line that says why."""


@dataclass(frozen=True, kw_only=True)
class FixedScenes:
    """What the test scenes are made from: `edits` of all kinds in turn, at `size` pixels."""

    seed: int
    edits: int
    size: int
    sha256: str


def numbered_staging(supply: Supply, seed: int, number: int) -> Staging:
    """The scene of that number."""
    return random_staging(supply, _generator(seed, number))


def numbered_edit(supply: Supply, seed: int, number: int) -> Edit:
    """The edit of that number; kinds take turns. Scenes without room for it are passed over."""
    kinds, generator = tuple(EditKind), _generator(seed, number)
    while True:
        staging = random_staging(supply, generator)
        edit = random_edit(staging, kinds[number % len(kinds)], supply, generator)
        if edit is not None:
            return edit


def read_fixed_scenes(path: Path = TEST_SCENES) -> FixedScenes:
    """What the test scenes are made from."""
    given: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return FixedScenes(**given)


def fixed_edits(fixed: FixedScenes, supply: Supply) -> list[Edit]:
    """The edits of the test scenes. Raises FixedScenesError where the supply gives others."""
    edits = [numbered_edit(supply, fixed.seed, number) for number in range(fixed.edits)]
    check_fixed(fixed, edits, "the validation split")
    return edits


def check_fixed(fixed: FixedScenes, edits: Iterable[Edit], source: str) -> None:
    """Raises FixedScenesError unless the edits of a source are those of the test scenes."""
    found = digest(edit_text(edit) for edit in edits)
    if found != fixed.sha256:
        raise FixedScenesError(
            f"{source}: sha256 of the test scenes: found {found}, expected {fixed.sha256}; "
            f"it or {TEST_SCENES.name} has changed"
        )


def _generator(seed: int, number: int) -> Generator:
    return Generator().manual_seed(seed * 1_000_003 + number)
