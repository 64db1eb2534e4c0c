"""Finding the light of layers by a picture that shows them in it."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from cldm.relation.guides import told
from cldm.relation.network import RelationNetwork
from ldm.compositing import resize
from ldm.effects import shown
from ldm.values import Layers, Light

_SIDE = 128  # pixels along the longer side: enough to see where shadows fall
_DIRECTIONS = torch.cartesian_prod(
    torch.arange(8) * math.radians(45), torch.tensor([math.radians(25), math.radians(55)])
)  # azimuth and elevation
_STEPS = torch.tensor([math.radians(15), math.radians(10), 0.3]).diag()
_WAYS = torch.tensor([[-1.0], [1.0]])
_ROUNDS, _SHORTER = 5, 0.6  # down to steps of some two degrees


def found_light(
    network: RelationNetwork, layers: Layers, picture: Float[Tensor, "1 3 h w"]
) -> Light:
    """The light under which a network's own picture of the layers of one picture is nearest to the
    true one; colour and ambient share are the network's own estimate.

    The best of that estimate and of directions all around, then pattern search (Hooke and Jeeves,
    "Direct Search Solution of Numerical and Statistical Problems", 1961): a step to either side in
    azimuth, elevation and softness in turn, the best kept, then smaller steps.
    """
    small, wanted = _small(layers, picture)
    guess = network.estimated(small).light

    def best(numbers: Float[Tensor, "k 3"]) -> tuple[Float[Tensor, "1 3"], Float[Tensor, ""]]:
        many = Layers(
            rgba=small.rgba.expand(len(numbers), -1, -1, -1, -1),
            present=small.present.expand(len(numbers), -1),
        )
        found = shown(many, network(many, told(_light(numbers, guess))))
        error, index = (found - wanted).square().mean(dim=(1, 2, 3)).min(dim=0)
        return numbers[index][None], error

    numbers = torch.stack([guess.azimuth, guess.elevation, guess.softness], dim=-1)
    softness = guess.softness.expand(len(_DIRECTIONS))[:, None]
    numbers, error = best(torch.cat([numbers, torch.cat([_DIRECTIONS, softness], dim=1)]))
    for number in range(_ROUNDS):
        for step in _STEPS * _SHORTER**number:
            tried, found = best(numbers + _WAYS * step)
            if found < error:
                numbers, error = tried, found
    return _light(numbers, guess)


def _small(
    layers: Layers, picture: Float[Tensor, "1 3 h w"]
) -> tuple[Layers, Float[Tensor, "1 3 h2 w2"]]:
    scale = min(1, _SIDE / max(layers.size))
    size = (round(layers.size[0] * scale), round(layers.size[1] * scale))
    wanted = F.interpolate(picture, size=size, mode="bilinear", antialias=True)
    return Layers(rgba=resize(layers.rgba, size), present=layers.present), wanted


def _light(numbers: Float[Tensor, "k 3"], guess: Light) -> Light:
    """Lights by azimuth, elevation and softness; all else as guessed."""
    azimuth, elevation, softness = numbers.unbind(-1)
    return Light(
        azimuth=azimuth,
        elevation=elevation.clamp(0, math.pi / 2),
        colour=guess.colour.expand(len(numbers), -1),
        softness=softness.clamp(0, 1),
        ambient=guess.ambient.expand(len(numbers)),
    )
