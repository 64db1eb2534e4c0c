"""Effects put on sheets: what a relation network or a maker of scenes says of layers becomes what
an artist can edit, and a picture."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from ldm.compositing import over
from ldm.document import Blend, Document, Sheet, flatten
from ldm.values import Effects, Layers

EFFECT_SHEETS = {
    " reflection": Blend.NORMAL,
    " shadow": Blend.MULTIPLY,
    " shade": Blend.MULTIPLY,
    " shine": Blend.ADD,
}
"""How effects blend, by what their sheets' names say after the layer's."""


def effects_document(layers: Layers, effects: Effects, names: Sequence[str]) -> Document:
    """One group of sheets per slot, back to front; `names` has one name per slot.

    From below: reflection, shadow (multiply), the layer with its refined alpha, and clipped to it
    its light (multiply, then add). The back has neither reflection nor shadow; a slot that is
    absent in the whole batch has no sheets.
    """
    sheets: list[Sheet] = []
    for slot, name in enumerate(names):
        if slot > 0 and not bool(layers.present[:, slot].any()):
            continue
        if slot > 0:
            sheets += _cast_sheets(effects, slot, name)
        sheets += _own_sheets(layers, effects, slot, name)
    return Document(sheets=tuple(sheets))


def _cast_sheets(effects: Effects, slot: int, name: str) -> list[Sheet]:
    """What a layer does to all that lies behind it."""
    return [
        _effect_sheet(effects.reflection[:, slot], name, " reflection"),
        _effect_sheet(_opaque(effects.shadow[:, slot]), name, " shadow"),
    ]


def _own_sheets(layers: Layers, effects: Effects, slot: int, name: str) -> list[Sheet]:
    """A layer and the light on it."""
    own = torch.cat([layers.rgb[:, slot], effects.alpha[:, slot]], dim=1)
    light = [
        _effect_sheet(_opaque(effects.multiply[:, slot]), name, " shade"),
        _effect_sheet(_opaque(effects.add[:, slot]), name, " shine"),
    ]
    return [
        Sheet(rgba=own, name=name, group=name),
        *(replace(sheet, clipped=True) for sheet in light),
    ]


def _effect_sheet(rgba: Float[Tensor, "b 4 h w"], name: str, ending: str) -> Sheet:
    return Sheet(rgba=rgba, name=name + ending, blend=EFFECT_SHEETS[ending], group=name)


def _opaque(rgb: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 4 h w"]:
    return torch.cat([rgb, torch.ones_like(rgb[:, :1, :1, :1]).expand_as(rgb[:, :1])], dim=1)


def shown(layers: Layers, effects: Effects) -> Float[Tensor, "b 3 h w"]:
    """The picture that layers show under effects."""
    names = [f"layer {slot}" for slot in range(layers.rgba.shape[1])]
    rgb, _ = flatten(effects_document(layers, effects, names)).split([3, 1], dim=1)
    return rgb


def agreeing(layers: Layers, effects: Effects) -> Layers:
    """Layers cut from the picture under effects: with the light on them and the shadows and
    reflections that fall on them painted in, so that plainly stacked they show that picture."""
    rgb = layers.rgb * effects.multiply + effects.add
    canvases = [rgb[:, :1]]
    for slot in range(1, rgb.shape[1]):
        there = layers.present[:, slot, None, None, None, None]
        under = torch.cat(canvases, dim=1)
        mirror = effects.reflection[:, slot, None].expand(-1, slot, -1, -1, -1)
        cast = over(under, mirror) * effects.shadow[:, slot, None]
        canvases = [torch.where(there, cast, under), rgb[:, slot, None]]
    colours = torch.cat(canvases, dim=1).clamp(0, 1)
    alpha = effects.alpha * layers.present[:, :, None, None, None]
    return Layers(rgba=torch.cat([colours, alpha], dim=2), present=layers.present)
