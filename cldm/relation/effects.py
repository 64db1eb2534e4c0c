"""Effects put on sheets: what the relation network says becomes what an artist can edit."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ldm.document import Blend, Document, Sheet
from ldm.values import Effects, Layers


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
    shadow = _opaque(effects.shadow[:, slot])
    return [
        Sheet(rgba=effects.reflection[:, slot], name=f"{name} reflection", group=name),
        Sheet(rgba=shadow, name=f"{name} shadow", blend=Blend.MULTIPLY, group=name),
    ]


def _own_sheets(layers: Layers, effects: Effects, slot: int, name: str) -> list[Sheet]:
    """A layer and the light on it."""
    own = torch.cat([layers.rgb[:, slot], effects.alpha[:, slot]], dim=1)
    multiply, add = _opaque(effects.multiply[:, slot]), _opaque(effects.add[:, slot])
    return [
        Sheet(rgba=own, name=name, group=name),
        Sheet(rgba=multiply, name=f"{name} shade", blend=Blend.MULTIPLY, clipped=True, group=name),
        Sheet(rgba=add, name=f"{name} shine", blend=Blend.ADD, clipped=True, group=name),
    ]


def _opaque(rgb: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 4 h w"]:
    return F.pad(rgb, (0, 0, 0, 0, 0, 1), value=1.0)
