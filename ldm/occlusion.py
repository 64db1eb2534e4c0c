"""What bodies keep from the ground: the key light where their shadow falls, the sky near their
foot."""

import math
from dataclasses import dataclass
from itertools import accumulate

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ldm.projection import FOCAL, Standing, blur
from ldm.values import Light

_KEY_DIRECTIONS = 6
_CONTACT_DIRECTIONS = 12
_SOFTEST = 0.005  # of the picture's height: how wide shadows are blurred, so that steps do not show
_GOLDEN = 0.618034
_RIM = 0.2  # of the thickness: how soft a body's rim is to light
_LOWEST, _HIGHEST = 0.15, math.pi / 2 - 0.05  # radians; a lower light throws endless shadows
_SMALL = 1e-6
_AT_ONCE = 2**17  # samples: what is worked on at once fits the cache


def occlusion(
    bodies: Standing,
    azimuth: Float[Tensor, "b k"],
    elevation: Float[Tensor, "b k"],
    num_steps: int,
    size: tuple[int, int],
) -> Float[Tensor, "b n 1 h2 w2"]:
    """The share of `k` directions, seen from each point of the ground, that a body stands in.

    Marches from the ground towards the light through the part of each ray where the body can be.
    The result lies on the picture at `size`; above the horizon it is 0. Only the part of the
    picture that the bodies' shadows can reach is worked on.
    """
    return blur(_share(bodies, azimuth, elevation, num_steps, size), _SOFTEST)


