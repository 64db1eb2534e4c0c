"""The light of a scene: how far a guess is off, and what an artist makes of it."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ldm.projection import towards
from ldm.values import Light


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
