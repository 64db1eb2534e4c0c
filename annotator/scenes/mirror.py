"""What a mirroring ground shows of the bodies on it."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from annotator.scenes.sampling import passes, unit
from annotator.scenes.staging import Ground
from annotator.scenes.tracing import Rays
from annotator.scenes.world import World
from ldm.compositing import bleed, unpremultiply
from ldm.projection import blur

_STRENGTH = 0.75  # of the mirror at full gloss, everywhere
_ROUGHNESS = 0.008  # slope of a polished floor's unevenness
_WAVES = ((0.021, 31.0, 7.0), (0.014, -23.0, 43.0), (0.01, 61.0, 29.0))  # slope, turns per length
_SMOOTH = 0.6  # pixels


def mirror_images(world: World, samples: int) -> Float[Tensor, "m 4 h w"]:
    """The share of each pixel's ground that mirrors each body, and the colours there (straight).

    The ground mirrors as strongly everywhere; a polished one blurs what is far from it, water
    ripples it. Dull grounds mirror nothing, nor does a body that stands on the ground.
    """
    size, alpha = world.size, world.alpha
    if world.ground not in (Ground.glossy, Ground.water):
        return torch.zeros(len(alpha), 4, size, size, device=alpha.device)
    first = int(world.camera.horizon * size)
    pixel = torch.arange(first * size, size * size, device=alpha.device)
    canvases = bleed(world.canvases)[0]
    total = torch.zeros(len(alpha), 4, len(pixel), device=alpha.device)
    for draws in passes(pixel, samples):
        total = total + _mirrored(world, canvases, *_reflected(world, pixel, draws))
    flat = torch.zeros(len(alpha), 4, size * size, device=alpha.device)
    flat[..., pixel] = total / samples
    image = unpremultiply(blur(flat.unflatten(-1, (size, size)), _SMOOTH / size))
    rgb, coverage = image.split([3, 1], dim=1)
    through = torch.cat([torch.ones_like(alpha[:1]), (1 - alpha).cumprod(dim=0)[:-1]])
    return torch.cat([rgb, (coverage * through * _STRENGTH).clamp(0, 1)], dim=1)


def _reflected(
    world: World, pixel: Tensor, draws: Float[Tensor, "8 p s"]
) -> tuple[Rays, Bool[Tensor, "p s"]]:
    """Rays of view that the ground turns upward, and which of them there are."""
    surface = world.floor(pixel, draws[:2])
    eye = torch.tensor([0.0, 1.0, 0.0], device=pixel.device)[:, None, None]
    view = unit(surface.point - eye)
    normal = unit(surface.normal + _slopes(world, surface.point, draws[2:4]))
    turned = view - 2 * (view * normal).sum(dim=0) * normal
    rays = Rays(origin=surface.point.flatten(1), direction=unit(turned).flatten(1))
    return rays, surface.real & (turned[1] > 0)


def _slopes(
    world: World, point: Float[Tensor, "3 p s"], draws: Float[Tensor, "2 p s"]
) -> Float[Tensor, "3 p s"]:
    """How the ground leans at each point: waves of water, or a polished floor's roughness."""
    if world.ground is Ground.water:
        waves = [
            slope
            * torch.cos(across * point[0] + along * point[2])
            * torch.tensor([across, along]).to(point)[:, None, None]
            / math.hypot(across, along)
            for slope, across, along in _WAVES
        ]
        right, near = torch.stack(waves).sum(dim=0)
    else:
        length = _ROUGHNESS * (-2 * draws[0].clamp(min=1e-6).log()).sqrt()  # Box and Muller
        turn = 2 * math.pi * draws[1]
        right, near = length * turn.cos(), length * turn.sin()
    return torch.stack([right, torch.zeros_like(right), near])


def _mirrored(
    world: World, canvases: Float[Tensor, "m 4 t t"], rays: Rays, real: Bool[Tensor, "p s"]
) -> Float[Tensor, "m 4 p"]:
    """Premultiplied colours and number of the rays that meet each body before all others."""
    distance = torch.stack([solid.distances(rays, real.flatten()) for solid in world.solids])
    nearest = distance.amin(dim=0)
    way = nearest.where(nearest.isfinite(), 0.0)
    x, y = world.camera.seen(rays.origin + rays.direction * way)
    shown = (distance == nearest) & nearest.isfinite()
    left, top, right, bottom = world.frames.box[0, :, :, None].unbind(dim=1)
    place = torch.stack([(x - left) / (right - left), (y - top) / (bottom - top)], dim=-1)
    colours = F.grid_sample(
        canvases[:, :3], 2 * place[:, None] - 1, padding_mode="border", align_corners=False
    )[:, :, 0]
    met = torch.cat([colours, torch.ones_like(colours[:, :1])], dim=1) * shown[:, None]
    return met.unflatten(-1, real.shape).sum(dim=-1)
