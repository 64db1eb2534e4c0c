"""Guides: what geometry alone says of shadow and shade, for the relation network to weigh."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ldm.occlusion import contact_occlusion, key_occlusion, remaining, sky_occlusion
from ldm.projection import facing, lambert, mirrored, standing, wrapped
from ldm.values import Layers, Light, TensorValue


@dataclass(frozen=True, kw_only=True)
class LightHint:
    """What is known of the light: where `given` is false, `light` means nothing.

    `agreed`: how likely each layer above the back stands in it already, 0..1; None where a network
    is to see that for itself.
    """

    light: Light
    given: Bool[Tensor, " b"]
    agreed: Float[Tensor, "b m"] | None = None

    def to(self, target: torch.device | torch.dtype | str) -> "LightHint":
        """The same hint on another device, or with its floating tensors in another dtype."""
        given = self.given if isinstance(target, torch.dtype) else self.given.to(target)
        agreed = None if self.agreed is None else self.agreed.to(target)
        return LightHint(light=self.light.to(target), given=given, agreed=agreed)


@dataclass(frozen=True, kw_only=True)
class Guides(TensorValue):
    """Sharp maps for each of the `m` slots above the back, zero for absent ones.

    `key`: share of the key light that the layer newly takes from what lies behind it; `sky`: the
    same for an even sky; `shade`: key light on the layer itself, as it wraps around soft bodies;
    `direct`: the same on hard ones, by Lambert's law; `up`, `front`: parts of the layer's normals,
    by which it gets light from the sky, off the ground and from the viewer's side; `mirror`: where
    its mirror image lies; `contact`: as `key`, finer, and sharp at the feet.
    """

    key: Float[Tensor, "b m 1 h w"]
    sky: Float[Tensor, "b m 1 h w"]
    shade: Float[Tensor, "b m 1 h w"]
    direct: Float[Tensor, "b m 1 h w"]
    up: Float[Tensor, "b m 1 h w"]
    front: Float[Tensor, "b m 1 h w"]
    mirror: Float[Tensor, "b m 1 h w"]
    contact: Float[Tensor, "b m 1 h2 w2"]

    @property
    def maps(self) -> Float[Tensor, "b m 7 h w"]:
        """All maps of one size as channels."""
        own = [self.shade, self.mirror, self.direct, self.up, self.front]
        return torch.cat([self.key, self.sky, *own], dim=2)


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


def told(light: Light) -> LightHint:
    """The hint that says all of a light."""
    return LightHint(light=light, given=torch.ones_like(light.azimuth, dtype=torch.bool))


@torch.no_grad()
def guides(layers: Layers, finer: Layers, light: Light) -> Guides:
    """The guides of layers under a light, without gradient: they say where, not how much.

    `finer`: the same layers, at the size that contact is told at.

    In full precision even where the caller uses autocast.
    """
    objects, fine = (
        each.rgba[:, 1:] * layers.present[:, 1:, None, None, None] for each in (layers, finer)
    )
    with torch.autocast(objects.device.type, enabled=False):
        return gathered([unshared(objects, fine, light)])


def no_guides(batch: int, num_objects: int) -> Guides:
    """Guides of one pixel that say nothing."""
    none = torch.zeros(batch, num_objects, 1, 1, 1)
    return Guides(**{field.name: none for field in fields(Guides)})


def unshared(
    objects: Float[Tensor, "b m 4 h w"], finer: Float[Tensor, "b m 4 h2 w2"], light: Light
) -> Guides:
    """The guides of objects each of which is alone on the ground."""
    size = (objects.shape[-2], objects.shape[-1])
    alpha = objects.split([3, 1], dim=2)[1]
    bodies = standing(alpha)
    key = key_occlusion(bodies, light, size)
    there = (alpha > 0).float()
    normals = facing(bodies) * there
    _, up, front = normals.split(1, dim=2)
    cosine = lambert(normals, light)
    return Guides(
        key=key,
        sky=sky_occlusion(bodies, size),
        shade=wrapped(cosine) * there,
        direct=cosine.clamp(min=0),
        up=up,
        front=front,
        mirror=mirrored(objects, bodies.bottom).split([3, 1], dim=2)[1],
        contact=key if finer.shape == objects.shape else _contact(finer, light),
    )


def _contact(finer: Float[Tensor, "b m 4 h w"], light: Light) -> Float[Tensor, "b m 1 h w"]:
    size = (finer.shape[-2], finer.shape[-1])
    return contact_occlusion(standing(finer.split([3, 1], dim=2)[1]), light, size)


def gathered(apart: Sequence[Guides]) -> Guides:
    """The guides of all objects together, of those of the objects alone, back to front: of the key
    light each takes only what those before it have left."""
    together = Guides(
        **{
            field.name: torch.cat([getattr(one, field.name) for one in apart], dim=1)
            for field in fields(Guides)
        }
    )
    return replace(together, key=_newly(together.key), contact=_newly(together.contact))


def _newly(occluded: Float[Tensor, "b m 1 h w"]) -> Float[Tensor, "b m 1 h w"]:
    """What each takes of what those before it have left."""
    left = remaining(occluded)
    return left[:, :-1] - left[:, 1:]
