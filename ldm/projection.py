"""How upright layers stand on the ground: the shadow they throw and their image in a mirror floor.

A layer is a cut-out without depth. Here it is given some: it is inflated to a cushion that stands
on a ground plane, seen by a pinhole camera. Lengths are in picture heights, `x` from the left, `y`
from the top. The same geometry serves scenes with known truth and the relation network.
"""

import math
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from ldm.values import Light, TensorValue

HORIZON = 0.36  # where the ground ends in the picture, if all else is unknown
FOCAL = 1.1  # of the camera, in picture heights: a view of some 50 degrees
_KEY_DIRECTIONS = 6
_GOLDEN = 0.618034
_RIM = 0.2  # of the thickness: how soft a body's rim is to light
_LOWEST = 0.15  # radians: a light that is lower throws endless shadows
_SMALL = 1e-6


@dataclass(frozen=True, kw_only=True)
class Standing(TensorValue):
    """Layers as bodies on the ground.

    `solid`: thickness of the cushion, 0 outside, 1 where it is thickest; `base`: the row of the
    middle of its foot; `bottom`, `top`: its lowest and highest row; `depth`: half its greatest
    thickness; `horizon`: the row where its ground ends; `present`: whether there is a body.
    """

    solid: Float[Tensor, "b n 1 h w"]
    base: Float[Tensor, "b n"]
    bottom: Float[Tensor, "b n"]
    top: Float[Tensor, "b n"]
    depth: Float[Tensor, "b n"]
    horizon: Float[Tensor, "b n"]
    present: Bool[Tensor, "b n"]


def blur(pixels: Float[Tensor, "*b h w"], sigma: float) -> Float[Tensor, "*b h w"]:
    """Gaussian blur, `sigma` in picture heights; weights are renormalised at the rim."""
    height, width = pixels.shape[-2:]
    across, down = (
        _gaussian(sigma * height, size, pixels.device).to(pixels.dtype) for size in (width, height)
    )
    columns = pixels.contiguous() @ across
    turned = columns.transpose(-1, -2).contiguous()  # one large product, not many small ones
    return (turned @ down).transpose(-1, -2)


@cache
def _gaussian(sigma: float, size: int, device: torch.device) -> Tensor:
    """Matrix that blurs a line of pixels when multiplied from the right."""
    grid = torch.arange(size, dtype=torch.float32, device=device)
    weights = torch.exp(-0.5 * ((grid[:, None] - grid) / sigma).square())
    weights = weights * (weights > 1e-6)  # denormal numbers would make the product crawl
    return weights / weights.sum(dim=0)


def standing(alpha: Float[Tensor, "b n 1 h w"]) -> Standing:
    """Bodies from alphas: each stands on its lowest row."""
    height = alpha.shape[-2]
    solid = alpha[:, :, 0] > 0.5
    rows = solid.any(dim=-1)
    columns = solid.any(dim=-2).float()
    top = rows.float().argmax(dim=-1) / height
    bottom = lowest_row(alpha)
    width = (1 + columns.shape[-1] - columns.argmax(-1) - columns.flip(-1).argmax(-1)) / height
    horizon = torch.minimum(torch.full_like(bottom, HORIZON), bottom - 0.15)
    depth = 0.3 * torch.minimum(bottom - top, width)
    base = bottom - 0.5 * depth * (bottom - horizon) / FOCAL
    return Standing(
        solid=inflated(alpha),
        base=base,
        bottom=bottom,
        top=top,
        depth=depth,
        horizon=horizon,
        present=rows.any(dim=-1),
    )


def lowest_row(alpha: Float[Tensor, "b n 1 h w"]) -> Float[Tensor, "b n"]:
    """The lower edge of each alpha; 1 where there is none."""
    rows = (alpha[:, :, 0] > 0.5).any(dim=-1)
    return 1 - rows.flip(-1).float().argmax(dim=-1) / alpha.shape[-2]


