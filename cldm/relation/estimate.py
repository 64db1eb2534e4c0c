"""Estimate: where the light of a picture comes from, by what stands and lies in it already."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cldm.relation.guides import LightHint
from ldm.blocks import zeroed
from ldm.compositing import stack, visibility
from ldm.projection import towards
from ldm.values import Layers, Light, TensorValue

_CHANNELS = (32, 64, 128, 160)
_INPUTS = 3 + 3 + 1  # the back, the plain picture, what covers the back
_OUTPUTS = 3 + 1 + 1 + 3
_WIDEST = 1.2  # radians: a light that is as soft as this seems to come from everywhere
_SMALL = 1e-3


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


class LightEstimator(nn.Module):
    """A small convolutional network: layers at working size -> LightEstimate.

    Shadows and shading of what the back shows tell of the light (as DESOBA has it: Hong et al.,
    "Shadow Generation for Composite Image in Real-world Scenes", AAAI 2022). New, it answers with
    an overcast sky from the front: the least wrong where nothing is known.
    """

    def __init__(self) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        channels = _INPUTS
        for wider in _CHANNELS:
            blocks += [
                nn.Conv2d(channels, wider, 3, stride=2, padding=1),
                nn.GroupNorm(8, wider),
                nn.SiLU(),
                nn.Conv2d(wider, wider, 3, padding=1),
                nn.SiLU(),
            ]
            channels = wider
        self.convolutions = nn.Sequential(*blocks)
        self.head = zeroed(nn.Linear(2 * channels, _OUTPUTS))

    def forward(self, small: Layers) -> LightEstimate:
        """The light of layers, one of each picture."""
        back = small.rgb[:, 0]
        covered = 1 - visibility(small.alpha)[:, 0]
        seen = torch.cat([back, stack(small), covered], dim=1) - 0.5
        found = self.convolutions(seen).flatten(2)
        pooled = torch.cat([found.mean(dim=-1), found.amax(dim=-1)], dim=-1)
        direction, softness, ambient, colour = self.head(pooled).float().split([3, 1, 1, 3], dim=-1)
        overcast = torch.tensor([0.0, 0.5, 0.2], device=direction.device)
        return LightEstimate(
            direction=direction + overcast,
            softness=softness[:, 0] + 0.5,
            ambient=ambient[:, 0] + 0.5,
            colour=colour + 1,
        )


@dataclass(frozen=True, kw_only=True)
class AssumedLight(TensorValue):
    """The light that a relation network goes by, and what it is told of it as `numbers`.

    Where the direction is uncertain, the light is so much wider.
    """

    light: Light
    numbers: Float[Tensor, "b 9"]


NUM_NUMBERS = 3 + 1 + 1 + 3 + 1  # direction, softness, ambient, colour, given


def assumed(hint: LightHint, estimate: LightEstimate) -> AssumedLight:
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
        light=light, numbers=torch.cat([direction, others, light.colour - 1], dim=-1)
    )


def light_loss(estimate: LightEstimate, light: Light) -> Float[Tensor, ""]:
    """Squared error of all that is said of the light; its best guess is the mean."""
    return (
        (estimate.direction - towards(light)).square().sum(dim=-1)
        + (estimate.softness - light.softness).square()
        + (estimate.ambient - light.ambient).square()
        + (estimate.colour - light.colour).square().sum(dim=-1)
    ).mean()
