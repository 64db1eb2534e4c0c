"""Scenes whose light is reckoned by formulas: shadow, shading, tint, mirror floor.

Made on the fly from cut-outs and backdrops. Light adds linearly, so it is reckoned in linear light
and brought to sRGB at the end by a root, which is near enough.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor

from annotator.scenes.placement import placed
from ldm.projection import (
    Standing,
    blur,
    facing,
    key_occlusion,
    lambert,
    mirrored,
    remaining,
    rim_light,
    sky_occlusion,
    standing,
    wrapped,
)
from ldm.scene import Scene
from ldm.values import Effects, Layers, Light

_LUMINANCE = (0.2126, 0.7152, 0.0722)


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a backdrop does to those who stand in it.

    `sky` and `ground`: tints of the light from above and from below (mean 1); `exposure`: how
    bright the place is; `gloss`: 0..1, how much of a mirror its ground is.
    """

    sky: Float[Tensor, "b 3"]
    ground: Float[Tensor, "b 3"]
    exposure: Float[Tensor, " b"]
    gloss: Float[Tensor, " b"]


def scenes(
    cutouts: Float[Tensor, "b m 4 s s"],
    backdrops: Float[Tensor, "b 3 h w"],
    generator: Generator,
) -> Scene:
    """A batch of random scenes; a third of them stand on a polished floor."""
    gloss = random_gloss(backdrops.shape[0], generator)
    backdrops = polished(backdrops, gloss)
    layers = placed(cutouts, backdrops, generator)
    light = random_light(backdrops, generator)
    return Scene(layers=layers, light=light, effects=lit(layers, light, gloss))


def random_gloss(num_pictures: int, generator: Generator) -> Float[Tensor, " {num_pictures}"]:
    """How much of a mirror each ground is: nothing of one in two thirds of the pictures."""
    gloss = torch.rand(num_pictures, generator=generator)
    gloss = ((gloss - 2 / 3) * 3).clamp(min=0)
    return gloss.where(gloss == 0, 0.35 + 0.5 * gloss)


def polished(
    backdrops: Float[Tensor, "b 3 h w"], gloss: Float[Tensor, " b"]
) -> Float[Tensor, "b 3 h w"]:
    """Backdrops whose lower half mirrors the upper one, as far as `gloss` says."""
    height = backdrops.shape[-2]
    row = (torch.arange(height) + 0.5) / height
    weight = ((row - 0.5) * 8).clamp(0, 1)[:, None] * gloss[:, None, None, None]
    floor = torch.lerp(backdrops, blur(backdrops, 0.02), weight)
    return torch.lerp(floor, blur(backdrops.flip(-2), 0.01), 0.6 * weight)


def random_light(backdrops: Float[Tensor, "b 3 h w"], generator: Generator) -> Light:
    """Light from anywhere; its tint mostly that of the backdrop's bright parts."""
    num_pictures = backdrops.shape[0]
    azimuth, height, soft, diffuse, warmth, free = torch.rand(6, num_pictures, generator=generator)
    seen = _tint(_average(backdrops, backdrops.mean(dim=1, keepdim=True).pow(3)))
    kelvin = (warmth - 0.5)[:, None] * torch.tensor([0.5, 0.0, -0.5])
    colour = _tint(torch.where(free[:, None] < 0.3, 1 + kelvin, seen * (1 + 0.3 * kelvin)))
    return Light(
        azimuth=azimuth * 2 * math.pi,
        elevation=math.radians(20) + height * math.radians(50),
        colour=colour,
        softness=soft.square(),
        ambient=0.22 + 0.43 * diffuse,
    )


def surroundings(backdrops: Float[Tensor, "b 3 h w"], gloss: Float[Tensor, " b"]) -> Surroundings:
    """What a backdrop's own colours say of the light in it."""
    upper, lower = backdrops.chunk(2, dim=-2)
    luminance = torch.einsum("bchw,c->b", backdrops, torch.tensor(_LUMINANCE))
    luminance = luminance / (backdrops.shape[-1] * backdrops.shape[-2])
    return Surroundings(
        sky=_tint(_average(upper, torch.ones_like(upper[:, :1]))),
        ground=_tint(_average(lower, torch.ones_like(lower[:, :1]))),
        exposure=(luminance / 0.45).pow(0.7).clamp(0.45, 1.15),
        gloss=gloss,
    )


def _average(pixels: Tensor, weight: Tensor) -> Tensor:
    return (pixels * weight).sum(dim=(-1, -2)) / weight.sum(dim=(-1, -2)).clamp(min=1e-6)


def _tint(colour: Float[Tensor, "b 3"]) -> Float[Tensor, "b 3"]:
    """A colour as the tint of light: half as strong, mean 1."""
    mild = (colour / colour.mean(dim=1, keepdim=True).clamp(min=0.02)).clamp(0.25, 2).sqrt()
    return mild / mild.mean(dim=1, keepdim=True)


