"""Drawing stagings and edits at random: who stands where, on which ground, in which light."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool
from torch import Generator

from annotator.scenes.staging import Body, Box, Ground, KeyLight, Staging
from annotator.scenes.supply import Supply
from ldm.projection import HORIZON

LAYER_ROWS = (0.64, 0.96)
"""Where the feet of layers stand; witnesses are farther."""
_WITNESS_ROWS = (0.52, 0.63)
_DEEPEST = 0.72  # of the border: room behind for what is moved away
_GRID = 64
_SEEN = 0.3  # of the box around a body: less is hidden, or out of the picture
_TRIES = 12
_GLOSS = {Ground.glossy: (0.35, 0.85), Ground.water: (0.35, 0.85), Ground.table: (0.0, 0.25)}


def random_staging(
    supply: Supply,
    generator: Generator,
    *,
    max_bodies: int = 6,
    grounds: Sequence[Ground] = tuple(Ground),
) -> Staging:
    """One to `max_bodies` layers, few more often than many, and up to two witnesses.

    All stand on the ground, farther ones higher and smaller, and none is hidden. A matte ground
    comes four times as often as each other one. The same generator state gives the same staging.
    """
    taken = np.zeros((_GRID, _GRID), dtype=bool)
    counts = (1 + int(max_bodies * uniform(generator) ** 1.5), int(uniform(generator, 0.8, 3.0)))
    layers, witnesses = (
        _crowd(taken, [uniform(generator, *rows) for _ in range(count)], supply, generator)
        for count, rows in zip(counts, (LAYER_ROWS, _WITNESS_ROWS), strict=True)
    )
    bodies = witnesses + layers
    weights = [4.0 if ground is Ground.matte else 1.0 for ground in grounds]
    ground = grounds[int(torch.tensor(weights).multinomial(1, generator=generator))]
    backdrop = _index(len(supply.backdrops), generator)
    return Staging(
        bodies=bodies,
        num_witnesses=len(witnesses),
        backdrop=backdrop,
        view=_random_view(supply, backdrop, generator),
        mirrored=uniform(generator) < 0.5,
        ground=ground,
        gloss=uniform(generator, *_GLOSS.get(ground, (0.0, 0.0))),
        border=_random_border(ground, foot(bodies[0], supply), generator),
        light=_random_light(supply.tints[backdrop], ground, generator),
    )


def uniform(generator: Generator, low: float = 0.0, high: float = 1.0) -> float:
    """A random number from `low` to `high`."""
    return low + (high - low) * torch.rand((), generator=generator).item()


def foot(body: Body, supply: Supply) -> float:
    """The row on which a body stands."""
    _, top, _, bottom = body.box
    return top + (bottom - top) * supply.outlines[body.cutout][3]


def standing(
    cutout: int, flipped: bool, centre: float, row: float, side: float, supply: Supply
) -> Body:
    """A body whose canvas is `side` large, its foot on a row of the picture."""
    bottom = row + side * (1 - supply.outlines[cutout][3])
    box = (centre - side / 2, bottom - side, centre + side / 2, bottom)
    return Body(cutout=cutout, flipped=flipped, box=box)


def random_body(rows: tuple[float, float], supply: Supply, generator: Generator) -> Body:
    """A body that stands anywhere, its foot within `rows`."""
    nearness, across, size, turn, chosen = torch.rand(5, generator=generator).tolist()
    row = rows[0] + (rows[1] - rows[0]) * nearness
    return standing(
        cutout=int(chosen * len(supply.cutouts)),
        flipped=turn < 0.5,
        centre=0.08 + 0.84 * across,
        row=row,
        side=(row - HORIZON) * (0.85 + 0.65 * size),
        supply=supply,
    )


def back_row(row: float) -> float:
    """Where the ground behind a body begins; the nearer it stands, the thicker it can be."""
    return row - 0.6 * (row - HORIZON) ** 2


def all_seen(bodies: Sequence[Body], supply: Supply) -> bool:
    """Whether enough of each body is in the picture and not behind those that come after it."""
    taken = np.zeros((_GRID, _GRID), dtype=bool)
    return all(_shows(body, taken, supply) for body in reversed(bodies))


def _crowd(
    taken: Bool[np.ndarray, "h w"],
    rows: Sequence[float],
    supply: Supply,
    generator: Generator,
) -> tuple[Body, ...]:
    """Bodies on the rows, back to front, where they are seen; those without room stay away."""
    found: list[Body] = []
    for row in sorted(rows, reverse=True):
        for _ in range(_TRIES):
            body = random_body((row, row), supply, generator)
            if _shows(body, taken, supply):
                found.append(body)
                break
    return tuple(reversed(found))


def _shows(body: Body, taken: Bool[np.ndarray, "h w"], supply: Supply) -> bool:
    """Whether enough of a body shows between those that stand before it; then it takes its room."""
    left, top, right, bottom = (round(_GRID * end) for end in _outline(body, supply))
    room = taken[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    if room.size - np.count_nonzero(room) < _SEEN * (bottom - top) * (right - left):
        return False
    room[:] = True
    return True


def _outline(body: Body, supply: Supply) -> Box:
    """The box around what is seen of a body, in shares of the picture."""
    begin, above, end, below = supply.outlines[body.cutout]
    if body.flipped:
        begin, end = 1 - end, 1 - begin
    left, top, right, bottom = body.box
    width, height = right - left, bottom - top
    return left + width * begin, top + height * above, left + width * end, top + height * below


def _index(count: int, generator: Generator) -> int:
    return int(torch.randint(count, (), generator=generator))


def _random_view(supply: Supply, backdrop: int, generator: Generator) -> Box:
    """A random square of a backdrop near its lower rim."""
    height, width = supply.backdrops[backdrop].shape[-2:]
    side = min(height, width) * uniform(generator, 0.75, 1.0)
    left = uniform(generator, 0.0, width - side)
    top = uniform(generator, 0.6, 1.0) * (height - side)
    return left / width, top / height, (left + side) / width, (top + side) / height


def _random_border(ground: Ground, farthest: float, generator: Generator) -> float:
    """The far edge of a table, or the foot of a wall; both behind the body that stands farthest."""
    behind = min(back_row(farthest), _DEEPEST)
    match ground:
        case Ground.table:
            return uniform(generator, HORIZON + 0.06, behind)
        case Ground.wall:
            return behind - uniform(generator, 0.0, 0.05)
        case Ground.matte | Ground.glossy | Ground.water:
            return HORIZON


def _random_light(
    tint: tuple[float, float, float], ground: Ground, generator: Generator
) -> KeyLight:
    """Light from anywhere; its tint mostly that of the backdrop's bright parts."""
    kelvin = uniform(generator, -0.25, 0.25)
    seen = (1.0, 1.0, 1.0) if uniform(generator) < 0.3 else tint
    warm = [part * (1 + turn) for part, turn in zip(seen, (kelvin, 0.0, -kelvin), strict=True)]
    red, green, blue = (3 * part / sum(warm) for part in warm)
    return KeyLight(
        azimuth=random_azimuth(ground, generator),
        elevation=random_elevation(generator),
        colour=(red, green, blue),
        softness=uniform(generator) ** 2,
        ambient=uniform(generator, 0.22, 0.65),
    )


def random_azimuth(ground: Ground, generator: Generator) -> float:
    """Any direction; no light comes through a wall."""
    if ground is Ground.wall:
        return uniform(generator, 1.08 * math.pi, 1.92 * math.pi)
    return uniform(generator, 0.0, 2 * math.pi)


def random_elevation(generator: Generator) -> float:
    """20 to 70 degrees, in radians."""
    return uniform(generator, math.radians(20), math.radians(70))
