"""Fields: the few smooth numbers that a relation network says; with the guides they make Tones.

Zero everywhere means: change nothing.
"""

from dataclasses import dataclass, fields

import torch
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
    hardens.
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


WIDTHS = (3, 3, 3, 3, 3, 1, 1, 1, 1, 3, 3, 3)  # channels of each field, in order


def fields_of(channels: Float[Tensor, "b m f h w"]) -> Fields:
    """Fields from the channels of a network's head."""
    names = [field.name for field in fields(Fields)]
    return Fields(**dict(zip(names, channels.split(WIDTHS, dim=2), strict=True)))


def shares(light: Light) -> tuple[Float[Tensor, "b 1 3 1 1"], Float[Tensor, "b 1 3 1 1"]]:
    """The shares of the key light and of the sky in all light on the open ground, by colour."""
    sky, key = light.ambient[:, None], (1 - light.ambient)[:, None] * light.colour
    total = (sky + key).clamp(min=_DARKEST)
    key, sky = ((part / total)[:, None, :, None, None] for part in (key, sky))
    return key, sky


def tones_of(
    said: Fields, guides: Guides, there: Bool[Tensor, "b m"], light: AssumedLight
) -> Tones:
    """What fields say, weighed by the guides; slots that are not `there` stay as they are.

    Shadow is as fine as contact: it is sharp at the feet. A layer that has agreed with what lies
    behind it casts nothing: that is there already. Where it may have, it casts the mean of both.
    Relief by Lambert's law counts as far as the light is certain, and new to the layer.
    """
    exists = there[:, :, None, None, None]
    new = (1 - light.agreed)[:, :, None, None, None]
    casts, certain = exists * new, new * light.certain[:, None, None, None, None]
    key, sky = shares(light.light)
    relief = said.direct * guides.direct + said.up * guides.up + said.front * guides.front
    received = 1 + said.glow + said.shade * guides.shade + certain * relief
    size = (guides.contact.shape[-2], guides.contact.shape[-1])
    evenly = raised(said.sky * sky * guides.sky + said.dim, size)
    taken = raised(said.key * key, size) * guides.contact + evenly
    change = bounded(received, _DARKEST, 4.0).sqrt() - 1
    shadow = bounded(1 - taken, _DARKEST, 1.0).sqrt() - 1
    own = [change, said.lift, said.gloss * casts, said.shift, said.sharpen]
    return Tones(maps=torch.cat(own, dim=2) * exists, shadow=shadow * casts)
