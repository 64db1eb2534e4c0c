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
    """Layers as they look, the light they stand in, its traces in what is seen (see `traces`), in
    cells of any size, and which slots stand in that light already."""

    layers: Layers
    light: Light
    traces: Float[Tensor, "b 2 y x"]
    agreed: Bool[Tensor, "b n"]

    def turned_over(self, turned: Bool[Tensor, " b"]) -> "LitLayers":
        """The same, with left and right exchanged in some pictures."""
        azimuth = self.light.azimuth
        other = LitLayers(
            layers=Layers(rgba=self.layers.rgba.flip(-1), present=self.layers.present),
            light=replace(self.light, azimuth=math.pi - azimuth),
            traces=self.traces.flip(-1),
            agreed=self.agreed,
        )
        return other.where(turned, self)


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
    return partly_cut_out(scene, scene.layers.present.sum(dim=1))


def partly_cut_out(scene: Scene, count: Int[Tensor, " b"]) -> Scene:
    """The same pictures, but the back and the first `count` slots above it were cut from one that
    showed only these; what stands before them is as it was."""
    chosen = _first(scene.layers, count)
    layers = agreeing(scene.layers, _chosen(chosen, scene.effects, identity_effects(scene.layers)))
    rest = _chosen(chosen, identity_effects(layers), scene.effects)
    return Scene(layers=layers, light=scene.light, effects=rest)


def agreed(scene: Scene) -> Bool[Tensor, "b n"]:
    """The slots to which nothing is to be done, and which do nothing to others."""
    effects = scene.effects
    changed = (effects.multiply < 1) | (effects.add > 0) | (effects.shadow < 1)
    return ~changed.flatten(2).any(dim=-1)


def baked(scene: Scene, count: Int[Tensor, " b"]) -> Scene:
    """The same pictures, with the first `count` slots above the back painted into it.

    The slots above them move down; those that get free are absent, or gone in the whole batch.
    """
    layers, num_slots = scene.layers, scene.layers.present.shape[1]
    sunk = _first(layers, count)
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


def traces(scene: Scene, count: Int[Tensor, " b"]) -> Float[Tensor, "b 2 h w"]:
    """What tells of the light once the first `count` slots above the back are painted into it: how
    much of each pixel these cover, and which share of light they keep from the rest of it."""
    chosen = _first(scene.layers, count)[:, 1:, None, None, None]
    alpha, shadow = scene.layers.alpha[:, 1:], scene.effects.shadow[:, 1:]
    free = torch.where(chosen, 1 - alpha, 1.0).prod(dim=1)
    left = torch.where(chosen, shadow, 1.0).prod(dim=1).mean(dim=1, keepdim=True)
    return torch.cat([1 - free, free * (1 - left)], dim=1)


def _first(layers: Layers, count: Int[Tensor, " b"]) -> Bool[Tensor, "b n"]:
    """The slots present among the back and the first `count` above it."""
    slots = torch.arange(layers.present.shape[1], device=count.device)
    return layers.present & (slots <= count[:, None])


def _chosen(slots: Bool[Tensor, "b n"], these: Effects, others: Effects) -> Effects:
    """Some effects in the chosen slots, others elsewhere."""
    chosen = slots[:, :, None, None, None]
    return Effects(
        multiply=torch.where(chosen, these.multiply, others.multiply),
        add=torch.where(chosen, these.add, others.add),
        shadow=torch.where(chosen, these.shadow, others.shadow),
        reflection=torch.where(chosen, these.reflection, others.reflection),
        alpha=torch.where(chosen, these.alpha, others.alpha),
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
