"""Fields: the few smooth numbers that a relation network says; with the guides they make Tones.

Zero everywhere means: change nothing.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cldm.relation.guides import Guides
from cldm.relation.tones import Tones, bounded, raised
from ldm.values import TensorValue

_DARKEST = 0.01  # of the light, linear


@dataclass(frozen=True, kw_only=True)
class Fields(TensorValue):
    """Smooth maps for each slot above the back, in linear light where they speak of light.

    `glow`: light on the layer whatever its shape; `shade`, `key`, `sky`, `gloss`: how much of each
    guide, by colour; `lift`: what is added to the layer's colours, in sRGB, so that with `glow`
    they undergo an affine map, as in PCT-Net (Guerreiro et al., CVPR 2023); `dim`: shadow where no
    guide has any; `shift`, `sharpen`: how the edge of alpha moves and hardens.
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


WIDTHS = (3, 3, 3, 3, 3, 1, 1, 1, 1)  # channels of each field, in order


def fields_of(channels: Float[Tensor, "b m f h w"]) -> Fields:
    """Fields from the channels of a network's head."""
    glow, shade, lift, key, sky, dim, gloss, shift, sharpen = channels.split(WIDTHS, dim=2)
    return Fields(
        glow=glow,
        shade=shade,
        lift=lift,
        key=key,
        sky=sky,
        dim=dim,
        gloss=gloss,
        shift=shift,
        sharpen=sharpen,
    )


def tones_of(
    fields: Fields, guides: Guides, there: Bool[Tensor, "b m"], agreed: Float[Tensor, "b m"]
) -> Tones:
    """What the fields say, weighed by the guides; slots that are not `there` stay as they are.

    Shadow is as fine as contact: it is sharp at the feet. A layer that has `agreed` with what lies
    behind it casts nothing: that is there already. Where it may have, it casts the mean of both.
    """
    exists = there[:, :, None, None, None]
    casts = exists * (1 - agreed)[:, :, None, None, None]
    light = 1 + fields.glow + fields.shade * guides.shade
    size = (guides.contact.shape[-2], guides.contact.shape[-1])
    evenly = raised(fields.sky * guides.sky + fields.dim, size)
    taken = raised(fields.key, size) * guides.contact + evenly
    change = bounded(light, _DARKEST, 4.0).sqrt() - 1
    shadow = bounded(1 - taken, _DARKEST, 1.0).sqrt() - 1
    own = [change, fields.lift, fields.gloss * casts, fields.shift, fields.sharpen]
    return Tones(maps=torch.cat(own, dim=2) * exists, shadow=shadow * casts)
