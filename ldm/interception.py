"""What bodies keep of the key light from each other, and each from itself."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ldm.occlusion import heights, key_directions, sampled, stopped, tracks, within
from ldm.projection import FOCAL, Standing, extent
from ldm.values import Light

_NUM_STEPS = 5
_AROUND = 2  # pixels beyond the receiver's edge, so that what is found may be resized
_LIFTED = 0.3  # of the half thickness: how far off its own surface a body stops a ray
_SMALL = 1e-6


def intercepted(
    caster: Standing, receiver: Standing, light: Light, ahead: int
) -> Float[Tensor, "1 1 1 h w"]:
    """The share of the light's disc, seen from each point of one body's front, that another stands
    in: two bodies (b = n = 1) of one picture, of which the receiver is `ahead` of the caster by so
    many slots; by none where they are one body.

    Marches from the receiver's cushion towards the light through the part of each ray where the
    caster can be. A receiver that is ahead is never inside the caster, however far that one's
    cushion bulges. Little beyond the receiver's edge its surface goes on flat; then the share is 0.
    """
    if not (caster.present and receiver.present):
        return torch.zeros_like(receiver.solid)
    height, width = receiver.solid.shape[-2:]
    around = F.max_pool2d(receiver.solid[0], 1 + 2 * _AROUND, stride=1, padding=_AROUND)[0, 0] > 0
    rows, columns = (extent(around.any(dim=axis)) for axis in (1, 0))
    march = _marched(caster, receiver, key_directions(light), rows, columns, ahead)
    margins = (columns.start, width - columns.stop, rows.start, height - rows.stop)
    return F.pad(march, margins)


def _marched(
    caster: Standing,
    receiver: Standing,
    directions: tuple[Float[Tensor, "1 k"], Float[Tensor, "1 k"]],
    rows: slice,
    columns: slice,
    ahead: int,
) -> Float[Tensor, "1 1 1 h2 w2"]:
    """What is kept from a part of the picture; lengths are in picture heights where the caster
    stands, upward from the ground there."""
    height, width = receiver.solid.shape[-2:]
    horizon = torch.minimum(caster.horizon, receiver.horizon)
    foot, device = caster.base - horizon, caster.solid.device
    y = ((torch.arange(height, device=device)[rows] + 0.5) / height)[:, None]
    x = (torch.arange(width, device=device)[columns] + 0.5) / height
    lifted = _LIFTED if ahead == 0 else 0.0
    front = (receiver.solid[:, :, None, :, rows, columns] + lifted) * receiver.depth
    distance = foot / (receiver.base - horizon) * (1 - front / FOCAL)  # the caster's is 1
    middle = 0.5 * width / height
    begin = middle + (x - middle) * distance, foot - (y - horizon) * distance
    behind = FOCAL * (distance - 1)
    across, away = tracks(*(angle[:, None, :, None, None, None] for angle in directions))
    low, high = within(caster.depth, behind, away)
    low, high = (
        torch.maximum(low, -begin[1]),
        torch.minimum(high, caster.base - caster.top - begin[1]),
    )
    if not (high > low).any():
        return torch.zeros_like(front[:, :, :, 0])
    up = heights(low, high, _NUM_STEPS)
    half = caster.depth.clamp(min=_SMALL)
    met = sampled(caster.solid, begin[0] + across * up, caster.base - begin[1] - up)
    off = ((behind + away * up).abs() / half).masked_fill(high <= low, math.inf)
    share = stopped(met - off).mean(dim=2, keepdim=True)
    if ahead <= 0:
        return share
    inside = sampled(caster.solid, begin[0], caster.base - begin[1]) > behind.abs() / half
    return share.masked_fill(inside[:, :, :, 0], 0.0)
