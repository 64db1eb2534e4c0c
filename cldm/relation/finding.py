"""Finding the light of layers by effects that show them in it."""

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from cldm.relation.guides import told
from cldm.relation.network import RelationNetwork
from ldm.compositing import resize
from ldm.effects import shown
from ldm.values import Effects, Layers, Light

_SIDE = 128  # pixels along the longer side: enough to see where shadows fall
_DIRECTIONS = torch.cartesian_prod(
    torch.arange(12) * math.radians(30), torch.tensor([math.radians(25), math.radians(55)])
)  # azimuth and elevation
_STEPS = torch.tensor([math.radians(15), math.radians(10), 0.3, 0.15]).diag()
_WAYS = torch.tensor([[-1.0], [1.0]])
_ROUNDS, _SHORTER = 5, 0.6  # down to steps of some two degrees


def found_light(
    network: RelationNetwork, layers: Layers, known: Effects, agreed: Float[Tensor, "1 m"]
) -> Light:
    """The light under which what a network says of the layers of one picture is nearest to effects
    that are known, as far as these can be seen; its colour is the network's own estimate.

    The best of that estimate and of directions all around, then pattern search (Hooke and Jeeves,
    "Direct Search Solution of Numerical and Statistical Problems", 1961): a step to either side in
    azimuth, elevation, softness and ambient share in turn, the best kept, then smaller steps.
    `agreed`: who above the back stands in the light already, 0..1.
    """
    small, true = _small(layers, known)
    wanted, guess = shown(small, true), network.estimated(small).light

    def best(numbers: Float[Tensor, "k 4"]) -> tuple[Float[Tensor, "1 4"], Float[Tensor, ""]]:
        each = torch.zeros(len(numbers), dtype=torch.long)
        many, hint = small.indexed(each), replace(told(_light(numbers, guess)), agreed=agreed[each])
        said = network(many, hint)
        # Shadows by themselves, too: they tell most, and the light on layers is told less well.
        cast = replace(true.indexed(each), shadow=said.shadow)
        errors = [
            (shown(many, effects) - wanted).square().mean(dim=(1, 2, 3)) for effects in (said, cast)
        ]
        error, index = torch.stack(errors).sum(dim=0).min(dim=0)
        return numbers[index][None], error

    numbers = torch.stack([guess.azimuth, guess.elevation, guess.softness, guess.ambient], dim=-1)
    others = numbers.split(2, dim=-1)[1].expand(len(_DIRECTIONS), -1)
    numbers, error = best(torch.cat([numbers, torch.cat([_DIRECTIONS, others], dim=1)]))
    for number in range(_ROUNDS):
        for step in _STEPS * _SHORTER**number:
            tried, found = best(numbers + _WAYS * step)
            if found < error:
                numbers, error = tried, found
    return _light(numbers, guess)


def _small(layers: Layers, known: Effects) -> tuple[Layers, Effects]:
    """Layers of one picture and their effects, no larger than it takes."""
    scale = min(1, _SIDE / max(layers.size))
    size = (round(layers.size[0] * scale), round(layers.size[1] * scale))

    def shrunk(pixels: Float[Tensor, "1 n c h w"]) -> Float[Tensor, "1 n c h2 w2"]:
        return F.interpolate(pixels[0], size=size, mode="bilinear", antialias=True)[None]

    small = Layers(rgba=resize(layers.rgba, size), present=layers.present)
    return small, Effects(
        multiply=shrunk(known.multiply),
        add=shrunk(known.add),
        shadow=shrunk(known.shadow),
        reflection=resize(known.reflection, size),
        alpha=small.alpha,
    )


def _light(numbers: Float[Tensor, "k 4"], guess: Light) -> Light:
    """Lights by azimuth, elevation, softness and ambient share; of the colour that is guessed."""
    azimuth, elevation, softness, ambient = numbers.unbind(-1)
    return Light(
        azimuth=azimuth,
        elevation=elevation.clamp(0, math.pi / 2),
        colour=guess.colour.expand(len(numbers), -1),
        softness=softness.clamp(0, 1),
        ambient=ambient.clamp(0, 1),
    )
