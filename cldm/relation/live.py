"""The picture while an artist drags: only what changed is drawn anew."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Generic, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from cldm.relation.estimate import AssumedLight
from cldm.relation.evidence import judged
from cldm.relation.guides import Guides, LightHint, Unshared, shared, unshared
from cldm.relation.holding import Said
from cldm.relation.learned import LearnedRelation
from cldm.relation.placed import Placed
from cldm.relation.tones import Box, Raising, Tones, applied, near, raising, refined, toned
from ldm.interception import intercepted
from ldm.values import Effects, Layers, Light, identity_effects

_TILE = 256  # pixels: what is worked on at once fits the cache, and there are not many tiles
_UNSEEN = 0.35 / 255  # tones that can change the picture by less show the same
_NOTHING = 0.01 / 255  # what is fainter shows nothing
_NOWHERE = Placed(rgba=torch.zeros(4, 0, 0), image=torch.zeros(4, 0, 0), top=0, left=0)


@dataclass(frozen=True, kw_only=True)
class _Drawn:
    """Of what a tile was drawn: the layers that do something in it, the back first, and the tones
    of the others near it. A layer is `_NOWHERE` if but its shadow lies in the tile."""

    layers: tuple[Placed, ...]
    tones: Tones

    def shows(self, other: "_Drawn") -> bool:
        """Whether the other gives the same picture, as far as can be seen."""
        same = len(self.layers) == len(other.layers)
        if not same or not all(map(Placed.same, self.layers, other.layers)):
            return False
        maps = _strength(self.tones.maps - other.tones.maps).sum(dim=0).amax()
        shadow = (self.tones.shadow - other.tones.shadow).abs().sum(dim=0).amax()
        return bool(maps + shadow < _UNSEEN)


@dataclass(frozen=True)
class _Raised:
    """How both parts of tones are raised in one tile."""

    maps: Raising
    shadow: Raising

    def near(self, tones: Tones) -> Tones:
        """What of tones is seen in the tile."""
        return Tones(maps=self.maps.near.cut(tones.maps), shadow=self.shadow.near.cut(tones.shadow))


class LivePicture:
    """One picture that follows its layers.

    It is what `flatten(effects_document(...))` shows of all of them under its `effects`, within
    half of 1/255; but where neither a layer nor what is said of one has changed, nothing is drawn
    anew, tile by tile: `tile` is the side of one in pixels. What the network says is held from one
    picture to the next (see `Said.after`).
    """

    def __init__(
        self, network: LearnedRelation, size: tuple[int, int], *, tile: int = _TILE
    ) -> None:
        self.network = network
        self.size = size
        self._working = network.look.working(size)
        self._picture = torch.ones(1, 4, *size)
        self._finer = network.look.finer(size)
        self._tiles = [
            _Raised(
                *(raising(box, size, torch.zeros(small)) for small in (self._working, self._finer))
            )
            for box in _tiles(size, tile)
        ]
        self._drawn: dict[Box, _Drawn] = {}
        self._small: list[_Known[Tensor]] = []
        self._alone: list[_Known[Unshared]] = []
        self._kept: list[_Known[Tensor]] = []
        self._light = torch.empty(0)
        self._said: Said | None = None

    @torch.no_grad()
    def show(self, layers: Sequence[Placed], hint: LightHint) -> Float[Tensor, "1 4 h w"]:
        """The picture of layers, the back first; a hidden one is left out.

        The next call draws into the same tensor.
        """
        tones = self._tones(layers, hint)
        for raised in self._tiles:
            box = raised.maps.box
            drawn = _present(layers, raised.near(tones), box)
            if box not in self._drawn or not self._drawn[box].shows(drawn):
                back, *objects = drawn.layers
                box.cut(self._picture[0]).copy_(back.own(box))
                for slot, layer in enumerate(objects):
                    _lay(self._picture[0, :3], layer, drawn.tones.indexed(slot), raised)
                self._drawn[box] = drawn
        return self._picture

    def effects(self, layers: Layers) -> Effects:
        """What the picture shows of the layers that were shown last; here the same in full."""
        if self._said is None:
            return identity_effects(layers)
        maps, shadow = self._said.tones.maps, self._said.tones.shadow
        return applied(Tones(maps=maps[None], shadow=shadow[None]), layers)

    def _tones(self, layers: Sequence[Placed], hint: LightHint) -> Tones:
        """What is said, where it can show: on a layer, behind it, on its mirror image."""
        if len(layers) == 1:
            self._said = None
            return Tones(
                maps=torch.zeros(0, 9, *self._working), shadow=torch.zeros(0, 3, *self._finer)
            )
        small = self._seen(layers)
        light = self.network.assumed(small, hint)
        guides = self._guided(layers, small, light)
        said = self.network.tones(small, judged(light, hint, small, guides), guides)
        change, lift, gloss, shift, sharpen = (part[0] for part in said.parts)
        inside = F.max_pool2d((small.alpha[0, 1:] > 0).float(), 3, stride=1, padding=1)
        own = (change * inside, lift * inside, gloss, shift * inside, sharpen * inside)
        maps = F.hardshrink(torch.cat(own, dim=1), _NOTHING)
        tones = Tones(maps=maps, shadow=F.hardshrink(said.shadow[0], _NOTHING))
        _, _, gloss, _, _ = tones.parts
        for alone, layer in zip(gloss[:, 0], layers[1:], strict=True):
            _silence_outside(alone, layer.image_box, self.size)
        now = Said(
            layers=tuple(layers),
            alpha=small.alpha[0, 1:],
            mirror=guides.mirror[0],
            light=light.numbers,
            tones=tones,
        )
        self._said = now.after(self._said) if self._said else now
        return self._said.tones

    def _seen(self, layers: Sequence[Placed]) -> Layers:
        """The layers at working size."""
        self._small = [
            _known(self._small, (layer,), partial(layer.small, self.size, self._working))
            for layer in layers
        ]
        rgba = torch.stack([known.made for known in self._small])[None]
        there = torch.ones(1, len(layers), dtype=torch.bool)
        return self.network.look.small(Layers(rgba=rgba, present=there))

    def _guided(self, layers: Sequence[Placed], small: Layers, light: AssumedLight) -> Guides:
        """Their guides; layers that stay where they are, in the same light, keep their own, and
        what they keep from each other."""
        if not torch.equal(light.numbers, self._light):
            self._alone, self._kept, self._light = [], [], light.numbers
        rgba = small.rgba[:, 1:].split(1, dim=1)
        self._alone = [
            _known(self._alone, (layer,), partial(self._unshared, layer, own, light.light))
            for layer, own in zip(layers[1:], rgba, strict=True)
        ]
        alone = [known.made for known in self._alone]
        self._kept = [
            _known(
                self._kept,
                (layers[1 + caster], layers[1 + receiver]),
                partial(
                    intercepted,
                    alone[caster].bodies,
                    alone[receiver].bodies,
                    light.light,
                    receiver - caster,
                    self._working,
                ),
            )
            for caster, receiver in product(range(len(alone)), repeat=2)
        ]
        kept = torch.cat([known.made for known in self._kept], dim=2)
        return shared(alone, kept[:, 0].unflatten(1, (len(alone), len(alone))))

    def _unshared(self, layer: Placed, small: Float[Tensor, "1 1 4 y x"], light: Light) -> Unshared:
        """One layer, alone."""
        same = self._finer == self._working
        fine = small if same else layer.small(self.size, self._finer)[None, None]
        return unshared(small, fine, light)


Made = TypeVar("Made")


@dataclass(frozen=True, kw_only=True)
class _Known(Generic[Made]):
    """What was made of some layers, where they lay."""

    layers: tuple[Placed, ...]
    made: Made


def _known(
    known: Sequence[_Known[Made]], layers: tuple[Placed, ...], make: Callable[[], Made]
) -> _Known[Made]:
    """What is known of layers; made only where one has changed."""
    for old in known:
        if all(map(Placed.same, layers, old.layers)):
            return old
    return _Known(layers=layers, made=make())


def _tiles(size: tuple[int, int], tile: int) -> Iterator[Box]:
    """Boxes that cover the picture."""
    rows, columns = (
        [range(start, min(start + tile, length)) for start in range(0, length, tile)]
        for length in size
    )
    for part, other in product(rows, columns):
        yield Box(rows=part, columns=other)


def _silence_outside(gloss: Float[Tensor, "y x"], box: Box, size: tuple[int, int]) -> None:
    """Sets to zero what lies farther from a box than raising reaches."""
    nearby = near(box, size, (gloss.shape[0], gloss.shape[1]))
    gloss[: nearby.rows.start] = 0
    gloss[nearby.rows.stop :] = 0
    gloss[:, : nearby.columns.start] = 0
    gloss[:, nearby.columns.stop :] = 0


def _strength(maps: Float[Tensor, "m 9 y x"]) -> Float[Tensor, "m y x"]:
    """By how much maps change any colour of the picture, at most: each of the maps that speak of
    it by its own value."""
    change, lift, *others = Tones(maps=maps.abs(), shadow=maps[:, :3]).parts
    return (change + lift).amax(dim=1) + torch.cat(others, dim=1).sum(dim=1)


def _present(layers: Sequence[Placed], tones: Tones, box: Box) -> _Drawn:
    """The layers that do something in a box."""
    found: list[Placed] = []
    slots: list[int] = []
    most = [part.abs().amax(dim=(1, 2, 3)) for part in (tones.maps, tones.shadow)]
    acting = torch.maximum(*most) > 0
    for slot, (layer, acts) in enumerate(zip(layers[1:], acting.tolist(), strict=True)):
        lies = layer.box.common(box) or layer.image_box.common(box)
        if lies or acts:
            found.append(layer if lies else _NOWHERE)
            slots.append(slot)
    if len(found) < len(layers) - 1:
        tones = tones.indexed(torch.tensor(slots, dtype=torch.long))
    return _Drawn(layers=(layers[0], *found), tones=tones)


def _lay(
    picture: Float[Tensor, "3 h w"],
    layer: Placed,
    tones: Tones,
    raised: _Raised,
) -> None:
    """Lay a layer over what a box of the picture shows: its mirror image, its shadow, itself."""
    box, (_, _, gloss, _, _) = raised.maps.box, tones.parts
    seen = box.common(layer.image_box)
    if seen and gloss.any():
        rgb, alpha = layer.mirrored(seen).split([3, 1])
        seen.cut(picture).lerp_(rgb, alpha * raised.maps(gloss, seen).clamp(0, 1))
    dark = raised.shadow.seen(tones.shadow)
    if dark:
        dark.cut(picture).mul_(1 + raised.shadow(tones.shadow, dark))
    seen = box.common(layer.box)
    if seen:
        rgb, alpha = layer.own(seen).split([3, 1])
        own = Tones(maps=raised.maps(tones.maps, seen), shadow=tones.shadow)
        change, lift, _, shift, sharpen = own.parts
        seen.cut(picture).lerp_(toned(rgb, change, lift), refined(alpha, shift, sharpen))
