"""Holding: what is said of layers stays, but for what was edited and what lies near it."""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from cldm.relation.placed import Placed
from cldm.relation.tones import Tones
from ldm.carrying import MARGIN, NOTICED, overtaken
from ldm.metrics import dilate


@dataclass(frozen=True, kw_only=True, eq=False)
class Said:
    """What was said of the layers above a back, in one light.

    `alpha`: theirs at working size; `mirror`: where the mirror image of each lies; `light`: the
    numbers that a network is told of it.
    """

    layers: tuple[Placed, ...]
    alpha: Float[Tensor, "m 1 y x"]
    mirror: Float[Tensor, "m 1 y x"]
    light: Float[Tensor, "1 9"]
    tones: Tones

    def after(self, before: "Said") -> "Said":
        """The same, where it is held against what was said before an edit.

        In the same light, and before the same back, a layer that was not edited keeps its tones:
        they change only near edited ones, and near what these cast, before or after. Otherwise
        a network, which looks at all layers together, would change its mind a little everywhere.
        """
        same_back = self.layers[0].same(before.layers[0])
        if not same_back or not torch.equal(self.light, before.light):
            return self
        origin = self._origin(before)
        edited = self._edited(before, origin)
        gone = ~torch.isin(torch.arange(len(before.layers) - 1), origin[~edited])
        near = torch.maximum(self._reach(edited), before._reach(gone))
        near = torch.maximum(dilate(near, MARGIN), edited.float()[:, None, None, None])
        known = before.tones.indexed(origin.clamp(min=0))
        finer = (self.tones.shadow.shape[-2], self.tones.shadow.shape[-1])
        tones = Tones(
            maps=torch.lerp(known.maps, self.tones.maps, near),
            shadow=torch.lerp(known.shadow, self.tones.shadow, F.interpolate(near, finer)),
        )
        return replace(self, tones=tones)

    def _origin(self, before: "Said") -> Tensor:
        """For each layer above the back its place among those of before, or -1."""
        places = [
            [slot for slot, old in enumerate(before.layers[1:]) if layer.rgba is old.rgba]
            for layer in self.layers[1:]
        ]
        return torch.tensor([found[0] if found else -1 for found in places], dtype=torch.long)

    def _edited(self, before: "Said", origin: Tensor) -> Bool[Tensor, " m"]:
        """Which layers above the back are new, lie elsewhere, or have changed places with one that
        does not."""
        moved = [
            slot < 0 or not layer.same(before.layers[1 + slot])
            for layer, slot in zip(self.layers[1:], origin.tolist(), strict=True)
        ]
        apart = torch.tensor(moved, dtype=torch.bool)
        return apart | overtaken(origin.masked_fill(apart, -1))

    def _reach(self, slots: Bool[Tensor, " m"]) -> Float[Tensor, "1 y x"]:
        """One where some layers are seen, or cast something that is."""
        if not slots.any():
            return torch.zeros_like(self._seen[0])
        return (self._seen[slots].amax(dim=0) > NOTICED).float()

    @cached_property
    def _seen(self) -> Float[Tensor, "m 1 y x"]:
        """How much each layer, its shadow or its mirror image shows, at most."""
        _, _, gloss, _, _ = self.tones.parts
        dark = -self.tones.shadow.amin(dim=1, keepdim=True)
        dark = F.adaptive_max_pool2d(dark, (self.alpha.shape[-2], self.alpha.shape[-1]))
        return dark.maximum(gloss * self.mirror).maximum(self.alpha)