def _share(
    bodies: Standing,
    azimuth: Float[Tensor, "b k"],
    elevation: Float[Tensor, "b k"],
    num_steps: int,
    size: tuple[int, int],
) -> Float[Tensor, "b n 1 h2 w2"]:
    """Occlusion with hard steps."""
    height, width = size
    march = _marched(bodies, azimuth, elevation, num_steps, height)
    rows, columns = march.reach(bodies.solid, width)
    nearness, *samples = (
        part[..., rows.start : rows.stop, None]
        for part in (march.nearness, march.shift, march.row, march.off)
    )
    middle = 0.5 * width / height
    x = (torch.arange(columns.start, columns.stop, device=azimuth.device) + 0.5) / height
    across = middle + (x - middle) * nearness
    at_once = max(1, _AT_ONCE // max(1, num_steps * across.numel()))
    found = [
        stopped(sampled(bodies.solid, across + shift, row) - off).sum(dim=2)
        for shift, row, off in zip(*(part.split(at_once, dim=2) for part in samples), strict=True)
    ]
    share = torch.stack(found).sum(dim=0) / azimuth.shape[1]
    around = (columns.start, width - columns.stop, rows.start, height - rows.stop)
    return F.pad(share, around)[:, :, None]


@dataclass(frozen=True, kw_only=True)
class _March:
    """Samples along rays that start on the ground: all that is alike in a row of the picture.

    `nearness`: by how much wider a row is where the body stands; `shift`: how far a sample lies
    to the right of its start; `row`: where it lies in the picture; `off`: how far before or behind
    the body's middle, in shares of its half thickness; infinite for samples that do not count.
    """

    nearness: Float[Tensor, "b n 1 1 h"]
    shift: Float[Tensor, "b n k s h"]
    row: Float[Tensor, "b n k s h"]
    off: Float[Tensor, "b n k s h"]

    def reach(self, solid: Float[Tensor, "b n 1 y x"], width: int) -> tuple[range, range]:
        """Rows and columns of a picture of such width from which a sample can lie in a body."""
        height = self.off.shape[-1]
        counts = self.off < 1
        rows = counts.flatten(0, 3).any(dim=0).nonzero()
        if len(rows) == 0:
            return range(0), range(0)
        there = (solid[:, :, 0].amax(dim=-2) > 0).float()
        edges = there.argmax(dim=-1) - 0.5, there.shape[-1] - there.flip(-1).argmax(dim=-1) + 0.5
        middle = 0.5 * width / height
        left, right = (
            middle
            + (edge[..., None, None, None] / solid.shape[-2] - middle - self.shift) / self.nearness
            for edge in edges
        )
        begin, end = float(left[counts].amin()), float(right[counts].amax())
        columns = (min(max(int(side), 0), width) for side in (begin * height, end * height + 1))
        return range(int(rows[0]), int(rows[-1]) + 1), range(*columns)


def _marched(
    bodies: Standing,
    azimuth: Float[Tensor, "b k"],
    elevation: Float[Tensor, "b k"],
    num_steps: int,
    height: int,
) -> _March:
    """Samples where rays from `height` rows of the picture pass the bodies."""
    base, horizon, depth, extent, present = (
        value[:, :, None, None, None]
        for value in (
            bodies.base,
            bodies.horizon,
            bodies.depth,
            bodies.base - bodies.top,
            bodies.present,
        )
    )
    azimuth, elevation = (angle[:, None, :, None, None] for angle in (azimuth, elevation))
    y = (torch.arange(height, device=azimuth.device) + 0.5) / height
    nearness = (base - horizon) / (y - horizon).clamp(min=0.02)
    behind = FOCAL * (nearness - 1)
    across, away = tracks(azimuth, elevation)
    low, high = within(depth, behind, away)
    high = torch.minimum(high, extent)
    up = heights(low, high, num_steps)
    off = (behind + away * up).abs() / depth.clamp(min=_SMALL)
    counts = (high > low) & (y > horizon) & present
    return _March(
        nearness=nearness,
        shift=across * up,
        row=base - up,
        off=off.masked_fill(~counts, math.inf),
    )


def tracks(azimuth: Tensor, elevation: Tensor) -> tuple[Tensor, Tensor]:
    """How far a ray goes to the right, and away from the viewer, while it rises by 1."""
    slope = 1 / torch.tan(elevation)
    away = torch.sin(azimuth) * slope
    return torch.cos(azimuth) * slope, torch.where(away.abs() < 1e-3, 1e-3, away)


def within(depth: Tensor, behind: Tensor, away: Tensor) -> tuple[Tensor, Tensor]:
    """From which height to which rays that begin so far `behind` a body's middle are no farther
    from it than `depth`; none is below their beginning."""
    ends = torch.stack([(-depth - behind) / away, (depth - behind) / away])
    return ends.amin(dim=0).clamp(min=0), ends.amax(dim=0)


def heights(
    low: Float[Tensor, "b n k 1 *at"], high: Float[Tensor, "b n k 1 *at"], num_steps: int
) -> Float[Tensor, "b n k s *at"]:
    """Even steps between two heights; other ones in each direction, so that there are no beads."""
    ones = (1,) * (low.dim() - 4)
    offset = torch.arange(low.shape[2], device=low.device).view(-1, 1, *ones) * _GOLDEN % 1
    step = torch.arange(num_steps, device=low.device).view(-1, *ones)
    return low + (high - low) * ((step + offset) / num_steps)


def stopped(met: Float[Tensor, "b n k s h w"]) -> Float[Tensor, "b n k h w"]:
    """How much of each ray is stopped, by how far its samples lie inside a body, in shares of its
    half thickness; a body's rim is soft to light."""
    return met.amax(dim=3).clamp(0, _RIM) / _RIM


def key_occlusion(
    bodies: Standing, light: Light, size: tuple[int, int]
) -> Float[Tensor, "b n 1 h2 w2"]:
    """Where each body keeps the light's disc from the ground, 0 (none) to 1 (all of it)."""
    return occlusion(bodies, *key_directions(light), 5, size)


def contact_occlusion(
    bodies: Standing, light: Light, size: tuple[int, int]
) -> Float[Tensor, "b n 1 h2 w2"]:
    """Key occlusion that is sharp where a body touches the ground: the blur that hides steps grows
    with the distance from the foot as fast as the shadow's own softness."""
    share = _share(bodies, *key_directions(light, _CONTACT_DIRECTIONS), 5, size)
    row = (torch.arange(size[0], device=share.device) + 0.5) / size[0]
    away = (row[:, None] - bodies.base[..., None, None, None]).abs()
    softness = light.softness[:, None, None, None, None]
    soft = (away * _spread(softness) / (2 * _SOFTEST)).clamp(max=1)
    return torch.lerp(blur(share, 0.5 / size[0]), blur(share, _SOFTEST), soft)


def key_directions(
    light: Light, count: int = _KEY_DIRECTIONS
) -> tuple[Float[Tensor, "b k"], Float[Tensor, "b k"]]:
    """Azimuth and elevation of points that are even over the light's disc."""
    index = torch.arange(count, device=light.azimuth.device) + 0.5
    radius = (index / count).sqrt()
    turn = index * math.pi * (3 - math.sqrt(5))  # a sunflower's seeds: even over the disc
    azimuth, elevation, softness = (
        part[:, None] for part in (light.azimuth, light.elevation, light.softness)
    )
    return over_disc(azimuth, elevation, softness, radius, turn)


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
    """Where each body keeps an even sky from the ground: the soft dark around its foot."""
    num_pictures = bodies.base.shape[0]
    turn = torch.arange(12, device=bodies.base.device, dtype=bodies.base.dtype)
    azimuth = ((turn + 0.5) * (2 * math.pi / 12)).expand(num_pictures, -1)
    elevation = (0.45 + 0.55 * (turn % 2)).expand(num_pictures, -1)
    half = (size[0] // 2, size[1] // 2)
    coarse = occlusion(bodies, azimuth, elevation, 3, half)
    soft = blur(coarse, 0.015)
    return F.interpolate(soft.flatten(0, 1), size=size, mode="bilinear").unflatten(
        0, soft.shape[:2]
    )


def sampled(
    pixels: Float[Tensor, "b n 1 y x"],
    across: Float[Tensor, "b n k s h w"],
    row: Float[Tensor, "b n k s h _"],
) -> Float[Tensor, "b n k s h w"]:
    """Bilinear samples at places in picture heights."""
    height, width = pixels.shape[-2:]
    x, y = across * (2 * height / width) - 1, 2 * row - 1
    grid = torch.stack([x, y.expand_as(x)], dim=-1)
    found = F.grid_sample(
        pixels.flatten(0, 1), grid.flatten(0, 1).flatten(1, 3), align_corners=False
    )
    return found.view(x.shape)


def remaining(occluded: Float[Tensor, "b n 1 h w"]) -> Float[Tensor, "b n+1 1 h w"]:
    """Key light left on the ground before any body, and after each one, back to front.

    Where shadows of one light meet they are no darker than one.
    """
    left = accumulate((1 - occluded).unbind(1), torch.minimum)
    return torch.stack([torch.ones_like(occluded.sum(dim=1)), *left], dim=1)
