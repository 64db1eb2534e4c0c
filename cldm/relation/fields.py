"""Fields: the few smooth numbers that a relation network says; with the guides they make Effects.

Zero everywhere means: change nothing.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from cldm.relation.guides import Guides
from ldm.projection import lowest_row, mirrored
from ldm.values import Effects, Layers, TensorValue

_DARKEST = 0.01  # of the light, linear
_BLACK = 0.02  # darker colours are taken for this when they are divided by


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


def applied(fields: Fields, guides: Guides, layers: Layers) -> Effects:
    """The effects on layers of full size; the back and absent slots stay as they are.

    Fields and guides may be smaller than the layers. Colour, alpha and mirror image are the
    layer's own at full size, so its edges stay sharp.
    """
    size = (layers.rgba.shape[-2], layers.rgba.shape[-1])
    objects = layers.rgba[:, 1:]
    rgb, alpha = objects.split([3, 1], dim=2)
    there = layers.present[:, 1:, None, None, None]
    light = 1 + fields.glow + fields.shade * guides.shade
    change = raised((_bounded(light, _DARKEST, 4.0).sqrt() - 1) * there, size)
    brighter = _rising(change)
    # What brightens is textured as the layer is; what a lift takes away, too.
    rest = rgb * brighter + raised(fields.lift * there, size)
    add = _rising(rest)
    taken_off = (rest - add) / rgb.clamp(min=_BLACK)
    taken = fields.key * guides.key + fields.sky * guides.sky + fields.dim
    shadow = raised((_bounded(1 - taken, _DARKEST, 1.0).sqrt() - 1) * there, size)
    gloss = raised(fields.gloss * there, size)
    refined = torch.where(there, _refined(fields, alpha), alpha)
    return Effects(
        multiply=_above_back(_bounded(1 + (change - brighter) + taken_off, 0.0, 1.0), 1.0),
        add=_above_back(_bounded(add, 0.0, 1.0), 0.0),
        shadow=_above_back(1 + shadow, 1.0),
        reflection=_above_back(_reflection(gloss, objects), 0.0),
        alpha=torch.cat([layers.alpha[:, :1], refined], dim=1),
    )


def _above_back(objects: Float[Tensor, "b m c h w"], neutral: float) -> Float[Tensor, "b n c h w"]:
    return F.pad(objects, (0, 0, 0, 0, 0, 0, 1, 0), value=neutral)


def _reflection(
    gloss: Float[Tensor, "b m 1 h w"], objects: Float[Tensor, "b m 4 h w"]
) -> Float[Tensor, "b m 4 h w"]:
    image = mirrored(objects, lowest_row(objects.split([3, 1], dim=2)[1]))
    rgb, alpha = image.split([3, 1], dim=2)
    alpha = alpha * _bounded(gloss, 0.0, 1.0)
    return torch.cat([rgb * (alpha > 0), alpha], dim=2)


def _refined(fields: Fields, alpha: Float[Tensor, "b m 1 h w"]) -> Float[Tensor, "b m 1 h w"]:
    """Alpha moved and hardened within its soft edge only."""
    size = (alpha.shape[-2], alpha.shape[-1])
    shift, sharpen = raised(torch.cat([fields.shift, fields.sharpen], dim=2), size).chunk(2, dim=2)
    edge = 4 * alpha * (1 - alpha)
    return _bounded(alpha + edge * (shift + sharpen * (2 * alpha - 1)), 0.0, 1.0)


def raised(field: Float[Tensor, "b m c h w"], size: tuple[int, int]) -> Tensor:
    """A smooth map brought to `size`: `[b m c *size]`."""
    if field.shape[-2:] == size:
        return field
    flat = F.interpolate(field.flatten(0, 1), size=size, mode="bilinear")
    return flat.unflatten(0, field.shape[:2])


def _rising(change: Tensor) -> Tensor:
    """What is above zero; the gradient passes at zero, where a new network stands."""
    return torch.where(change >= 0, change, 0.0)


def _bounded(value: Tensor, low: float, high: float) -> Tensor:
    """Clamped, but the gradient passes, so that nothing gets stuck at a bound."""
    return value.clamp(low, high).detach() + (value - value.detach())
