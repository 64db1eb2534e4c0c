"""Disturbance: layers made wrong on purpose, for a relation network to put right."""

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from ldm.values import Layers

_STRONGEST = 1.5  # gain and gamma of a channel, or one over it
_EDGE = 0.35


def recoloured(layers: Layers, slots: Bool[Tensor, "b n"], generator: Generator) -> Layers:
    """Layers in random wrong colours: gamma and gain of each channel, both up to a factor 1.5.

    The recipe of HCOCO in iHarmony4 (Cong et al., "DoveNet", CVPR 2020), with random curves for its
    transfers of colour. `generator` is the CPU's.
    """
    shape = (2, *slots.shape, 3, 1, 1)
    random = torch.rand(shape, generator=generator).to(layers.rgba.device)
    gamma, gain = _STRONGEST ** (2 * random - 1)
    wrong = (layers.rgb.clamp(1e-4, 1).pow(gamma) * gain).clamp(0, 1)
    rgb = torch.where(slots[:, :, None, None, None], wrong, layers.rgb)
    return Layers(rgba=torch.cat([rgb, layers.alpha], dim=2), present=layers.present)


def roughened(layers: Layers, slots: Bool[Tensor, "b n"], generator: Generator) -> Layers:
    """Layers whose soft edges were moved in or out, and made harder or softer."""
    shape = (2, *slots.shape, 1, 1, 1)
    random = torch.rand(shape, generator=generator).to(layers.rgba.device)
    shift, harder = _EDGE * (2 * random - 1)
    alpha = layers.alpha
    wrong = alpha + 4 * alpha * (1 - alpha) * (shift + harder * (2 * alpha - 1))
    alpha = torch.where(slots[:, :, None, None, None], wrong.clamp(0, 1), alpha)
    return Layers(rgba=torch.cat([layers.rgb, alpha], dim=2), present=layers.present)


def random_slots(
    present: Bool[Tensor, "b n"], share: Float[Tensor, " b"], generator: Generator
) -> Bool[Tensor, "b n"]:
    """One random present slot above the back, in that share of the pictures; else none."""
    chance = torch.rand((2, *present.shape), generator=generator).to(present.device)
    above = present.clone()
    above[:, 0] = False
    first = torch.where(above, chance[0], -1.0).argmax(dim=1)
    slots = torch.arange(present.shape[1], device=present.device) == first[:, None]
    return slots & above & (chance[1, :, :1] < share[:, None])
