"""Edits at random: what an artist does to a scene, and the scene afterwards."""

import math
from dataclasses import replace

import torch
from torch import Generator

from annotator.scenes.drawing import (
    LAYER_ROWS,
    all_seen,
    back_row,
    foot,
    random_azimuth,
    random_body,
    random_elevation,
    standing,
    uniform,
)
from annotator.scenes.staging import Body, Edit, EditKind, Staging
from annotator.scenes.supply import Supply
from ldm.projection import HORIZON

_TRIES = 50
_NEEDED = {EditKind.removed: 2, EditKind.reordered: 2}
_Crowd = dict[int, Body]  # bodies under the slots that they had before, -1 for none


def random_edit(
    staging: Staging, kind: EditKind, supply: Supply, generator: Generator
) -> Edit | None:
    """The staging before and after one edit; None where there is no room for it.

    A layer is moved sideways by 15 to 35 % of the width, and in depth; or taken away, or two change
    places in depth, where there are two at least; or one is added; or the light turns by 40 to 180
    degrees and changes its height. Witnesses stay.
    """
    before = dict(enumerate(staging.bodies, start=1))
    if kind is EditKind.relit:
        return _edit(staging, kind, before, _relit(staging, generator))
    if len(staging.bodies) - staging.num_witnesses < _NEEDED.get(kind, 1):
        return None
    for _ in range(_TRIES):
        crowd = _changed(before, staging.num_witnesses, kind, supply, generator)
        crowd = dict(sorted(crowd.items(), key=lambda member: foot(member[1], supply)))
        bodies = tuple(crowd.values())
        on_ground = all(back_row(foot(body, supply)) >= staging.border for body in bodies)
        if on_ground and all_seen(bodies, supply):
            return _edit(staging, kind, crowd, replace(staging, bodies=bodies))
    return None


def _edit(before: Staging, kind: EditKind, crowd: _Crowd, after: Staging) -> Edit:
    return Edit(kind=kind, before=before, after=after, origin=(0, *crowd))


def _relit(staging: Staging, generator: Generator) -> Staging:
    """The same in light from elsewhere."""
    light = staging.light
    while True:
        azimuth = random_azimuth(staging.ground, generator)
        if math.cos(azimuth - light.azimuth) < math.cos(math.radians(40)):
            elevation = random_elevation(generator)
            return replace(staging, light=replace(light, azimuth=azimuth, elevation=elevation))


def _changed(
    crowd: _Crowd, num_witnesses: int, kind: EditKind, supply: Supply, generator: Generator
) -> _Crowd:
    """One try at an edit, in any order."""
    slots = list(crowd)[num_witnesses:]
    chosen, *others = (slots[i] for i in torch.randperm(len(slots), generator=generator).tolist())
    body = crowd[chosen]
    match kind:
        case EditKind.moved:
            return crowd | {chosen: _moved(body, supply, generator)}
        case EditKind.removed:
            return {slot: stays for slot, stays in crowd.items() if slot != chosen}
        case EditKind.added:
            return crowd | {-1: random_body(LAYER_ROWS, supply, generator)}
        case EditKind.reordered:
            other = crowd[others[0]]
            exchanged = {
                chosen: _stood(body, 0.0, foot(other, supply), supply),
                others[0]: _stood(other, 0.0, foot(body, supply), supply),
            }
            return crowd | exchanged
        case EditKind.relit:
            return crowd


def _moved(body: Body, supply: Supply, generator: Generator) -> Body:
    """The body aside, towards the middle of the picture, and farther or nearer."""
    left, _, right, _ = body.box
    across = uniform(generator, 0.15, 0.35) * (1 if left + right < 1 else -1)
    depth = uniform(generator, 0.04, 0.12) * (1 if uniform(generator) < 0.5 else -1)
    row = foot(body, supply)
    low, high = LAYER_ROWS
    return _stood(body, across, row + depth if low <= row + depth <= high else row - depth, supply)


def _stood(body: Body, across: float, row: float, supply: Supply) -> Body:
    """The body with its foot on another row, farther being smaller, and moved to the right."""
    left, _, right, _ = body.box
    side = (right - left) * (row - HORIZON) / (foot(body, supply) - HORIZON)
    return standing(body.cutout, body.flipped, (left + right) / 2 + across, row, side, supply)
