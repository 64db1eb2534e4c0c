"""`Scene`: an example whose layers, light and effects are all known."""

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ldm.effects import agreeing, shown
from ldm.values import Effects, Layers, Light, TensorValue, identity_effects


@dataclass(frozen=True, kw_only=True)
class LitLayers(TensorValue):
    """Layers as they look, and the light they stand in."""

    layers: Layers
    light: Light

    def turned_over(self, turned: Bool[Tensor, " b"]) -> "LitLayers":
        """The same, with left and right exchanged in some pictures."""
        rgba, azimuth = self.layers.rgba, self.light.azimuth
        rgba = torch.where(turned[:, None, None, None, None], rgba.flip(-1), rgba)
        return LitLayers(
            layers=Layers(rgba=rgba, present=self.layers.present),
            light=replace(self.light, azimuth=torch.where(turned, math.pi - azimuth, azimuth)),
        )


@dataclass(frozen=True, kw_only=True)
class Scene(TensorValue):
    """Layers as they look in neutral light, the light they stand in, and what it does to them.

    The true picture is not stored: it is what the layers show under the effects.
    """

    layers: Layers
    light: Light
    effects: Effects

    @property
    def picture(self) -> Float[Tensor, "b 3 h w"]:
        """The true picture."""
        return shown(self.layers, self.effects)


def cut_out(scene: Scene) -> Scene:
    """The same pictures, of layers that were cut from them: they agree already, and nothing is to
    be done."""
    layers = agreeing(scene.layers, scene.effects)
    return Scene(layers=layers, light=scene.light, effects=identity_effects(layers))


def baked(scene: Scene, count: Int[Tensor, " b"]) -> Scene:
    """The same pictures, with the first `count` slots above the back painted into it.

    The slots above them move down; those that get free are absent, or gone in the whole batch.
    """
    layers, num_slots = scene.layers, scene.layers.present.shape[1]
    sunk = layers.present & (torch.arange(num_slots, device=count.device) <= count[:, None])
    back = shown(Layers(rgba=layers.rgba, present=sunk), _among(scene.effects, sunk))
    slots = torch.arange(num_slots, device=count.device)
    source = torch.where(slots == 0, 0, slots + count[:, None])
    rows, last = torch.arange(len(count), device=count.device)[:, None], num_slots - 1
    present = layers.present[rows, source.clamp(max=last)] & (source <= last)
    num_left = int(present.any(dim=0).nonzero().amax()) + 1
    source, present = source[:, :num_left].clamp(max=last), present[:, :num_left]
    above = layers.rgba[rows, source] * present[:, :, None, None, None]
    opaque = F.pad(back, (0, 0, 0, 0, 0, 1), value=1.0)[:, None]
    return Scene(
        layers=Layers(rgba=torch.cat([opaque, above[:, 1:]], dim=1), present=present),
        light=scene.light,
        effects=_above_back(_among(scene.effects.indexed((rows, source)), present)),
    )


def _above_back(effects: Effects) -> Effects:
    """The same, neutral in slot 0."""
    there = torch.ones_like(effects.alpha[:, :, 0, 0, 0], dtype=torch.bool)
    there[:, 0] = False
    opaque = torch.ones_like(effects.alpha[:, :1])
    alpha = torch.cat([opaque, effects.alpha[:, 1:]], dim=1)
    return replace(_among(effects, there), alpha=alpha)


def _among(effects: Effects, present: Bool[Tensor, "b n"]) -> Effects:
    """Effects, neutral in slots that are absent."""
    there = present[:, :, None, None, None]
    return Effects(
        multiply=torch.where(there, effects.multiply, 1.0),
        add=torch.where(there, effects.add, 0.0),
        shadow=torch.where(there, effects.shadow, 1.0),
        reflection=torch.where(there, effects.reflection, 0.0),
        alpha=torch.where(there, effects.alpha, 0.0),
    )
