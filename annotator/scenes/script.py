"""Stagings and edits as text: what a scene can be made from again, and what tells that it is."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from annotator.scenes.staging import Body, Edit, EditKind, Ground, KeyLight, Staging
from annotator.scenes.supply import Supply


def staging_text(staging: Staging) -> str:
    """A staging as canonical JSON: equal stagings give equal texts."""
    return _canonical(asdict(staging))


def edit_text(edit: Edit) -> str:
    """An edit as canonical JSON."""
    return _canonical(asdict(edit))


def read_staging(text: str) -> Staging:
    """What `staging_text` wrote. Errors: `KeyError`, `TypeError`, `ValueError` for other text."""
    return _staging(json.loads(text))


def read_edit(text: str) -> Edit:
    """What `edit_text` wrote. Errors: `KeyError`, `TypeError`, `ValueError` for other text."""
    given = json.loads(text)
    return Edit(
        kind=EditKind(given["kind"]),
        before=_staging(given["before"]),
        after=_staging(given["after"]),
        origin=tuple(given["origin"]),
    )


def digest(texts: Iterable[str]) -> str:
    """SHA-256 of texts, one a line."""
    return hashlib.sha256("".join(f"{text}\n" for text in texts).encode()).hexdigest()


def supply_digest(supply: Supply) -> str:
    """SHA-256 of what stagings name by number: the cut-outs' outlines and the backdrops."""
    outlines = [json.dumps(outline) for outline in supply.outlines]
    pixels = [(backdrop * 255).round().byte().cpu().numpy() for backdrop in supply.backdrops]
    return digest(outlines + [hashlib.sha256(each.tobytes()).hexdigest() for each in pixels])


def _canonical(value: dict[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, default=_enumerated)


def _enumerated(value: Ground | EditKind) -> str:
    return value.value


def _staging(given: dict[str, Any]) -> Staging:
    bodies = [Body(**body | {"box": tuple(body["box"])}) for body in given["bodies"]]
    light = KeyLight(**given["light"] | {"colour": tuple(given["light"]["colour"])})
    values: dict[str, Any] = given | {"bodies": tuple(bodies), "light": light}
    values |= {"view": tuple(given["view"]), "ground": Ground(given["ground"])}
    return Staging(**values)
