"""Guides: what geometry alone says of shadow and shade, for the relation network to weigh."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import accumulate, combinations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from cldm.relation.tones import raised
from ldm.interception import intercepted
from ldm.occlusion import key_occlusion, remaining, sky_occlusion
from ldm.projection import (
    FRONT,
    Standing,
    facing,
    lambert,
    lowest_row,
    mirrored,
    standing,
    wrapped,
)
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

    `key`: share of the key light that the layer newly takes from what lies behind it: the ground or
    other layers; `sky`: the same for an even sky, the ground alone; `shade`: key light on the layer
    itself, as it wraps around soft bodies, where it and those behind it let light through;
    `direct`: the same on hard ones, by Lambert's law; `up`, `front`: parts of the layer's normals,
    by which it gets light from the sky, off the ground and from the viewer's side; `mirror`: where
    its mirror image lies; `contact`: as `key`, finer.
    """

    key: Float[Tensor, "b m 1 h w"]
    sky: Float[Tensor, "b m 1 h w"]
    shade: Float[Tensor, "b m 1 h w"]
    direct: Float[Tensor, "b m 1 h w"]
    up: Float[Tensor, "b m 1 h w"]
    front: Float[Tensor, "b m 1 h w"]
    mirror: Float[Tensor, "b m 1 h w"]
    contact: Float[Tensor, "b m 1 h2 w2"]
    alpha: Float[Tensor, "b m 1 h2 w2"]

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


@dataclass(frozen=True, kw_only=True)
class Unshared:
    """Objects each of which is alone on the ground: their `guides` there, what each is as a body,
    and its alpha at working size."""

    guides: Guides
    bodies: Standing
    alpha: Float[Tensor, "b m 1 h w"]


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
        alone = unshared(objects, fine, light)
        return shared([alone], _kept(alone.bodies, light, layers.size))


def no_guides(batch: int, num_objects: int) -> Guides:
    """Guides of one pixel that say nothing."""
    none = torch.zeros(batch, num_objects, 1, 1, 1)
    return Guides(**{field.name: none for field in fields(Guides)})


def unshared(
    objects: Float[Tensor, "b m 4 h w"], finer: Float[Tensor, "b m 4 h2 w2"], light: Light
) -> Unshared:
    """Objects as each of them is alone on the ground."""
    size, fine = ((rgba.shape[-2], rgba.shape[-1]) for rgba in (objects, finer))
    alpha, sharp = (rgba.split([3, 1], dim=2)[1] for rgba in (objects, finer))
    bodies = standing(sharp)
    contact = key_occlusion(bodies, light, fine)
    normals = bodies.seen(facing(bodies), size) * (alpha > 0)
    _, up, front = normals.split(1, dim=2)
    cosine = lambert(normals, light)
    found = Guides(
        key=F.adaptive_avg_pool2d(contact.flatten(1, 2), size)[:, :, None],
        sky=sky_occlusion(bodies, size),
        shade=wrapped(cosine) * (alpha > 0),
        direct=cosine.clamp(min=0),
        up=up,
        front=front,
        mirror=mirrored(objects, lowest_row(alpha)).split([3, 1], dim=2)[1],
        contact=contact,
        alpha=sharp,
    )
    return Unshared(guides=found, bodies=bodies, alpha=alpha)


def _kept(bodies: Standing, light: Light, size: tuple[int, int]) -> Float[Tensor, "b m m h w"]:
    """The share of the key light that each body keeps from the front of each."""
    num_pictures, num_bodies = bodies.base.shape
    kept = bodies.solid.new_zeros(num_pictures, num_bodies, num_bodies, *size)
    there = bodies.present[:, :, None] & bodies.present[:, None]
    for picture, caster, receiver in there.nonzero().tolist():
        one, other = (
            bodies.indexed((slice(picture, picture + 1), slice(body, body + 1)))
            for body in (caster, receiver)
        )
        own = light.indexed(slice(picture, picture + 1))
        found = intercepted(one, other, own, receiver - caster, size)
        kept[picture, caster, receiver] = found[0, 0, 0]
    return kept


def shared(apart: Sequence[Unshared], kept: Float[Tensor, "b m m h w"]) -> Guides:
    """The guides of all objects together, back to front, of those of the objects alone and what
    each of them has `kept` from the front of each.

    Of the key light on the ground, and on each object, each takes only what those before it have
    left; from itself an object keeps it first, together with those behind it.
    """
    alone = Guides(
        **{
            field.name: torch.cat([getattr(one.guides, field.name) for one in apart], dim=1)
            for field in fields(Guides)
        }
    )
    left = torch.stack([*accumulate((1 - kept).unbind(1), torch.minimum)], dim=1)
    reached = left.diagonal(dim1=1, dim2=2).movedim(-1, 1)[:, :, None]
    lit = (alone.direct / FRONT).clamp(max=1)[:, None, :, 0]
    taken = (left[:, :-1] - left[:, 1:]) * lit
    alpha = torch.cat([one.alpha for one in apart], dim=1)
    return replace(
        alone,
        key=_on_all(_newly(alone.key), taken, alpha),
        contact=_on_all(_newly(alone.contact), taken, alone.alpha),
        shade=alone.shade * reached,
        direct=alone.direct * reached,
    )


def _on_all(
    ground: Float[Tensor, "b m 1 h w"],
    taken: Float[Tensor, "b k m y x"],
    alpha: Float[Tensor, "b m 1 h w"],
) -> Float[Tensor, "b m 1 h w"]:
    """What each takes of the light on what lies behind it: of the ground, and of each object
    before it (`taken`, from the second on), where this has alpha."""
    size = (ground.shape[-2], ground.shape[-1])
    seen = list(ground.unbind(1))
    for receiver, caster in combinations(range(len(seen)), 2):
        on_it = raised(taken[:, caster - 1, None, receiver], size)
        seen[caster] = torch.lerp(seen[caster], on_it, alpha[:, receiver])
    return torch.stack(seen, dim=1)


def _newly(occluded: Float[Tensor, "b m 1 h w"]) -> Float[Tensor, "b m 1 h w"]:
    """What each takes of what those before it have left."""
    left = remaining(occluded)
    return left[:, :-1] - left[:, 1:]