def inflated(alpha: Float[Tensor, "b n 1 h w"]) -> Float[Tensor, "b n 1 h w"]:
    """A cushion over each alpha, 0 at its edge, 1 at its thickest.

    Blurs of growing width each tell the distance to the edge up to their own width; their sum
    rises steeply at the edge and flattens inside. Its root is round at the rim.
    """
    total = torch.zeros_like(alpha)
    for sigma in (0.004, 0.008, 0.016, 0.032, 0.064):
        total = total + sigma * (2 * blur(alpha, sigma) - 1).clamp(min=0)
    total = total * (alpha > 0.02)
    return (total / total.amax(dim=(-1, -2), keepdim=True).clamp(min=_SMALL)).sqrt()


def occlusion(
    bodies: Standing,
    azimuth: Float[Tensor, "b k"],
    elevation: Float[Tensor, "b k"],
    num_steps: int,
    size: tuple[int, int],
) -> Float[Tensor, "b n 1 h2 w2"]:
    """The share of `k` directions, seen from each point of the ground, that a body stands in.

    Marches from the ground towards the light through the part of each ray where the body can be.
    The result lies on the picture at `size`; above the horizon it is 0.
    """
    height, width = size
    first = int(bodies.horizon.min().clamp(min=0) * height)
    y = ((torch.arange(first, height, device=azimuth.device) + 0.5) / height)[:, None]
    x = (torch.arange(width, device=azimuth.device) + 0.5) / height
    base, horizon, depth, extent = (
        value[:, :, None, None]
        for value in (bodies.base, bodies.horizon, bodies.depth, bodies.base - bodies.top)
    )
    nearness = (base - horizon) / (y - horizon).clamp(min=0.02)
    behind = FOCAL * (nearness - 1)
    middle = 0.5 * width / height
    across = middle + (x - middle) * nearness
    unmoved = torch.stack([across, base.expand_as(across)], dim=-1)
    total = torch.zeros_like(across)
    for k in range(azimuth.shape[1]):
        slope = 1 / torch.tan(elevation[:, k, None, None, None])
        right = torch.cos(azimuth[:, k, None, None, None]) * slope
        away = torch.sin(azimuth[:, k, None, None, None]) * slope
        away = torch.where(away.abs() < 1e-3, torch.full_like(away, 1e-3), away)
        ends = torch.stack([(-depth - behind) / away, (depth - behind) / away])
        low = ends.amin(dim=0).clamp(min=0)
        high = torch.minimum(ends.amax(dim=0), extent)
        offset = (k * _GOLDEN) % 1  # other heights in each direction: no beads
        inside = torch.zeros_like(total)
        for step in range(num_steps):
            up = low + (high - low) * ((step + offset) / num_steps)
            moved = unmoved + torch.stack([right * up, -up], dim=-1)
            off = (behind + away * up).abs() / depth.clamp(min=_SMALL)
            inside = torch.maximum(inside, _sampled(bodies.solid, moved) - off)
        total = total + (inside / _RIM).clamp(max=1) * (high > low)
    ground = (y > horizon) & bodies.present[:, :, None, None]
    share = total / azimuth.shape[1] * ground
    return blur(F.pad(share, (0, 0, first, 0)), 0.005)[:, :, None]


def key_occlusion(
    bodies: Standing, light: Light, size: tuple[int, int]
) -> Float[Tensor, "b n 1 h2 w2"]:
    """Where each body keeps the light's disc from the ground, 0 (none) to 1 (all of it)."""
    return occlusion(bodies, *key_directions(light), 5, size)


def key_directions(light: Light) -> tuple[Float[Tensor, "b k"], Float[Tensor, "b k"]]:
    """Azimuth and elevation of points that are even over the light's disc."""
    index = torch.arange(_KEY_DIRECTIONS, device=light.azimuth.device) + 0.5
    radius = (index / _KEY_DIRECTIONS).sqrt()
    turn = index * math.pi * (3 - math.sqrt(5))  # a sunflower's seeds: even over the disc
    spread = (0.03 + 0.4 * light.softness)[:, None]
    low = light.elevation[:, None].clamp(min=_LOWEST)
    azimuth = light.azimuth[:, None] + spread * radius * torch.cos(turn)
    elevation = low + 0.6 * spread * radius * torch.sin(turn)
    return azimuth, elevation.clamp(_LOWEST, math.pi / 2 - 0.05)


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


