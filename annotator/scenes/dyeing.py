"""Dyeing: few cut-outs in many colours, so that a network cannot know each by sight."""

import torch
from torch import Generator

from ldm.values import Layers

_EXCHANGED = 0.5  # of those above the back
_GAMMA, _GAIN = 0.3, 0.2  # standard deviations, of logarithms


def dyed(layers: Layers, share: float, generator: Generator) -> Layers:
    """A share of neutral layers in other colours: channels exchanged, gamma and gain changed.

    Those of the back are changed alike, as its tint tells of the light. `generator` is the CPU's.
    """
    shape, device = layers.rgba.shape[:2], layers.rgba.device
    order = torch.rand(*shape, 3, generator=generator).argsort(dim=-1)
    exchanged = torch.rand(shape, generator=generator) < _EXCHANGED
    exchanged[:, 0] = False
    order = torch.where(exchanged[..., None], order, torch.arange(3))
    curve = torch.randn(2, *shape, 3, generator=generator)
    curve[:, :, 0] = curve[:, :, 0, :1]
    gamma, gain = (_GAMMA * curve[0]).exp(), (_GAIN * curve[1]).exp()
    order, gamma, gain = (part.to(device)[..., None, None] for part in (order, gamma, gain))
    other = layers.rgb.gather(2, order.expand_as(layers.rgb)).clamp(1e-4, 1).pow(gamma) * gain
    chosen = (torch.rand(shape, generator=generator) < share).to(device)[:, :, None, None, None]
    rgb = torch.where(chosen, other.clamp(0, 1), layers.rgb)
    return Layers(rgba=torch.cat([rgb, layers.alpha], dim=2), present=layers.present)
