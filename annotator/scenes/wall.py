"""Shadows on a wall behind a scene."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ldm.occlusion import KEY_DIRECTIONS, key_directions
from ldm.projection import FOCAL, Standing
from ldm.values import Light


def wall_occlusion(
    alpha: Float[Tensor, "k 1 h w"], bodies: Standing, light: Light, border: Float[Tensor, " k"]
) -> Float[Tensor, "k 1 h w"]:
    """Where each of `k` bodies, one to a picture, keeps the light's disc from an upright wall.

    The wall meets the ground at the row `border`. A ray from a point of it to the light passes the
    plane in which the body stands, there its alpha tells whether it goes on; a light from behind
    the wall throws no shadow.
    """
    height, width = alpha.shape[-2:]
    row = ((torch.arange(height, device=alpha.device) + 0.5) / height)[:, None]
    column = (torch.arange(width, device=alpha.device) + 0.5) / height
    base, horizon = bodies.base[:, :, None], bodies.horizon[:, :, None]
    farther = (base - horizon) / (border[:, None, None] - horizon).clamp(min=0.02)
    middle = 0.5 * width / height
    across, down = middle + (column - middle) * farther, horizon + (row - horizon) * farther
    total = torch.zeros_like(alpha)
    azimuths, elevations = key_directions(light, KEY_DIRECTIONS)
    for azimuth, elevation in zip(azimuths.unbind(1), elevations.unbind(1), strict=True):
        towards_viewer = (-torch.sin(azimuth)).clamp(min=0.05)[:, None, None]
        way = FOCAL * (farther - 1) / towards_viewer
        x = across + way * torch.cos(azimuth)[:, None, None]
        y = down - way * torch.tan(elevation)[:, None, None]
        grid = torch.stack(torch.broadcast_tensors(2 * x * height / width - 1, 2 * y - 1), dim=-1)
        total = total + F.grid_sample(alpha, grid, align_corners=False)
    return total / azimuths.shape[1]
