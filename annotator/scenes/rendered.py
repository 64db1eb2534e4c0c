"""Scenes whose light is reckoned by rays: path tracing of key light, sky and light off the ground.

A Monte Carlo integrator of our own (Kajiya, "The Rendering Equation", 1986): from what is seen at
each pixel a ray goes to the light's disc and one to the sky; what meets the ground goes on from
there to either. Each ray is tried against one body after the other, so that the same rays tell of
the worlds with one body, two bodies and so on: where a new body changes nothing, nothing changes,
noise included.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from annotator.scenes.mirror import mirror_images
from annotator.scenes.sampling import cosine_directions, key_directions, passes
from annotator.scenes.staging import Ground, Staging
from annotator.scenes.supply import Supply
from annotator.scenes.tracing import Rays
from annotator.scenes.transport import Transport
from annotator.scenes.world import Surface, World, world_of
from ldm.compositing import bleed
from ldm.projection import FRONT, blur

EDITION = 3
"""Of how light is reckoned: one more when the same scene gets another light."""

_SKY, _OFF_GROUND = 1.1, 0.75  # what open sky and lit ground give to a body
_SMOOTH = (0.7, 1.5, 1.5)  # pixels: key light has edges, sky and ground have none
_SMALL = 1e-4


def rendered_transport(staging: Staging, supply: Supply, size: int, *, samples: int) -> Transport:
    """Where light goes in one scene, a batch of one picture of `size` pixels.

    `samples`: paths from each pixel of each surface. Wall and ground receive light but keep none
    from others; beyond a table's edge nothing receives any. Light off the ground has one bounce,
    half of it from the key light and half from the sky; bodies throw none at each other.
    `annotator.scenes.tracing.start_tracing` comes first.
    """
    world = world_of(staging, supply, size)
    alpha = world.alpha
    floor = _floor_light(world, samples)
    bodies = [_body_light(world, body, samples) for body in range(len(alpha))]
    key, sky = _received(floor, bodies, alpha)[None].split(1, dim=2)
    own_key, own_sky, own_ground = torch.stack([light[0] for light in bodies])[None].split(1, dim=2)
    return Transport(
        key=key,
        sky=sky,
        own_key=own_key,
        own_sky=own_sky,
        own_ground=own_ground,
        mirror=mirror_images(world, samples)[None],
        present=torch.ones(1, len(alpha), dtype=torch.bool, device=alpha.device),
    )


def _received(
    floor: Float[Tensor, "m 2 h w"], bodies: list[Tensor], alpha: Float[Tensor, "m 1 h w"]
) -> Float[Tensor, "m 2 h w"]:
    """The light that comes, once each body is in its place, to what is seen behind it."""
    seen: list[Tensor] = []
    for body in range(len(alpha)):
        light = floor[body]
        for earlier in range(body):
            own = bodies[earlier][body - earlier, :2]
            light = torch.lerp(light, own, alpha[earlier])
        seen.append(light)
    return torch.stack(seen)


def _floor_light(world: World, samples: int) -> Float[Tensor, "m 2 h w"]:
    """Key light and sky on ground and wall in the worlds with one body, two and so on; 1: open."""
    first = 0 if world.ground is Ground.wall else int(world.camera.horizon * world.size)
    pixel = torch.arange(first * world.size, world.size**2, device=world.canvases.device)
    total, count = torch.zeros(1, device=pixel.device), torch.zeros(1, device=pixel.device)
    for draws in passes(pixel, samples):
        surface = world.floor(pixel, draws[:2])
        key = key_directions(world.light, draws[2:4])
        sky = cosine_directions(surface.normal, draws[4:6])
        share = torch.where(surface.normal[1] > 0.5, 1.0, 2.0 * (sky[1] > 0))
        total = total + torch.stack(
            [
                _arrived(world, surface, key, surface.real.float(), 0),
                _arrived(world, surface, sky, surface.real * share, 0),
            ],
            dim=1,
        )
        count = count + surface.real.sum(dim=-1)
    pictures, weight = _smooth(total, count, pixel, world.size)
    return torch.where(weight > 0.01 * samples, pictures, 1.0).clamp(0, 1)


def _body_light(world: World, body: int, samples: int) -> Float[Tensor, "k 3 h w"]:
    """Key light, sky and light off the ground on one body, in the worlds where it is the last,
    the last but one and so on; carried on beyond its edge."""
    pixel = (world.alpha[body].flatten() > 0).nonzero()[:, 0]
    total, count = torch.zeros(1, device=pixel.device), torch.zeros(1, device=pixel.device)
    for draws in passes(pixel, samples):
        surface = world.body(body, pixel, draws[:2])
        key = key_directions(world.light, draws[2:4])
        sky = cosine_directions(surface.normal, draws[4:6])
        facing = (key * surface.normal).sum(dim=0).clamp(min=0) / FRONT
        off_ground = _off_ground(world, surface, sky, draws[6:], body)
        total = total + torch.stack(
            [
                _arrived(world, surface, key, surface.real * facing, body),
                _arrived(world, surface, sky, surface.real * (sky[1] > 0) * _SKY, body),
                off_ground.expand(len(world.solids) - body, -1),
            ],
            dim=1,
        )
        count = count + surface.real.sum(dim=-1)
    pictures, weight = _smooth(total, count, pixel, world.size)
    coverage = (weight / samples).clamp(max=1).expand_as(pictures[:, :1])
    return 2 * bleed(torch.cat([0.5 * pictures, coverage], dim=1)[None])[0, :, :3]


def _arrived(
    world: World,
    surface: Surface,
    direction: Float[Tensor, "3 p s"],
    weight: Float[Tensor, "p s"],
    first: int,
) -> Float[Tensor, "k p"]:
    """The weight of the rays that reach their light, for each pixel and world from `first` on."""
    asked = weight > 0
    rays = Rays(origin=surface.point.flatten(1), direction=direction.flatten(1))
    free = [asked.flatten()]
    for body in range(len(world.solids)):
        free.append(free[-1] & ~_stopped(world, body, first, rays, free[-1]))
    return torch.stack([(open.reshape_as(weight) * weight).sum(-1) for open in free[first + 1 :]])


def _off_ground(
    world: World,
    surface: Surface,
    direction: Float[Tensor, "3 p s"],
    draws: Float[Tensor, "2 p s"],
    body: int,
) -> Float[Tensor, " p"]:
    """The light that comes off the ground to the last of the bodies up to `body`."""
    down = surface.real & (direction[1] < 0)
    way = surface.point[1].clamp(min=_SMALL) / (-direction[1]).clamp(min=_SMALL)
    met = surface.point + direction * way
    met[1] = 0
    up = torch.zeros_like(met)
    up[1] = 1
    turn = torch.arange(draws.shape[-1], device=met.device) % 2 == 0
    on = torch.where(turn, key_directions(world.light, draws), cosine_directions(up, draws))
    free = down.flatten()
    for origin, towards, seen in ((surface.point, direction, body), (met, on, 0)):
        rays = Rays(origin=origin.flatten(1), direction=towards.flatten(1))
        for other in range(body + 1):
            free = free & ~_stopped(world, other, seen, rays, free)
    return _OFF_GROUND * free.reshape_as(down).float().sum(dim=-1)


def _stopped(
    world: World, body: int, seen: int, rays: Rays, asked: Bool[Tensor, " k"]
) -> Bool[Tensor, " k"]:
    """Whether a body stops rays from the one that is `seen`, or from the floor (0).

    What is seen before another stands before it, though that one's cushion may bulge through it.
    """
    solid = world.solids[body]
    return (solid.stops_from_outside if body < seen else solid.stops)(rays, asked)


def _smooth(
    total: Float[Tensor, "k c p"],
    count: Float[Tensor, " p"],
    pixel: Int[Tensor, " p"],
    size: int,
) -> tuple[Float[Tensor, "k c {size} {size}"], Float[Tensor, "1 {size} {size}"]]:
    """Means as pictures, blurred a little within what was counted; and the counts, so blurred."""
    flat = torch.zeros(len(total) + 1, total.shape[1], size * size, device=total.device)
    flat[..., pixel] = torch.cat([total, count.expand_as(total[:1])])
    soft = [
        blur(part, width / size)
        for part, width in zip(flat.unflatten(-1, (size, size)).unbind(1), _SMOOTH, strict=False)
    ]
    means = [part[:-1] / part[-1:].clamp(min=_SMALL) for part in soft]
    return torch.stack(means, dim=1), soft[0][-1:]
