"""What bodies keep from the ground: the key light where their shadow falls, the sky near their
foot."""

import math
from itertools import accumulate

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ldm.march import Rays, slab, slopes, stopped, walls
from ldm.projection import FOCAL, Standing, blur
from ldm.values import Light

KEY_DIRECTIONS, _KEY_STEPS = 6, 6
_SKY_DIRECTIONS, _SKY_STEPS = 24, 3
_SOFTEST = 0.005  # of the picture's height: how wide shadows are blurred, so that steps do not show
_SKY_BLUR = 0.01
_LOWEST, _HIGHEST = 0.15, math.pi / 2 - 0.05  # radians; a lower light throws endless shadows
_GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))  # between seeds of a sunflower: even over a disc


def occlusion(
    bodies: Standing,
    azimuth: Float[Tensor, "b k"],
    elevation: Float[Tensor, "b k"],
    num_steps: int,
    size: tuple[int, int],
) -> Float[Tensor, "b n 1 h2 w2"]:
    """The share of `k` directions, seen from each point of the ground, that a body stands in.

    The result lies on the picture at `size`; above the horizon it is 0. Only the part of the
    picture that the bodies' shadows can reach is worked on.
    """
    height, width = size
    across, away = slopes(azimuth, elevation)
    y = ((torch.arange(height, device=azimuth.device) + 0.5) / height)[:, None]
    x = (torch.arange(width, device=azimuth.device) + 0.5 - width / 2) / height
    base, horizon = (part[:, :, None, None, None] for part in (bodies.base, bodies.horizon))
    nearness = (base - horizon) / (y - horizon).clamp(min=0.02)
    rows, columns = _reached(bodies, across, away, nearness * (y > horizon), width)
    nearness = nearness[..., rows.start : rows.stop, :]
    rays = Rays(
        right=x[columns.start : columns.stop] * nearness,
        up=torch.zeros_like(base),
        behind=FOCAL * (nearness - 1),
        across=across,
        away=away,
    )
    ground = y[rows.start : rows.stop] > horizon[:, :, 0]
    around = (columns.start, width - columns.stop, rows.start, height - rows.stop)
    return F.pad(stopped(bodies, rays, num_steps) * ground, around)[:, :, None]


def _reached(
    bodies: Standing, across: Tensor, away: Tensor, nearness: Tensor, width: int
) -> tuple[range, range]:
    """Rows and columns of a picture of such width from which rays can meet a body; `nearness` is 0
    where there is no ground."""
    height = nearness.shape[-2]
    ends = torch.stack(slab(bodies, torch.zeros_like(nearness), FOCAL * (nearness - 1), away))
    meets = (ends[1] > ends[0]) & (nearness > 0) & bodies.present[:, :, None, None, None]
    rows = meets.flatten(0, 2).any(dim=0)[:, 0].nonzero()
    if len(rows) == 0:
        return range(0), range(0)
    aside, nearness = (across * ends)[:, meets], nearness.expand_as(meets)[meets]
    left, right = (wall.expand_as(meets)[meets] for wall in walls(bodies))
    begin = ((left - aside.amax(dim=0)) / nearness).amin()
    end = ((right - aside.amin(dim=0)) / nearness).amax()
    columns = (
        min(max(int(height * float(side) + width / 2), 0), width)
        for side in (begin, end + 1 / height)
    )
    return range(int(rows[0]), int(rows[-1]) + 1), range(*columns)


def key_occlusion(
    bodies: Standing, light: Light, size: tuple[int, int]
) -> Float[Tensor, "b n 1 h2 w2"]:
    """Where each body keeps the light's disc from the ground, 0 (none) to 1 (all of it).

    Sharp where a body touches the ground: the blur that hides steps grows with the distance from
    the foot as fast as the shadow's own softness.
    """
    share = occlusion(bodies, *key_directions(light, KEY_DIRECTIONS), _KEY_STEPS, size)
    row = (torch.arange(size[0], device=share.device) + 0.5) / size[0]
    away = (row[:, None] - bodies.base[..., None, None, None]).abs()
    softness = light.softness[:, None, None, None, None]
    soft = (away * _spread(softness) / (2 * _SOFTEST)).clamp(max=1)
    return torch.lerp(blur(share, 0.5 / size[0]), blur(share, _SOFTEST), soft)


def key_directions(light: Light, count: int) -> tuple[Float[Tensor, "b k"], Float[Tensor, "b k"]]:
    """Azimuth and elevation of `count` points that are even over the light's disc."""
    index = torch.arange(count, device=light.azimuth.device) + 0.5
    azimuth, elevation, softness = (
        part[:, None] for part in (light.azimuth, light.elevation, light.softness)
    )
    radius = (index / count).sqrt()
    return over_disc(azimuth, elevation, softness, radius, index * _GOLDEN_ANGLE)


def over_disc(
    azimuth: Tensor, elevation: Tensor, softness: Tensor, radius: Tensor, turn: Tensor
) -> tuple[Tensor, Tensor]:
    """Azimuth and elevation of places on a light's disc: `radius` 0..1 from its middle, at an angle
    `turn` around it. All shapes that broadcast."""
    spread = _spread(softness)
    across = azimuth + spread * radius * torch.cos(turn)
    up = elevation.clamp(min=_LOWEST) + 0.6 * spread * radius * torch.sin(turn)
    return across, up.clamp(_LOWEST, _HIGHEST)


def _spread(softness: Tensor) -> Tensor:
    """Half the width of a light's disc, in radians."""
    return 0.03 + 0.4 * softness


def sky_occlusion(bodies: Standing, size: tuple[int, int]) -> Float[Tensor, "b n 1 h2 w2"]:
    """Where each body keeps an even sky from the ground: the soft dark around its foot.

    Directions are as dense as their cosine to the ground's normal.
    """
    num_pictures = bodies.base.shape[0]
    index = torch.arange(_SKY_DIRECTIONS, device=bodies.base.device)
    elevation = torch.acos(((index + 0.5) / _SKY_DIRECTIONS).sqrt()).clamp(min=_LOWEST)
    azimuth, elevation = (
        angle.expand(num_pictures, -1) for angle in (index * _GOLDEN_ANGLE, elevation)
    )
    half = (size[0] // 2, size[1] // 2)
    coarse = occlusion(bodies, azimuth, elevation, _SKY_STEPS, half)
    soft = blur(coarse, _SKY_BLUR)
    return F.interpolate(soft.flatten(0, 1), size=size, mode="bilinear").unflatten(
        0, soft.shape[:2]
    )


def remaining(occluded: Float[Tensor, "b n 1 h w"]) -> Float[Tensor, "b n+1 1 h w"]:
    """Key light left on the ground before any body, and after each one, back to front.

    Where shadows of one light meet they are no darker than one.
    """
    left = accumulate((1 - occluded).unbind(1), torch.minimum)
    return torch.stack([torch.ones_like(occluded.sum(dim=1)), *left], dim=1)
