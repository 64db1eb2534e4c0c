"""How upright layers stand on the ground: the shadow they throw and their image in a mirror floor.

A layer is a cut-out without depth. Here it is given some: it is inflated to a cushion that stands
on a ground plane, seen by a pinhole camera. Lengths are in picture heights, `x` from the left, `y`
from the top. The same geometry serves scenes with known truth and the relation network.
"""

from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from ldm.values import Light, TensorValue

HORIZON = 0.36  # where the ground ends in the picture, if all else is unknown
FOCAL = 1.1  # of the camera, in picture heights: a view of some 50 degrees
FRONT = 0.7  # cosine of a usual front light to an upright face: so much light counts as 1
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
    across, down = (_gaussian(sigma * height, size, pixels.device) for size in (width, height))
    return _blurred(pixels, across, down)


def _blurred(
    pixels: Float[Tensor, "*b h w"], across: Float[Tensor, "w w"], down: Float[Tensor, "h h"]
) -> Float[Tensor, "*b h w"]:
    columns = pixels.contiguous() @ across.to(pixels.dtype)
    turned = columns.transpose(-1, -2).contiguous()  # one large product, not many small ones
    return (turned @ down.to(pixels.dtype)).transpose(-1, -2)


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
    rises steeply at the edge and flattens inside. Its root is round at the rim. Only the box that
    holds all alphas is worked on: outside it there is nothing to blur, and no cushion.
    """
    height, width = alpha.shape[-2:]
    there = (alpha > 0).flatten(0, -3).any(dim=0)
    rows, columns = (extent(there.any(dim=axis)) for axis in (1, 0))
    inside = alpha[..., rows, columns]
    total = torch.zeros_like(inside)
    for sigma in (0.004, 0.008, 0.016, 0.032, 0.064):
        across, down = (
            _gaussian(sigma * height, size, alpha.device)[part, part]
            for size, part in ((width, columns), (height, rows))
        )
        total = total + sigma * (2 * _blurred(inside, across, down) - 1).clamp(min=0)
    total = total * (inside > 0.02)
    cushion = (total / total.amax(dim=(-1, -2), keepdim=True).clamp(min=_SMALL)).sqrt()
    around = (columns.start, width - columns.stop, rows.start, height - rows.stop)
    return F.pad(cushion, around)


def extent(line: Bool[Tensor, " k"]) -> slice:
    """From the first to the last true place of a line; its first place where there is none."""
    found = line.nonzero()
    return slice(int(found[0]), int(found[-1]) + 1) if len(found) else slice(0, 1)


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


def lambert(normals: Float[Tensor, "b n 3 h w"], light: Light) -> Float[Tensor, "b n 1 h w"]:
    """Lambert's law: the cosine between normal and light, -1 (turned away) to 1 (facing it)."""
    return (normals * towards(light)[:, None, :, None, None]).sum(dim=2, keepdim=True)


def wrapped(cosine: Float[Tensor, "b n 1 h w"]) -> Float[Tensor, "b n 1 h w"]:
    """Key light that reaches somewhat around the edge of a body; 1 for a usual front light."""
    return ((cosine + 0.4) / 1.4).clamp(min=0) / FRONT
