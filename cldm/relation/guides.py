"""Guides: what geometry alone says of shadow and shade, for the relation network to weigh."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ldm.projection import (
    key_occlusion,
    lambert,
    mirrored,
    remaining,
    sky_occlusion,
    standing,
    wrapped,
)
from ldm.values import Layers, Light, TensorValue


@dataclass(frozen=True, kw_only=True)
class LightHint:
    """What is known of the light: where `given` is false, `light` means nothing."""

    light: Light
    given: Bool[Tensor, " b"]

    def to(self, target: torch.device | torch.dtype | str) -> "LightHint":
        """The same hint on another device, or with its floating tensors in another dtype."""
        moved = self.given if isinstance(target, torch.dtype) else self.given.to(target)
        return LightHint(light=self.light.to(target), given=moved)


@dataclass(frozen=True, kw_only=True)
class Guides(TensorValue):
    """Sharp maps for each of the `m` slots above the back, zero for absent ones.

    `key`: share of the key light that the layer newly takes from what lies behind it; `sky`: the
    same for an even sky; `shade`: key light on the layer itself; `mirror`: where its mirror image
    lies.
    """

    key: Float[Tensor, "b m 1 h w"]
    sky: Float[Tensor, "b m 1 h w"]
    shade: Float[Tensor, "b m 1 h w"]
    mirror: Float[Tensor, "b m 1 h w"]

    @property
    def maps(self) -> Float[Tensor, "b m 4 h w"]:
        """All maps as channels."""
        return torch.cat([self.key, self.sky, self.shade, self.mirror], dim=2)


def unknown_hint(batch: int) -> LightHint:
    """The hint that says nothing."""
    none = torch.zeros(batch)
    light = Light(
        azimuth=none,
        elevation=none,
        colour=none[:, None].expand(-1, 3),
        softness=none,
        ambient=none,
    )
    return LightHint(light=light, given=none.bool())


@torch.no_grad()
def guides(layers: Layers, light: Light) -> Guides:
    """The guides of layers under a light, without gradient: they say where, not how much."""
    size = (layers.rgba.shape[-2], layers.rgba.shape[-1])
    objects = layers.rgba[:, 1:] * layers.present[:, 1:, None, None, None]
    alpha = objects.split([3, 1], dim=2)[1]
    bodies = standing(alpha)
    inside = (alpha > 0).float()
    left = remaining(key_occlusion(bodies, light, size))
    return Guides(
        key=left[:, :-1] - left[:, 1:],
        sky=sky_occlusion(bodies, size),
        shade=wrapped(lambert(bodies, light)) * inside,
        mirror=mirrored(objects, bodies.bottom).split([3, 1], dim=2)[1],
    )
