"""Estimate: where the light of a picture comes from, by what stands and lies in it already."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from cldm.relation.guides import LightHint
from ldm.projection import towards
from ldm.values import Light, TensorValue

_WIDEST = 1.2  # radians: a light that is as soft as this seems to come from everywhere
_SMALL = 1e-3
_SURE = 4


@dataclass(frozen=True, kw_only=True)
class LightEstimate(TensorValue):
    """The mean of all lights that a picture could stand in.

    `direction`: mean of the unit vectors towards the light (right, up, towards the viewer); the
    shorter, the less is known, and light that could come from any side comes from above.
    `softness`, `ambient`, `colour` as in `Light`.
    """

    direction: Float[Tensor, "b 3"]
    softness: Float[Tensor, " b"]
    ambient: Float[Tensor, " b"]
    colour: Float[Tensor, "b 3"]

    @property
    def confidence(self) -> Float[Tensor, " b"]:
        """0 (nothing is known of the direction) to 1."""
        return self.direction.norm(dim=-1).clamp(max=1)

    @property
    def light(self) -> Light:
        """The likeliest light, as a person would set it."""
        length = self.direction.norm(dim=-1).clamp(min=_SMALL)
        right, up, front = (self.direction / length[:, None]).unbind(-1)
        return Light(
            azimuth=torch.atan2(-front, right),
            elevation=torch.asin(up.clamp(-1, 1)).clamp(0, math.pi / 2),
            colour=self.colour.clamp(min=0),
            softness=self.softness.clamp(0, 1),
            ambient=self.ambient.clamp(0, 1),
        )


def certain(light: Light) -> LightEstimate:
    """The estimate of one who knows the light."""
    return LightEstimate(
        direction=towards(light),
        softness=light.softness,
        ambient=light.ambient,
        colour=light.colour,
    )


def overcast(batch: int) -> LightEstimate:
    """An overcast sky from the front: the least wrong where nothing is known."""
    one = torch.ones(batch)
    return LightEstimate(
        direction=torch.tensor([0.0, 0.5, 0.2]).expand(batch, -1),
        softness=0.5 * one,
        ambient=0.5 * one,
        colour=one[:, None].expand(-1, 3),
    )


@dataclass(frozen=True, kw_only=True)
class AssumedLight(TensorValue):
    """The light that a relation network goes by, what it is told of it as `numbers`, how `certain`
    that is, 0..1, and how likely each layer above the back stands in it already, 0..1.

    Where the direction is uncertain, the light is so much wider.
    """

    light: Light
    numbers: Float[Tensor, "b 9"]
    certain: Float[Tensor, " b"]
    agreed: Float[Tensor, "b m"]

    @property
    def sure(self) -> Float[Tensor, " b"]:
        """How far geometry alone says where shadows lie, 0..1: only where it is nearly certain."""
        return self.certain**_SURE


NUM_NUMBERS = 3 + 1 + 1 + 3 + 1  # direction, softness, ambient, colour, given


def assumed(hint: LightHint, estimate: LightEstimate, agreed: Float[Tensor, "b m"]) -> AssumedLight:
    """The given light; where none is given, the estimated one."""
    told, guessed, given = hint.light, estimate.light, hint.given
    unsure = torch.arccos(estimate.confidence) / _WIDEST
    light = Light(
        azimuth=torch.where(given, told.azimuth, guessed.azimuth),
        elevation=torch.where(given, told.elevation, guessed.elevation),
        colour=torch.where(given[:, None], told.colour, guessed.colour),
        softness=torch.where(given, told.softness, (guessed.softness + unsure).clamp(max=1)),
        ambient=torch.where(given, told.ambient, guessed.ambient),
    )
    direction = torch.where(given[:, None], towards(told), estimate.direction)
    others = torch.stack([light.softness, light.ambient, given.to(direction.dtype)], dim=-1)
    return AssumedLight(
        light=light,
        numbers=torch.cat([direction, others, light.colour - 1], dim=-1),
        certain=torch.where(given, torch.ones_like(unsure), estimate.confidence),
        agreed=agreed,
    )
