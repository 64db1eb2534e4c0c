"""Fields: the few smooth numbers that a relation network says; with the guides they make Tones.

Zero everywhere means: change nothing.
"""

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from cldm.relation.estimate import AssumedLight
from cldm.relation.guides import Guides
from cldm.relation.tones import Tones, bounded, raised
from ldm.values import Light, TensorValue

_DARKEST = 0.01  # of the light, linear


@dataclass(frozen=True, kw_only=True)
class Fields(TensorValue):
    """Smooth maps for each slot above the back, in linear light where they speak of light.

    `glow`: light on the layer whatever its shape; `shade`, `key`, `sky`, `gloss`, `direct`, `up`,
    `front`: how much of each guide, by colour, of `key` and `sky` in shares of the light that these
    are on the open ground (see `shares`); `lift`: what is added to the layer's colours, in
    sRGB, so that with `glow` they undergo an affine map, as in PCT-Net (Guerreiro et al., CVPR
    2023); `dim`: shadow where no guide has any; `shift`, `sharpen`: how the edge of alpha moves and
    hardens; `cast`: how much of `key` and `sky` where the light is certain; `gain`, `offset`: as
    `glow` and `lift`, of a layer that stands in the light already.
    """

    glow: Float[Tensor, "b m 3 h w"]
    shade: Float[Tensor, "b m 3 h w"]
    lift: Float[Tensor, "b m 3 h w"]
    key: Float[Tensor, "b m 3 h w"]
    sky: Float[Tensor, "b m 3 h w"]
    dim: Float[Tensor, "b m 1 h w"]
    gloss: Float[Tensor, "b m 1 h w"]
    shift: Float[Tensor, "b m 1 h w"]
    sharpen: Float[Tensor, "b m 1 h w"]
    direct: Float[Tensor, "b m 3 h w"]
    up: Float[Tensor, "b m 3 h w"]
    front: Float[Tensor, "b m 3 h w"]
    cast: Float[Tensor, "b m 3 h w"]
    gain: Float[Tensor, "b m 3 h w"]
    offset: Float[Tensor, "b m 3 h w"]


LOCAL = (3, 3, 3, 3, 3, 1, 1, 1, 1, 3, 3, 3)
"""Channels of each field that differs from place to place, in order."""
_WHOLE = (3, 3, 3)  # of each that is alike all over a layer
WIDTHS = LOCAL + _WHOLE


def fields_of(local: Float[Tensor, "b m f h w"], whole: Float[Tensor, "b m f2"]) -> Fields:
    """Fields from the channels that differ from place to place, and those that do not."""
    names, size = [field.name for field in fields(Fields)], (local.shape[-2], local.shape[-1])
    alike = whole[..., None, None].expand(*whole.shape, *size)
    parts = [*local.split(LOCAL, dim=2), *alike.split(_WHOLE, dim=2)]
    return Fields(**dict(zip(names, parts, strict=True)))


def shares(light: Light) -> tuple[Float[Tensor, "b 1 3 1 1"], Float[Tensor, "b 1 3 1 1"]]:
    """The shares of the key light and of the sky in all light on the open ground, by colour."""
    sky, key = light.ambient[:, None], (1 - light.ambient)[:, None] * light.colour
    total = (sky + key).clamp(min=_DARKEST)
    key, sky = ((part / total)[:, None, :, None, None] for part in (key, sky))
    return key, sky


def channels_of(name: str) -> slice:
    """Which channels of a network's head are those of a field."""
    index = [field.name for field in fields(Fields)].index(name)
    begin = sum(WIDTHS[:index])
    return slice(begin, begin + WIDTHS[index])


def tones_of(
    said: Fields, guides: Guides, there: Bool[Tensor, "b m"], light: AssumedLight
) -> Tones:
    """What fields say, weighed by the guides; slots that are not `there` stay as they are.

    Shadow is as fine as contact: it is sharp at the feet. Where the light is certain, geometry says
    where shadows lie, and `cast` how dark they are; elsewhere they are learnt, but under the layer
    that casts them, where nothing of it is seen. Of the light on what
    lies behind it each layer takes its part, of which the sheets, that multiply, say the share in
    what is left. Relief by Lambert's law, too, counts as far as the light is certain.

    A layer that has agreed with what lies behind it casts nothing: that is there already, and so is
    the light on it, but for colours that are wrong as a whole. Where it may have, it gets the mean
    of both.
    """
    exists = there[:, :, None, None, None]
    old, certain, sure = (
        part[..., None, None, None]
        for part in (light.agreed, light.certain[:, None], light.sure[:, None])
    )
    new = 1 - old
    sure = torch.maximum(sure, _shrunk(guides.alpha, said.key))
    key, sky = shares(light.light)
    relief = said.direct * guides.direct + said.up * guides.up + said.front * guides.front
    lit = said.glow + said.shade * guides.shade + certain * relief
    change = bounded(1 + new * lit + old * said.gain, _DARKEST, 4.0).sqrt() - 1
    lift = new * said.lift + old * said.offset
    size = (guides.contact.shape[-2], guides.contact.shape[-1])
    sun = raised(torch.lerp(said.key, said.cast, sure) * key, size) * guides.contact
    evenly = torch.lerp(said.sky, said.cast, sure) * sky * guides.sky + (1 - sure) * said.dim
    casts = exists * new
    own = [change, lift, said.gloss * casts, said.shift, said.sharpen]
    return Tones(
        maps=torch.cat(own, dim=2) * exists,
        shadow=_shadow(sun * casts, raised(evenly, size) * casts, guides.alpha),
    )


def _shrunk(maps: Float[Tensor, "b m 1 h2 w2"], like: Tensor) -> Float[Tensor, "b m 1 h w"]:
    return F.adaptive_avg_pool2d(maps[:, :, 0], (like.shape[-2], like.shape[-1]))[:, :, None]


def _shadow(
    key: Float[Tensor, "b m 3 h w"],
    sky: Float[Tensor, "b m 3 h w"],
    alpha: Float[Tensor, "b m 1 h w"],
) -> Float[Tensor, "b m 3 h w"]:
    """The change of brightness by each layer, from the shares of the open light that it takes of
    what those before it have left: all of its `key`, and so much of the `sky`."""
    light = open_sky = torch.ones_like(key[:, 0])
    found: list[Tensor] = []
    for sun, above, own in zip(key.unbind(1), sky.unbind(1), alpha.unbind(1), strict=True):
        left = bounded(light - sun - open_sky * above, _DARKEST, 1.0)
        found.append(bounded(left / light, _DARKEST, 1.0).sqrt() - 1)
        light = torch.lerp(left, torch.ones_like(left), own)
        open_sky = torch.lerp(open_sky * (1 - above), torch.ones_like(left), own)
    return torch.stack(found, dim=1)