def _sampled(pixels: Tensor, position: Tensor) -> Tensor:
    """Bilinear samples `[b n h2 w2]` of `[b n 1 h w]` at `[b n h2 w2 2]`, in picture heights."""
    height, width = pixels.shape[-2:]
    scale = torch.tensor([2 * height / width, 2.0], device=pixels.device)
    grid = (position * scale - 1).flatten(0, 1)
    return F.grid_sample(pixels.flatten(0, 1), grid, align_corners=False)[:, 0].unflatten(
        0, pixels.shape[:2]
    )


def mirrored(
    rgba: Float[Tensor, "b n 4 h w"], bottom: Float[Tensor, "b n"]
) -> Float[Tensor, "b n 4 h w"]:
    """Each layer upside down below its lowest row, as a mirror floor shows it."""
    height = rgba.shape[-2]
    rows = torch.arange(height, device=rgba.device)
    source = (2 * bottom[..., None] * height).round().long() - 1 - rows
    below = (source >= 0) & (source < (bottom[..., None] * height).round())
    index = source.clamp(0, height - 1)[:, :, None, :, None].expand_as(rgba)
    return rgba.gather(-2, index) * below[:, :, None, :, None]


def facing(bodies: Standing) -> Float[Tensor, "b n 3 h w"]:
    """Unit normals of the bodies: right, up, towards the viewer."""
    height = bodies.solid.shape[-2]
    smooth = blur(bodies.solid, 0.01)
    right = (smooth.roll(-1, dims=-1) - smooth.roll(1, dims=-1)) / 2
    down = (smooth.roll(-1, dims=-2) - smooth.roll(1, dims=-2)) / 2
    relief = (bodies.depth * height * 1.4)[:, :, None, None, None]
    right, down = right * relief, down * relief
    length = (right.square() + down.square() + 1).sqrt()
    return torch.cat([-right, down, torch.ones_like(right)], dim=2) / length


def towards(light: Light) -> Float[Tensor, "b 3"]:
    """Unit vector towards the light: right, up, towards the viewer."""
    flat = torch.cos(light.elevation)
    return torch.stack(
        [
            flat * torch.cos(light.azimuth),
            torch.sin(light.elevation),
            -flat * torch.sin(light.azimuth),
        ],
        dim=-1,
    )


def lambert(bodies: Standing, light: Light) -> Float[Tensor, "b n 1 h w"]:
    """Lambert's law: the cosine between normal and light, -1 (turned away) to 1 (facing it)."""
    return (facing(bodies) * towards(light)[:, None, :, None, None]).sum(dim=2, keepdim=True)


def rim_light(bodies: Standing, light: Light) -> Float[Tensor, "b n 1 h w"]:
    """Gleam along those rims of the bodies that are turned to the light, 0..1."""
    front = facing(bodies).split(1, dim=2)[2]
    return (1 - front).square() * lambert(bodies, light).clamp(min=0)


def wrapped(cosine: Float[Tensor, "b n 1 h w"]) -> Float[Tensor, "b n 1 h w"]:
    """Key light that reaches somewhat around the edge of a body; 1 for a usual front light."""
    return ((cosine + 0.4) / 1.4).clamp(min=0) / 0.7


def remaining(occluded: Float[Tensor, "b n 1 h w"]) -> Float[Tensor, "b n+1 1 h w"]:
    """Key light left on the ground before any body, and after each one, back to front.

    Where shadows of one light meet they are no darker than one.
    """
    left = accumulate((1 - occluded).unbind(1), torch.minimum)
    return torch.stack([torch.ones_like(occluded[:, 0]), *left], dim=1)
