"""What bodies keep of the key light from each other, and each from itself."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ldm.occlusion import GOLDEN, RIM, key_directions
from ldm.projection import FOCAL, Standing
from ldm.values import Light

_NUM_STEPS = 5
_AROUND = 2  # pixels beyond the receiver's edge, so that what is found may be resized
_LIFTED = 0.3  # of the half thickness: how far off its own surface a body stops a ray
_SMALL = 1e-6


def intercepted(
    caster: Standing, receiver: Standing, light: Light, *, before: bool, same: bool
) -> Float[Tensor, "1 1 1 h w"]:
    """The share of the light's disc, seen from each point of one body's front, that another stands
    in: two bodies (b = n = 1) of one picture, or one that is both (`same`).

    Marches from the receiver's cushion towards the light through the part of each ray where the
    caster can be. Where the receiver is seen `before` the caster, it is never inside it, however
    far that one's cushion bulges. Little beyond the receiver's edge its surface goes on flat; then
    the share is 0.
    """
    height, width = receiver.solid.shape[-2:]
    rows, columns = _box(receiver.solid)
    if not (rows and columns and caster.present):
        return torch.zeros_like(receiver.solid)
    lifted = _LIFTED if same else 0.0
    march = _marched(caster, receiver, key_directions(light), rows, columns, lifted, before)
    around = (columns.start, width - columns.stop, rows.start, height - rows.stop)
    return F.pad(march, around)[None, None, None]


def _box(solid: Float[Tensor, "1 1 1 h w"]) -> tuple[range, range]:
    """The rows and columns where a body is, and some more."""
    found = [(solid[0, 0, 0] > 0).any(dim=axis).nonzero() for axis in (1, 0)]
    if not len(found[0]):
        return range(0), range(0)
    rows, columns = (
        range(max(0, int(line[0]) - _AROUND), min(length, int(line[-1]) + 1 + _AROUND))
        for line, length in zip(found, solid.shape[-2:], strict=True)
    )
    return rows, columns


def _marched(
    caster: Standing,
    receiver: Standing,
    directions: tuple[Float[Tensor, "1 k"], Float[Tensor, "1 k"]],
    rows: range,
    columns: range,
    lifted: float,
    before: bool,
) -> Float[Tensor, "h2 w2"]:
    """What is kept from a part of the picture; lengths are in picture heights where the caster
    stands, upward from the ground there."""
    height, width = receiver.solid.shape[-2:]
    horizon = torch.minimum(caster.horizon, receiver.horizon)
    foot, device = caster.base - horizon, caster.solid.device
    y = ((torch.arange(rows.start, rows.stop, device=device) + 0.5) / height)[:, None]
    x = (torch.arange(columns.start, columns.stop, device=device) + 0.5) / height
    front = receiver.solid[0, 0, 0, rows.start : rows.stop, columns.start : columns.stop]
    front = (front + lifted) * receiver.depth
    distance = foot / (receiver.base - horizon) * (1 - front / FOCAL)  # the caster's is 1
    across = 0.5 * width / height + (x - 0.5 * width / height) * distance
    begin, behind = foot - (y - horizon) * distance, FOCAL * (distance - 1)
    azimuth, elevation = (angle[0, :, None, None] for angle in directions)
    slope = 1 / torch.tan(elevation)
    away = torch.sin(azimuth) * slope
    away = torch.where(away.abs() < 1e-3, torch.full_like(away, 1e-3), away)
    ends = torch.stack([(-caster.depth - behind) / away, (caster.depth - behind) / away])
    low = torch.maximum(ends.amin(dim=0).clamp(min=0), -begin)
    high = torch.minimum(ends.amax(dim=0), caster.base - caster.top - begin)
    if not (high > low).any():
        return torch.zeros_like(front)
    # other heights in each direction: no beads
    offset = torch.arange(len(azimuth), device=device) * GOLDEN % 1
    step = (torch.arange(_NUM_STEPS, device=device)[:, None] + offset) / _NUM_STEPS
    up = low + (high - low) * step[:, :, None, None]
    off = (behind + away * up).abs() / caster.depth.clamp(min=_SMALL)
    place = (across + torch.cos(azimuth) * slope * up, caster.base - begin - up)
    met = _sampled(caster.solid[0], *place) - off.masked_fill(high <= low, math.inf)
    share = met.amax(dim=0).clamp(0, RIM).mean(dim=0) / RIM
    if not before:
        return share
    here = _sampled(caster.solid[0], across[None, None], (caster.base - begin)[None, None])[0, 0]
    inside = here > behind.abs() / caster.depth.clamp(min=_SMALL)
    return share.masked_fill(inside, 0.0)


def _sampled(
    solid: Float[Tensor, "1 1 y x"], across: Float[Tensor, "s k h w"], row: Float[Tensor, "s k h w"]
) -> Float[Tensor, "s k h w"]:
    """Bilinear samples at places in picture heights."""
    height, width = solid.shape[-2:]
    grid = torch.stack([across * (2 * height / width) - 1, 2 * row - 1], dim=-1)
    found = F.grid_sample(solid, grid.flatten(0, 2)[None], align_corners=False)
    return found.view(across.shape)
