"""Staging: what stands where in a scene and in which light, before any light is reckoned."""

from dataclasses import dataclass
from enum import Enum

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, in shares of what it lies in."""


class Ground(Enum):
    """What the bodies stand on: dull, polished, rippled water, a table that ends behind them, or
    a floor with a wall behind them."""

    matte = "matte"
    glossy = "glossy"
    water = "water"
    table = "table"
    wall = "wall"


@dataclass(frozen=True, kw_only=True)
class Body:
    """A cut-out that stands on the ground.

    `cutout`: its number in the supply; `flipped`: mirrored left to right; `box`: the frame of its
    square canvas: left, top, right, bottom in shares of the picture.
    """

    cutout: int
    flipped: bool
    box: Box


@dataclass(frozen=True, kw_only=True)
class KeyLight:
    """The light of a scene, as `ldm.values.Light` has it, of one picture."""

    azimuth: float
    elevation: float
    colour: tuple[float, float, float]
    softness: float
    ambient: float


@dataclass(frozen=True, kw_only=True)
class Staging:
    """One scene.

    `bodies` stand back to front. The first `num_witnesses` of them are no layers: they belong to
    the back, whose shading and shadows show where the light comes from. `backdrop`: number in the
    supply; `view`: the square of it that is seen, as a box; `mirrored`: seen left to right.
    `ground`, its `gloss` (0..1, how much of a mirror) and `border`: the row (share of the height)
    where the table ends or the wall begins, else the horizon.
    """

    bodies: tuple[Body, ...]
    num_witnesses: int
    backdrop: int
    view: Box
    mirrored: bool
    ground: Ground
    gloss: float
    border: float
    light: KeyLight


class EditKind(Enum):
    """What an artist does to a scene."""

    moved = "moved"
    removed = "removed"
    added = "added"
    reordered = "reordered"
    relit = "relit"


@dataclass(frozen=True, kw_only=True)
class Edit:
    """A scene and the same after one edit.

    `origin`: for each slot afterwards (the back is 0), the slot it was before, or -1 when it was
    not there. `moved`: moved to another place and depth, farther being smaller; `reordered`: two
    bodies change places in depth.
    """

    kind: EditKind
    before: Staging
    after: Staging
    origin: tuple[int, ...]
