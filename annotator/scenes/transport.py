"""Transport: where light goes in a scene, apart from its colours; and what it does to the layers.

Light adds linearly, so key light, sky and the light off the ground are kept apart: one reckoning,
by formulas or by rays, serves many colours of light, shares of sky, backdrops and glosses.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from ldm.values import Effects, Layers, Light, TensorValue

_LUMINANCE = (0.2126, 0.7152, 0.0722)
_SMALL = 1e-4


@dataclass(frozen=True, kw_only=True)
class Transport(TensorValue):
    """What `m` bodies, put into a picture one after the other from back to front, do to its light.

    All light is linear, and 1 is what the open ground gets, or a body that faces the light.
    `key`, `sky`: what then still reaches that which lies behind body `i` at each pixel: ground,
    wall or the bodies before it, also under the body itself; 0..1 on the ground. `own_key`,
    `own_sky`, `own_ground`: what reaches the body itself from the key light, from the sky and off
    the ground; beyond its edge it goes on smoothly. `mirror`: how much of each pixel's view is, by
    a perfect mirror on the ground, of the body (coverage), and its colours there (straight).
    """

    key: Float[Tensor, "b m 1 h w"]
    sky: Float[Tensor, "b m 1 h w"]
    own_key: Float[Tensor, "b m 1 h w"]
    own_sky: Float[Tensor, "b m 1 h w"]
    own_ground: Float[Tensor, "b m 1 h w"]
    mirror: Float[Tensor, "b m 4 h w"]
    present: Bool[Tensor, "b m"]


@dataclass(frozen=True, kw_only=True)
class Surroundings(TensorValue):
    """What a backdrop does to those who stand in it.

    `sky` and `ground`: tints of the light from above and from below (mean 1); `exposure`: how
    bright the place is; `gloss`: 0..1, how much of a mirror its ground is.
    """

    sky: Float[Tensor, "b 3"]
    ground: Float[Tensor, "b 3"]
    exposure: Float[Tensor, " b"]
    gloss: Float[Tensor, " b"]


def lit(layers: Layers, transport: Transport, light: Light, around: Surroundings) -> Effects:
    """The true effects of a light on layers: slot 0 is the back, slot `i + 1` is body `i`.

    A body's shadow is what it takes of all the light that was there before it came, so that the
    shadows of all bodies, multiplied, leave just the light that is left. To sRGB by a root, which
    is near enough.
    """
    rgb, alpha = layers.rgba[:, 1:].split([3, 1], dim=2)
    exists = transport.present[:, :, None, None, None]
    sky, ground, key = (
        (tint * part[:, None])[:, None, :, None, None]
        for tint, part in (
            (around.sky, light.ambient),
            (around.ground, light.ambient),
            (light.colour, 1 - light.ambient),
        )
    )
    behind = sky * transport.sky + key * transport.key
    above = sky * transport.own_sky + key * transport.own_key
    off_ground = ground * transport.own_ground
    exposure = around.exposure[:, None, None, None, None]
    gain = torch.where(exists, (exposure * (above + off_ground)).clamp(min=_SMALL).sqrt(), 1.0)
    left = _shares_left(behind, above, off_ground, alpha * exists, (sky + key)[:, 0])
    gloss = around.gloss[:, None, None, None, None]
    image, coverage = transport.mirror.split([3, 1], dim=2)
    return Effects(
        multiply=_behind(gain.clamp(max=1), 1.0),
        add=_behind((rgb * (gain - 1).clamp(min=0)).clamp(0, 1), 0.0),
        shadow=_behind(torch.where(exists, left.clamp(_SMALL, 1).sqrt(), 1.0), 1.0),
        reflection=_behind(torch.cat([image, coverage * gloss], dim=2) * exists, 0.0),
        alpha=layers.alpha,
    )


def _shares_left(
    behind: Float[Tensor, "b m 3 h w"],
    above: Float[Tensor, "b m 3 h w"],
    off_ground: Float[Tensor, "b m 3 h w"],
    alpha: Float[Tensor, "b m 1 h w"],
    open_light: Float[Tensor, "b 3 1 1"],
) -> Float[Tensor, "b m 3 h w"]:
    """What each body leaves of the light that came, before it, to what is seen at each pixel."""
    before = open_light.expand_as(behind[:, 0])
    unchanged = torch.zeros_like(before)
    shares: list[Tensor] = []
    for body in range(behind.shape[1]):
        after, edge = behind[:, body], alpha[:, body]
        shares.append((after + unchanged) / (before + unchanged).clamp(min=_SMALL))
        before = torch.lerp(after, above[:, body], edge)
        unchanged = torch.lerp(unchanged, off_ground[:, body], edge)
    return torch.stack(shares, dim=1)


def surroundings(backdrops: Float[Tensor, "b 3 h w"], gloss: Float[Tensor, " b"]) -> Surroundings:
    """What a backdrop's own colours say of the light in it."""
    upper, lower = backdrops.chunk(2, dim=-2)
    weight = torch.tensor(_LUMINANCE, device=backdrops.device)
    luminance = torch.einsum("bchw,c->b", backdrops, weight)
    luminance = luminance / (backdrops.shape[-1] * backdrops.shape[-2])
    return Surroundings(
        sky=mild_tint(average(upper, torch.ones_like(upper[:, :1]))),
        ground=mild_tint(average(lower, torch.ones_like(lower[:, :1]))),
        exposure=(luminance / 0.45).pow(0.7).clamp(0.45, 1.15),
        gloss=gloss,
    )


def average(
    pixels: Float[Tensor, "b 3 h w"], weight: Float[Tensor, "b 1 h w"]
) -> Float[Tensor, "b 3"]:
    """The weighted mean colour of each picture."""
    return (pixels * weight).sum(dim=(-1, -2)) / weight.sum(dim=(-1, -2)).clamp(min=1e-6)


def mild_tint(colour: Float[Tensor, "b 3"]) -> Float[Tensor, "b 3"]:
    """A colour as the tint of light: half as strong, mean 1."""
    mild = (colour / colour.mean(dim=1, keepdim=True).clamp(min=0.02)).clamp(0.25, 2).sqrt()
    return mild / mild.mean(dim=1, keepdim=True)


def _behind(effect: Float[Tensor, "b m c h w"], neutral: float) -> Float[Tensor, "b n c h w"]:
    """An effect of the bodies, with the neutral one of the back before it."""
    return F.pad(effect, (0, 0, 0, 0, 0, 0, 1, 0), value=neutral)
