"""Marching: which rays towards the light a body stops.

Lengths are in picture heights where the body stands, upward from its ground, to the right of the
middle of the picture, and away from the viewer.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ldm.projection import FOCAL, Standing

_GOLDEN = 0.618034
_RIM = 0.1  # of the thickness: how soft a body's rim is to light
_MISSED = 1.2  # of a step: how much nearer than at any step a ray comes to what it may meet
_SMALL = 1e-6
_NEAREST = 0.1  # of the distance of a body: what is nearer to a viewer is no part of one
_LEVEL = 1e-3  # rays that go less far aside, or away, while they rise by 1 go so far
_AT_ONCE = 2**17  # samples: what is worked on at once fits the cache


@dataclass(frozen=True, kw_only=True)
class Rays:
    """Rays in `k` directions from some places: all parts broadcast to `[b n k h w]`.

    `right`, `up`, `behind`: where they begin; `across`, `away`: how far they go to the right, and
    away from the viewer, while they rise by 1.
    """

    right: Float[Tensor, "b n _ h w"]
    up: Float[Tensor, "b n _ _ _"]
    behind: Float[Tensor, "b n _ h _"]
    across: Float[Tensor, "b 1 k 1 1"]
    away: Float[Tensor, "b 1 k 1 1"]


def slopes(
    azimuth: Float[Tensor, "b k"], elevation: Float[Tensor, "b k"]
) -> tuple[Float[Tensor, "b 1 k 1 1"], Float[Tensor, "b 1 k 1 1"]]:
    """How far rays go to the right, and away from the viewer, while they rise by 1."""
    slope = 1 / torch.tan(elevation)
    parts = torch.cos(azimuth) * slope, torch.sin(azimuth) * slope
    across, away = (
        torch.where(part.abs() < _LEVEL, _LEVEL, part)[:, None, :, None, None] for part in parts
    )
    return across, away


def stopped(bodies: Standing, rays: Rays, num_steps: int) -> Float[Tensor, "b n h w"]:
    """The share of the rays from each place that a body stops.

    Steps are even in the part of each ray that passes the box around the body, other ones in each
    direction, so that there are no beads; between them the body counts as a little thicker than it
    is, for what they miss.
    """
    count = rays.away.shape[2]
    num_places = math.prod(torch.broadcast_shapes(rays.right.shape, rays.behind.shape))
    at_once = max(1, _AT_ONCE // max(1, num_steps * num_places))
    offsets = torch.arange(count, device=rays.away.device) * _GOLDEN % 1
    parts = (part.split(at_once, dim=2) for part in (rays.across, rays.away))
    met = [
        _met(bodies, rays, across, away, steps).sum(dim=2)
        for across, away, steps in zip(
            *parts, even_steps(offsets, num_steps).split(at_once), strict=True
        )
    ]
    there = bodies.present[:, :, None, None]
    return torch.stack(met).sum(dim=0) / count * there


def even_steps(offsets: Float[Tensor, " k"], num_steps: int) -> Float[Tensor, "k s"]:
    """Even steps, 0..1, that begin at each of some offsets."""
    steps = torch.arange(num_steps, device=offsets.device)
    return (steps + offsets[:, None]) / num_steps


def _met(
    bodies: Standing, rays: Rays, across: Tensor, away: Tensor, steps: Float[Tensor, "k s"]
) -> Float[Tensor, "b n k h w"]:
    """How much of each ray of some directions is stopped."""
    begin, end = _passage(bodies, rays, across, away)
    if not (end > begin).any():
        return torch.zeros_like(begin)
    risen = begin[:, :, :, None] + (end - begin)[:, :, :, None] * steps[:, :, None, None]
    right, up, behind, across, away = (
        part[:, :, :, None] for part in (rays.right, rays.up, rays.behind, across, away)
    )
    behind = behind + away * risen
    off = behind.abs() / _each(bodies.depth)[..., None].clamp(min=_SMALL)
    thick = thickness(bodies, right + across * risen, up + risen, behind)
    missed = _MISSED / steps.shape[1]
    met = ((1 + missed) * thick - off).amax(dim=3)
    return (met / _RIM).clamp(0, 1) * (end > begin)


def _passage(
    bodies: Standing, rays: Rays, across: Tensor, away: Tensor
) -> tuple[Float[Tensor, "b n k h w"], Float[Tensor, "b n k h w"]]:
    """How far rays have risen where they enter the box around a body, and where they leave it;
    those that end before they begin pass it by."""
    begin, end = slab(bodies, rays.up, rays.behind, away)
    sides = torch.stack([(side - rays.right) / across for side in walls(bodies)])
    return torch.maximum(begin, sides.amin(dim=0)), torch.minimum(end, sides.amax(dim=0))


def slab(
    bodies: Standing, up: Tensor, behind: Tensor, away: Tensor
) -> tuple[Float[Tensor, "b n k h _"], Float[Tensor, "b n k h _"]]:
    """The same for what lies between a body's front and its back, from the ground to its top."""
    depth, top, base, horizon = map(_each, (bodies.depth, bodies.top, bodies.base, bodies.horizon))
    ends = torch.stack([(-depth - behind) / away, (depth - behind) / away])
    highest = base - top + (horizon - top).abs() * depth / FOCAL - up
    begin = torch.maximum(ends.amin(dim=0), (-up).clamp(min=0))
    return begin, torch.minimum(ends.amax(dim=0), highest)


def walls(bodies: Standing) -> tuple[Float[Tensor, "b n 1 1 1"], Float[Tensor, "b n 1 1 1"]]:
    """Left and right side of the box around a body: what is seen as wide is wider in its back."""
    left, _, right, _ = bodies.outline.unbind(-1)
    deeper = bodies.depth / FOCAL
    least = torch.minimum(left * (1 - deeper), left * (1 + deeper))
    most = torch.maximum(right * (1 - deeper), right * (1 + deeper))
    return _each(least), _each(most)


def thickness(
    bodies: Standing, right: Tensor, up: Tensor, behind: Tensor
) -> Float[Tensor, "b n *at"]:
    """How thick bodies are where a viewer sees places in space: bilinear samples of cushions."""
    rest = (1,) * (right.dim() - 2)
    base, horizon = (part.view(*part.shape, *rest) for part in (bodies.base, bodies.horizon))
    left, top, end, _ = (side.view(*side.shape, *rest) for side in bodies.canvas.unbind(-1))
    distance = (1 + behind / FOCAL).clamp(min=_NEAREST)
    column, row = right / distance, horizon + (base - horizon - up) / distance
    across = 2 / (end - left)
    grid = torch.stack(
        torch.broadcast_tensors((column - left) * across - 1, (row - top) * across - 1), dim=-1
    )
    pixels = F.grid_sample(
        bodies.solid.flatten(0, 1),
        grid.flatten(0, 1).flatten(1, -3),
        align_corners=False,
    )
    return pixels.view(grid.shape[:-1])


def _each(value: Float[Tensor, "b n"]) -> Float[Tensor, "b n 1 1 1"]:
    return value[:, :, None, None, None]
