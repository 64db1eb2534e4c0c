"""How upright layers stand on the ground: the shadow they throw and their image in a mirror floor.

A layer is a cut-out without depth. Here it is given some: it is inflated to a cushion that stands
on a ground plane, seen by a pinhole camera. Lengths are in picture heights, `x` from the left, `y`
from the top. The same geometry serves scenes with known truth and the relation network.
"""

from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ldm.compositing import crop_masks, ends, place_maps
from ldm.values import Frames, Light, TensorValue

HORIZON = 0.36  # where the ground ends in the picture, if all else is unknown
FOCAL = 1.1  # of the camera, in picture heights: a view of some 50 degrees
FRONT = 0.7  # cosine of a usual front light to an upright face: so much light counts as 1
CELLS = 80  # of a body's canvas along its longer side
MARGIN = 1  # cells around it
THICK = 0.3  # of the shorter side: half of the greatest thickness
_THINNEST = 0.15  # of the thickest: what is as thin as a stalk has two sides, too
_SMALL = 1e-6


@dataclass(frozen=True, kw_only=True)
class Standing(TensorValue):
    """Layers as bodies on the ground; columns are counted from the middle of the picture.

    `solid`: thickness of the cushion, 0 outside, 1 where it is thickest, on a square canvas of its
    own, so that a body has one shape, however large it is seen; `canvas`, `outline`: left, top,
    right and bottom of that canvas, and of what is solid; `base`: the row of the middle of its
    foot; `depth`: half its greatest thickness; `horizon`: the row where its ground ends; `present`:
    whether there is a body.
    """

    solid: Float[Tensor, "b n 1 s s"]
    canvas: Float[Tensor, "b n 4"]
    outline: Float[Tensor, "b n 4"]
    base: Float[Tensor, "b n"]
    depth: Float[Tensor, "b n"]
    horizon: Float[Tensor, "b n"]
    present: Bool[Tensor, "b n"]

    @property
    def top(self) -> Float[Tensor, "b n"]:
        """The highest row."""
        return self.outline.unbind(-1)[1]

    @property
    def bottom(self) -> Float[Tensor, "b n"]:
        """The lower edge."""
        return self.outline.unbind(-1)[3]

    def seen(
        self, maps: Float[Tensor, "b n c s s"], size: tuple[int, int]
    ) -> Float[Tensor, "b n c h w"]:
        """Maps on the canvases laid onto a picture of `size`, 0 outside of them."""
        return place_maps(maps, _frames(self.canvas, size), size)


def blur(pixels: Float[Tensor, "*b h w"], sigma: float) -> Float[Tensor, "*b h w"]:
    """Gaussian blur, `sigma` in picture heights; weights are renormalised at the rim."""
    height, width = pixels.shape[-2:]
    across, down = (_gaussian(sigma * height, size, pixels.device) for size in (width, height))
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
    height, width = alpha.shape[-2:]
    solid, wide = alpha[:, :, 0] > 0.5, width / height
    left, right = (wide * (end - 0.5) for end in ends(solid.any(dim=-2)))
    top, bottom = ends(solid.any(dim=-1))
    extents = torch.stack([right - left, bottom - top])
    cell = extents.amax(dim=0) / CELLS
    half, below = (CELLS / 2 + MARGIN) * cell, bottom + MARGIN * cell
    middle = (left + right) / 2
    canvas = torch.stack([middle - half, below - 2 * half, middle + half, below], dim=-1)
    horizon = torch.minimum(torch.full_like(bottom, HORIZON), bottom - 0.15)
    depth = THICK * extents.amin(dim=0)
    side = CELLS + 2 * MARGIN
    own = crop_masks(alpha[:, :, 0], _frames(canvas, (height, width)), (side, side))
    return Standing(
        solid=inflated(own[:, :, None]),
        canvas=canvas,
        outline=torch.stack([left, top, right, bottom], dim=-1),
        base=bottom - 0.5 * depth * (bottom - horizon) / FOCAL,
        depth=depth,
        horizon=horizon,
        present=solid.flatten(2).any(dim=-1),
    )


def _frames(canvas: Float[Tensor, "b n 4"], size: tuple[int, int]) -> Frames:
    """Canvases as shares of a picture of `size`."""
    height, width = size
    left, top, right, bottom = canvas.unbind(-1)
    across = height / width
    return Frames(box=torch.stack([0.5 + left * across, top, 0.5 + right * across, bottom], dim=-1))


def lowest_row(alpha: Float[Tensor, "b n 1 h w"]) -> Float[Tensor, "b n"]:
    """The lower edge of each alpha; 1 where there is none."""
    return ends((alpha[:, :, 0] > 0.5).any(dim=-1))[1]


def inflated(alpha: Float[Tensor, "*b s s"]) -> Float[Tensor, "*b s s"]:
    """A cushion over each alpha on a canvas of its own, 0 outside, 1 at its thickest.

    Blurs of growing width each tell the distance to the edge up to their own width; their sum
    rises steeply at the edge and flattens inside. Its root is round at the rim.
    """
    total = torch.zeros_like(alpha)
    for sigma in (0.004, 0.008, 0.016, 0.032, 0.064):
        total = total + sigma * (2 * blur(alpha, sigma) - 1).clamp(min=0)
    cushion = (total / total.amax(dim=(-1, -2), keepdim=True).clamp(min=_SMALL)).sqrt()
    return cushion.clamp(min=_THINNEST) * (alpha > 0.5)


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


def facing(bodies: Standing) -> Float[Tensor, "b n 3 s s"]:
    """Unit normals of the bodies on their canvases: right, up, towards the viewer."""
    smooth = blur(bodies.solid, 0.025)
    right = (smooth.roll(-1, dims=-1) - smooth.roll(1, dims=-1)) / 2
    down = (smooth.roll(-1, dims=-2) - smooth.roll(1, dims=-2)) / 2
    left, _, end, _ = bodies.canvas.unbind(-1)
    relief = 1.4 * bodies.depth * bodies.solid.shape[-1] / (end - left).clamp(min=_SMALL)
    right, down = (relief[..., None, None, None] * part for part in (right, down))
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
