"""What all relation networks have in common: their interface, and the one that does nothing."""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import torch
from torch import nn

from cldm.relation.guides import LightHint
from ldm.values import Effects, Layers, identity_effects


@runtime_checkable
class RelationNetwork(Protocol):
    """A module of PyTorch that says how layers light each other."""

    def __call__(self, layers: Layers, hint: LightHint) -> Effects:
        """Effects of the layers' own size; the back and absent slots stay as they are."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """All weights; there may be none."""
        ...

    def to(self, device: torch.device) -> "RelationNetwork":
        """The same network on another device."""
        ...


class PlainStacking(nn.Module):
    """The relation network that changes nothing: what the others are measured against."""

    def forward(self, layers: Layers, hint: LightHint) -> Effects:
        """Identity, whatever the light."""
        return identity_effects(layers)
