"""The frozen values that flow through the system.

Axes: `b` pictures, `n` slots (0 is the back), `c` channels, `h w` pixels, `z` latent channels,
`y x` latent cells, `l` tokens, `d` width. The `n` axis is always there. Colours are sRGB in 0..1,
alpha is straight, lengths in a picture are shares of its width and height.
"""

from dataclasses import dataclass, fields, replace
from types import EllipsisType
from typing import TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Value = TypeVar("Value", bound="TensorValue")
Index = Tensor | slice | int | tuple[Tensor | slice | EllipsisType, ...]


@dataclass(frozen=True, kw_only=True)
class TensorValue:
    """A frozen bundle of tensors that moves between devices as one."""

    def to(self: Value, target: torch.device | torch.dtype | str) -> Value:
        """The same value on another device, or with its floating tensors in another dtype."""
        return replace(
            self,
            **{field.name: _moved(getattr(self, field.name), target) for field in fields(self)},
        )

    def joined(self: Value, other: Value) -> Value:
        """Both batches as one: the other's pictures after its own."""
        parts: dict[str, Tensor | TensorValue] = {}
        for field in fields(self):
            first, second = getattr(self, field.name), getattr(other, field.name)
            is_tensor = isinstance(first, Tensor)
            parts[field.name] = torch.cat([first, second]) if is_tensor else first.joined(second)
        return replace(self, **parts)

    def indexed(self: Value, index: Index) -> Value:
        """Each tensor at an index: some pictures of the batch, or some slots of each."""
        parts: dict[str, Tensor | TensorValue] = {}
        for field in fields(self):
            part = getattr(self, field.name)
            parts[field.name] = part[index] if isinstance(part, Tensor) else part.indexed(index)
        return replace(self, **parts)

    def where(self: Value, chosen: Bool[Tensor, " b"], other: Value) -> Value:
        """These pictures where they are chosen, else the other's."""
        parts: dict[str, Tensor | TensorValue] = {}
        for field in fields(self):
            mine, theirs = getattr(self, field.name), getattr(other, field.name)
            parts[field.name] = (
                torch.where(chosen.view(-1, *[1] * (mine.dim() - 1)), mine, theirs)
                if isinstance(mine, Tensor)
                else mine.where(chosen, theirs)
            )
        return replace(self, **parts)


def _moved(
    part: Tensor | TensorValue, target: torch.device | torch.dtype | str
) -> Tensor | TensorValue:
    """A tensor, or a value inside a value."""
    is_whole = isinstance(part, Tensor) and not part.is_floating_point()
    return part if is_whole and isinstance(target, torch.dtype) else part.to(target)


@dataclass(frozen=True, kw_only=True)
class Masks(TensorValue):
    """Where each layer may be: `area` in 0..1 over the picture; absent slots hold zeros."""

    area: Float[Tensor, "b n h w"]
    present: Bool[Tensor, "b n"]


@dataclass(frozen=True, kw_only=True)
class Layers(TensorValue):
    """RGBA layers of pictures: straight alpha, sRGB, 0..1.

    Slot 0 is the back, always present and opaque; the order is the index. Colour under alpha 0
    means nothing. Absent slots are transparent.
    """

    rgba: Float[Tensor, "b n 4 h w"]
    present: Bool[Tensor, "b n"]

    @property
    def rgb(self) -> Float[Tensor, "b n 3 h w"]:
        """The colours."""
        return self.rgba[:, :, :3]

    @property
    def alpha(self) -> Float[Tensor, "b n 1 h w"]:
        """The alphas."""
        return self.rgba[:, :, 3:]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.rgba.shape[-2], self.rgba.shape[-1]

    def with_opaque_back(self) -> "Layers":
        """The same, with alpha 1 everywhere in slot 0."""
        alpha = torch.cat([torch.ones_like(self.alpha[:, :1]), self.alpha[:, 1:]], dim=1)
        return Layers(rgba=torch.cat([self.rgb, alpha], dim=2), present=self.present)

    def thinned(self, every: int) -> "Layers":
        """The layers by one of `every` rows and columns of pixels."""
        return Layers(rgba=self.rgba[..., ::every, ::every], present=self.present)

    def take(self, order: Int[Tensor, " k"]) -> "Layers":
        """The layers of the named slots, back to front in the given order."""
        return Layers(rgba=self.rgba[:, order], present=self.present[:, order])


@dataclass(frozen=True, kw_only=True)
class Frames(TensorValue):
    """Which part of the picture each slot's canvas covers.

    `box` is left, top, right, bottom in picture units, where the picture is 0..1 both ways; a frame
    may reach beyond the picture.
    """

    box: Float[Tensor, "b n 4"]


@dataclass(frozen=True, kw_only=True)
class Light(TensorValue):
    """The light of a picture.

    `azimuth` is the direction that the light comes from in the ground plane, in radians: 0 from the
    right, pi/2 from behind the scene; `elevation` is its height above the ground in radians
    (0..pi/2); `colour` its tint (mean 1); `softness` 0..1 the size of its disc; `ambient` 0..1 the
    share of light that comes from everywhere.
    """

    azimuth: Float[Tensor, " b"]
    elevation: Float[Tensor, " b"]
    colour: Float[Tensor, "b 3"]
    softness: Float[Tensor, " b"]
    ambient: Float[Tensor, " b"]


@dataclass(frozen=True, kw_only=True)
class Effects(TensorValue):
    """What the relation network says of each layer, all in 0..1 (brightening is `add`).

    `multiply`, `add`: light on the layer itself, `rgb * multiply + add`. `shadow`: what the layer
    multiplies onto all that lies behind it. `reflection`: what it mirrors onto what lies behind it.
    `alpha`: its alpha with refined edges. Identity: 1, 0, 1, transparent, alpha unchanged.
    """

    multiply: Float[Tensor, "b n 3 h w"]
    add: Float[Tensor, "b n 3 h w"]
    shadow: Float[Tensor, "b n 3 h w"]
    reflection: Float[Tensor, "b n 4 h w"]
    alpha: Float[Tensor, "b n 1 h w"]


def identity_effects(layers: Layers) -> Effects:
    """The effects that change nothing."""
    zeros = torch.zeros_like(layers.rgb)
    return Effects(
        multiply=zeros + 1,
        add=zeros,
        shadow=zeros + 1,
        reflection=torch.zeros_like(layers.rgba),
        alpha=layers.alpha,
    )