def lit(layers: Layers, light: Light, gloss: Float[Tensor, " b"]) -> Effects:
    """The true effects of `light` on layers; the back and absent slots stay as they are."""
    around = surroundings(layers.rgb[:, 0], gloss)
    rgb, alpha = layers.rgba[:, 1:].split([3, 1], dim=2)
    bodies = standing(alpha)
    exists = bodies.present[:, :, None, None, None]
    gain, gleam = shading(bodies, light, around)
    gain = torch.where(exists, gain, 1.0)
    add = torch.where(exists, rgb * (gain - 1).clamp(min=0) + gleam, 0.0).clamp(0, 1)
    return Effects(
        multiply=_behind(gain.clamp(max=1), 1.0),
        add=_behind(add, 0.0),
        shadow=_behind(shadows(bodies, light, around), 1.0),
        reflection=_behind(reflections(layers.rgba[:, 1:], bodies, gloss), 0.0),
        alpha=layers.alpha,
    )


def _behind(effect: Float[Tensor, "b m c h w"], neutral: float) -> Float[Tensor, "b n c h w"]:
    """An effect of the objects, with the neutral one of the back before it."""
    return F.pad(effect, (0, 0, 0, 0, 0, 0, 1, 0), value=neutral)


def shading(
    bodies: Standing, light: Light, around: Surroundings
) -> tuple[Float[Tensor, "b n 3 h w"], Float[Tensor, "b n 3 h w"]]:
    """Gain of the light on the bodies themselves, and the gleam at their rims.

    Lambert's law, wrapped around the body a little, for the key light; sky above and ground below
    for the rest, darker near the foot.
    """
    up = facing(bodies).split(1, dim=2)[1]
    sky, ground, colour = (
        tint[:, None, :, None, None] for tint in (around.sky, around.ground, light.colour)
    )
    diffuse = torch.lerp(0.75 * ground, 1.1 * sky, 0.5 + 0.5 * up) * grounding(bodies)
    ambient = light.ambient[:, None, None, None, None]
    total = ambient * diffuse + (1 - ambient) * wrapped(lambert(bodies, light)) * colour
    gain = total * around.exposure[:, None, None, None, None]
    gleam = rim_light(bodies, light) * (1 - ambient) * 0.45 * colour
    return gain.clamp(min=1e-4).sqrt(), gleam


def grounding(bodies: Standing) -> Float[Tensor, "b n 1 h w"]:
    """How much of the sky reaches a body at each height: less near its foot."""
    height = bodies.solid.shape[-2]
    row = (torch.arange(height) + 0.5) / height
    extent = (bodies.bottom - bodies.top).clamp(min=0.02)
    above = (bodies.bottom[..., None] - row) / extent[..., None]
    dark = 0.45 * torch.exp(-above.clamp(min=0) / 0.1)
    return (1 - dark)[:, :, None, :, None]


def shadows(bodies: Standing, light: Light, around: Surroundings) -> Float[Tensor, "b n 3 h w"]:
    """What is left of the light on the ground behind each body.

    Where shadows of the key light meet they are no darker than one: each body takes away only
    what those behind it have left.
    """
    size = (bodies.solid.shape[-2], bodies.solid.shape[-1])
    key = remaining(key_occlusion(bodies, light, size)).clamp(min=0.02)
    before, after = key[:, :-1], key[:, 1:]
    sky = 1 - 0.85 * sky_occlusion(bodies, size)
    ambient = light.ambient[:, None, None, None, None] * around.sky[:, None, :, None, None]
    direct = (1 - light.ambient[:, None, None, None]) * light.colour[:, :, None, None]
    direct = direct[:, None]
    left = (ambient * sky + direct * after) / (ambient + direct * before)
    return left.clamp(1e-4, 1).sqrt()


def reflections(
    rgba: Float[Tensor, "b n 4 h w"], bodies: Standing, gloss: Float[Tensor, " b"]
) -> Float[Tensor, "b n 4 h w"]:
    """The bodies in a polished floor, fainter the farther from the foot."""
    height = rgba.shape[-2]
    image = mirrored(rgba, bodies.bottom)
    row = (torch.arange(height) + 0.5) / height
    extent = (bodies.bottom - bodies.top).clamp(min=0.02)
    away = ((row - bodies.bottom[..., None]) / extent[..., None]).clamp(min=0)
    strength = torch.exp(-away / 0.5) * gloss[:, None, None]
    rgb, alpha = image.split([3, 1], dim=2)
    alpha = alpha * strength[:, :, None, :, None] * 0.75
    return torch.cat([rgb * (alpha > 0), alpha], dim=2)
