"""The light of a scene: how far a guess is off, and how to find it by a picture."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from cldm.relation.guides import LightHint
from cldm.relation.network import RelationNetwork
from ldm.compositing import resize
from ldm.effects import shown
from ldm.projection import towards
from ldm.values import Layers, Light

_SIDE = 128  # pixels along the longer side: enough to see where shadows fall
_DIRECTIONS = torch.cartesian_prod(
    torch.arange(8) * math.radians(45), torch.tensor([math.radians(25), math.radians(55)])
)  # azimuth and elevation
_STEPS = torch.tensor([math.radians(15), math.radians(10), 0.3]).diag()
_WAYS = torch.tensor([[-1.0], [1.0]])
_ROUNDS, _SHORTER = 5, 0.6  # down to steps of some two degrees


def light_errors(truth: Light, found: Light) -> dict[str, Float[Tensor, " b"]]:
    """How far lights are from the true ones: the angle between their directions, that around the
    scene, that in height, in degrees; and mean absolute differences of the rest."""
    cosine = (towards(truth) * towards(found)).sum(dim=-1).clamp(-1, 1)
    turn = (found.azimuth - truth.azimuth + math.pi) % (2 * math.pi) - math.pi
    return {
        "direction_error_deg": torch.rad2deg(torch.arccos(cosine)),
        "azimuth_error_deg": torch.rad2deg(turn.abs()),
        "elevation_error_deg": torch.rad2deg((found.elevation - truth.elevation).abs()),
        "colour_error": (found.colour - truth.colour).abs().mean(dim=-1),
        "softness_error": (found.softness - truth.softness).abs(),
        "ambient_error": (found.ambient - truth.ambient).abs(),
    }


def mean_light(lights: Light) -> Light:
    """The mean of lights, its direction that of the mean vector towards them; of one picture."""
    direction = F.normalize(towards(lights).mean(dim=0, keepdim=True), dim=-1)
    right, up, front = direction.unbind(-1)
    return Light(
        azimuth=torch.atan2(-front, right),
        elevation=torch.asin(up),
        colour=lights.colour.mean(dim=0, keepdim=True),
        softness=lights.softness.mean(dim=0, keepdim=True),
        ambient=lights.ambient.mean(dim=0, keepdim=True),
    )


def told(light: Light) -> LightHint:
    """The hint that says all of a light."""
    return LightHint(light=light, given=torch.ones_like(light.azimuth, dtype=torch.bool))


def turned(light: Light, before: Light, after: Light) -> Light:
    """A light changed by as much as an edit changes the true one: what an artist does with a
    handle whatever it showed before."""
    return Light(
        azimuth=light.azimuth + after.azimuth - before.azimuth,
        elevation=(light.elevation + after.elevation - before.elevation).clamp(0, math.pi / 2),
        colour=light.colour * after.colour / before.colour,
        softness=(light.softness + after.softness - before.softness).clamp(0, 1),
        ambient=(light.ambient + after.ambient - before.ambient).clamp(0, 1),
    )


def fitted_light(
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
