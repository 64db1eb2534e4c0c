"""Transport by formulas: soft shadows on the ground, shading, tint, mirror floor.

Thousands of scenes a minute; the geometry is that of `ldm.projection`.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from annotator.scenes.staged import places
from annotator.scenes.staging import Ground, Staging
from annotator.scenes.transport import Transport
from annotator.scenes.wall import wall_occlusion
from ldm.occlusion import key_occlusion, sky_occlusion
from ldm.projection import (
    Standing,
    facing,
    lambert,
    mirrored,
    standing,
    wrapped,
)
from ldm.values import Layers, Light

_DARKEST = 0.02  # what a shadow leaves of the key light


def analytic_transport(layers: Layers, light: Light, stagings: Sequence[Staging]) -> Transport:
    """What the bodies of each staging do to its light.

    Where shadows of the key light meet on one surface they are no darker than one; shadows fall on
    the ground, on what stands in front of it, and on the wall; other bodies take no light from the
    sides of a body that they do not hide.
    """
    where = places(stagings, layers.rgba.device)
    rgba = layers.rgba[where.picture, where.body + 1][:, None]
    own = light.indexed(where.picture)
    found = torch.cat([*_taken(rgba, own, stagings), *_received(rgba, own)], dim=2)[:, 0]
    maps = found.new_zeros(*layers.present[:, 1:].shape, *found.shape[1:])
    maps[where.picture, where.body] = found
    key, sky, own_key, own_sky, own_ground, mirror = maps.split([1, 1, 1, 1, 1, 4], dim=2)
    alpha = layers.alpha[:, 1:]
    return Transport(
        key=_key_left(1 - key, own_key, alpha),
        sky=_sky_left(1 - sky, own_sky, alpha),
        own_key=own_key,
        own_sky=own_sky,
        own_ground=own_ground,
        mirror=mirror,
        present=layers.present[:, 1:],
    )


def _taken(
    rgba: Float[Tensor, "k 1 4 h w"], light: Light, stagings: Sequence[Staging]
) -> list[Float[Tensor, "k 1 1 h w"]]:
    """The shares of key light and sky that each body keeps from ground and wall."""
    height, width = rgba.shape[-2:]
    alpha = rgba.split([3, 1], dim=2)[1]
    bodies = standing(alpha)
    owners = [staging for staging in stagings for _ in staging.bodies]
    border = rgba.new_tensor([staging.border for staging in owners])
    row = ((torch.arange(height, device=rgba.device) + 0.5) / height)[:, None]
    is_ground = ((row - border[:, None, None, None, None]) * height + 0.5).clamp(0, 1)
    key = key_occlusion(bodies, light, (height, width)) * is_ground
    sky = sky_occlusion(bodies, (height, width)) * is_ground
    is_walled = rgba.new_tensor([float(staging.ground is Ground.wall) for staging in owners])
    is_wall = (1 - is_ground) * is_walled[:, None, None, None, None]
    return [key + is_wall * wall_occlusion(alpha[:, 0], bodies, light, border)[:, None], sky]


def _received(rgba: Float[Tensor, "k 1 4 h w"], light: Light) -> list[Float[Tensor, "k 1 _ h w"]]:
    """What each body gets from key light, sky and ground, and its mirror image.

    Lambert's law, wrapped around the body a little, for the key light; sky above and ground below
    for the rest, darker near the foot.
    """
    size = (rgba.shape[-2], rgba.shape[-1])
    bodies = standing(rgba.split([3, 1], dim=2)[1])
    normals = bodies.seen(facing(bodies), size)
    up = normals.split(1, dim=2)[1]
    open_share = grounding(bodies, size[0])
    return [
        wrapped(lambert(normals, light)),
        1.1 * (0.5 + 0.5 * up) * open_share,
        0.75 * (0.5 - 0.5 * up) * open_share,
        reflections(rgba, bodies),
    ]


def _key_left(
    free: Float[Tensor, "b m 1 h w"],
    own: Float[Tensor, "b m 1 h w"],
    alpha: Float[Tensor, "b m 1 h w"],
) -> Float[Tensor, "b m 1 h w"]:
    """Key light on what lies behind each body: each takes only what those before it have left."""
    reaching = left = torch.ones_like(free[:, 0])
    found: list[Tensor] = []
    for body in range(free.shape[1]):
        fewer = torch.minimum(left, free[:, body].clamp(min=_DARKEST))
        found.append(reaching * fewer / left)
        reaching = torch.lerp(found[-1], own[:, body], alpha[:, body])
        left = torch.lerp(fewer, torch.ones_like(fewer), alpha[:, body])
    return torch.stack(found, dim=1)


def _sky_left(
    free: Float[Tensor, "b m 1 h w"],
    own: Float[Tensor, "b m 1 h w"],
    alpha: Float[Tensor, "b m 1 h w"],
) -> Float[Tensor, "b m 1 h w"]:
    """Sky on what lies behind each body, each takes a share of it."""
    reaching = torch.ones_like(free[:, 0])
    found: list[Tensor] = []
    for body in range(free.shape[1]):
        found.append(reaching * free[:, body])
        reaching = torch.lerp(found[-1], own[:, body], alpha[:, body])
    return torch.stack(found, dim=1)


def grounding(bodies: Standing, height: int) -> Float[Tensor, "b n 1 h 1"]:
    """How much of the sky reaches a body in each of the picture's rows: less near its foot."""
    row = (torch.arange(height, device=bodies.solid.device) + 0.5) / height
    extent = (bodies.bottom - bodies.top).clamp(min=0.02)
    above = (bodies.bottom[..., None] - row) / extent[..., None]
    dark = 0.45 * torch.exp(-above.clamp(min=0) / 0.1)
    return (1 - dark)[:, :, None, :, None]


def reflections(rgba: Float[Tensor, "b n 4 h w"], bodies: Standing) -> Float[Tensor, "b n 4 h w"]:
    """The bodies in a mirror floor, fainter the farther from the foot."""
    height = rgba.shape[-2]
    image = mirrored(rgba, bodies.bottom)
    row = (torch.arange(height, device=rgba.device) + 0.5) / height
    extent = (bodies.bottom - bodies.top).clamp(min=0.02)
    away = ((row - bodies.bottom[..., None]) / extent[..., None]).clamp(min=0)
    strength = 0.75 * torch.exp(-away / 0.5)[:, :, None, :, None]
    rgb, alpha = image.split([3, 1], dim=2)
    return torch.cat([rgb * (alpha > 0), alpha * strength], dim=2)
