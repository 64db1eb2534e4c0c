"""What all relation networks have in common: their interface, and the one that does nothing."""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cldm.relation.estimate import LightEstimate
from cldm.relation.guides import LightHint
from ldm.values import Effects, Layers, identity_effects


@runtime_checkable
class RelationNetwork(Protocol):
    """A module of PyTorch that says how layers light each other."""

    def __call__(self, layers: Layers, hint: LightHint) -> Effects:
        """Effects of the layers' own size; the back and absent slots stay as they are."""
        ...

    def estimated(self, layers: Layers) -> LightEstimate:
        """The light that layers seem to stand in."""
        ...

    def agreed(self, layers: Layers, hint: LightHint) -> Float[Tensor, "b m"]:
        """How likely each layer above the back stands in the light already, 0..1."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """All weights; there may be none."""
        ...

    def to(self, device: torch.device) -> "RelationNetwork":
        """The same network on another device."""
        ...


class PlainStacking(nn.Module):
    """The relation network that changes nothing: what the others are measured against."""

    def estimated(self, layers: Layers) -> LightEstimate:
        """Nothing is known of the light."""
        none = torch.zeros_like(layers.rgba[:, 0, 0, 0, 0])
        return LightEstimate(
            direction=none[:, None].expand(-1, 3),
            softness=none + 1,
            ambient=none + 1,
            colour=(none + 1)[:, None].expand(-1, 3),
        )

    def agreed(self, layers: Layers, hint: LightHint) -> Float[Tensor, "b m"]:
        """Nothing is known of that either."""
        return torch.full_like(layers.rgba[:, 1:, 0, 0, 0], 0.5)

    def forward(self, layers: Layers, hint: LightHint) -> Effects:
        """Identity, whatever the light."""
        return identity_effects(layers)
