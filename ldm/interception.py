"""What bodies keep of the key light from each other, and each from itself."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ldm.march import Rays, slopes, stopped, thickness
from ldm.occlusion import key_directions
from ldm.projection import FOCAL, Standing
from ldm.values import Light

_NUM_DIRECTIONS, _NUM_STEPS = 5, 5
_AROUND = 2  # pixels beyond the receiver's edge, so that what is found may be resized
_LIFTED = 0.3  # of the half thickness: how far off its own surface a body stops a ray
_SMALL = 1e-6


def intercepted(
    caster: Standing, receiver: Standing, light: Light, ahead: int, size: tuple[int, int]
) -> Float[Tensor, "1 1 1 h w"]:
    """The share of the light's disc, seen from each point of one body's front, that another stands
    in, on a picture of `size`: two bodies (b = n = 1) of one picture, of which the receiver is
    `ahead` of the caster by so many slots; by none where they are one body.

    Marches from the receiver's cushion towards the light. A receiver that is ahead is never inside
    the caster, however far that one's cushion bulges. Little beyond the receiver's edge its surface
    goes on flat; then the share is 0.
    """
    height, width = size
    surface = receiver.seen(receiver.solid, size)
    if not (caster.present and receiver.present):
        return torch.zeros_like(surface)
    rows, columns = _around(receiver, size)
    y = ((torch.arange(height, device=surface.device)[rows] + 0.5) / height)[:, None]
    x = (torch.arange(width, device=surface.device)[columns] + 0.5 - width / 2) / height
    lifted = _LIFTED if ahead == 0 else 0.0
    rays = _rays(caster, receiver, light, (surface[..., rows, columns] + lifted, x, y))
    share = stopped(caster, rays, _NUM_STEPS)[:, :, None]
    if ahead > 0:
        inside = thickness(caster, rays.right, rays.up, rays.behind)
        half = caster.depth[..., None, None, None].clamp(min=_SMALL)
        share = share.masked_fill(inside > rays.behind.abs() / half, 0.0)
    margins = (columns.start, width - columns.stop, rows.start, height - rows.stop)
    return F.pad(share, margins)


def _rays(
    caster: Standing,
    receiver: Standing,
    light: Light,
    surface: tuple[Float[Tensor, "1 1 1 h w"], Float[Tensor, " w"], Float[Tensor, "h 1"]],
) -> Rays:
    """Rays from the receiver's surface, known by its thickness, column and row, to the light."""
    thick, x, y = surface
    horizon = torch.minimum(caster.horizon, receiver.horizon)
    foot = caster.base - horizon
    front = thick * receiver.depth
    distance = foot / (receiver.base - horizon) * (1 - front / FOCAL)  # the caster's is 1
    across, away = slopes(*key_directions(light, _NUM_DIRECTIONS))
    return Rays(
        right=x * distance,
        up=foot - (y - horizon) * distance,
        behind=FOCAL * (distance - 1),
        across=across,
        away=away,
    )


def _around(body: Standing, size: tuple[int, int]) -> tuple[slice, slice]:
    """The rows and columns of a picture in which a body is seen, and a little more."""
    height, width = size
    left, top, right, bottom = (height * body.outline).flatten().tolist()
    ends = ((top, bottom, height), (left + width / 2, right + width / 2, width))
    rows, columns = (
        slice(max(0, math.floor(begin) - _AROUND), min(length, math.ceil(end) + _AROUND))
        for begin, end, length in ends
    )
    return rows, columns
