"""Scenes and edits by number: the same ones for the same seed, whoever draws them, in any order."""

from dataclasses import dataclass
from itertools import count
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
    for _ in count():
        staging = random_staging(supply, generator)
        edit = random_edit(staging, kinds[number % len(kinds)], supply, generator)
        if edit is not None:
            return edit
    raise AssertionError


def read_test_scenes(supply: Supply, path: Path = TEST_SCENES) -> FixedScenes:
    """The fixed test scenes. Raises FixedScenesError where this supply does not give them."""
    given: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    scenes = FixedScenes(**given)
    found = digest(
        edit_text(numbered_edit(supply, scenes.seed, number)) for number in range(scenes.edits)
    )
    if found != scenes.sha256:
        raise FixedScenesError(
            f"{path}: sha256: found edits with {found[:12]}..., expected {scenes.sha256[:12]}...; "
            "the file or the validation split has changed"
        )
    return scenes


def _generator(seed: int, number: int) -> Generator:
    return Generator().manual_seed(seed * 1_000_003 + number)
