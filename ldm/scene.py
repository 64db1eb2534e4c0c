"""`Scene`: an example whose layers, light and effects are all known."""

from dataclasses import dataclass

import torch

from ldm.values import Effects, Layers, Light


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Layers as they look in neutral light, the light they stand in, and what it does to them.

    The true picture is not stored: it is what the layers show under the effects.
    """

    layers: Layers
    light: Light
    effects: Effects

    def to(self, target: torch.device | torch.dtype | str) -> "Scene":
        """The same scene on another device, or with its floating tensors in another dtype."""
        return Scene(
            layers=self.layers.to(target),
            light=self.light.to(target),
            effects=self.effects.to(target),
        )
