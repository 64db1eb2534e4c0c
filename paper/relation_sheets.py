"""Test scenes to look at: plain, ours and the truth side by side, and what ours consists of."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from cldm.relation.guides import told, unknown_hint
from cldm.relation.network import RelationNetwork
from ldm.compositing import over, stack, visibility
from ldm.effects import shown
from ldm.export.contact_sheet import Cell, write_cells
from ldm.scene import Scene
from ldm.values import Effects, Layers

_SHOWN, _WORST = 24, 5
_AT_ONCE = 6  # scenes on one sheet


def write_sheets(
    folder: Path, scenes: Iterable[Scene], gains: Sequence[float], network: RelationNetwork
) -> None:
    """Draw the first 24 scenes, six to a PNG, and in `worst.png` the five where ours gained least:
    `gains`, in dB, tells how much it was in each."""
    folder.mkdir(parents=True, exist_ok=True)
    worst = sorted(range(len(gains)), key=gains.__getitem__)[:_WORST]
    wanted = {*range(min(_SHOWN, len(gains))), *worst}
    rows = {
        number: row(scene, f"{number}: ", gains[number], network)
        for number, scene in enumerate(scenes)
        if number in wanted
    }
    for first in range(0, min(_SHOWN, len(gains)), _AT_ONCE):
        last = min(first + _AT_ONCE, _SHOWN, len(gains))
        path = folder / f"scenes_{first // _AT_ONCE + 1}.png"
        write_cells([rows[number] for number in range(first, last)], path)
    write_cells([rows[number] for number in worst], folder / "worst.png")


def row(scene: Scene, name: str, gain: float, network: RelationNetwork) -> list[Cell]:
    """One scene, of one picture, from plain stacking to the truth, and what ours consists of."""
    layers = scene.layers
    ours = network(layers, unknown_hint(1))
    pictures = {
        f"{name}plain": stack(layers),
        f"ours, {gain:+.1f} dB": shown(layers, ours),
        "ours, light given": shown(layers, network(layers, told(scene.light))),
        "truth": shown(layers, scene.effects),
        "shade": shade(layers, ours),
        "shadow": ours.shadow.prod(dim=1),
        "reflection": reflection(ours),
    }
    opaque = (
        (caption, F.pad(rgb[0], (0, 0, 0, 0, 0, 1), value=1.0)) for caption, rgb in pictures.items()
    )
    return list(opaque)


def shade(layers: Layers, effects: Effects) -> Float[Tensor, "b 3 h w"]:
    """Light on all layers as they lie: white where it changes nothing."""
    light = effects.multiply + effects.add
    return (visibility(layers.alpha) * light).sum(dim=1).clamp(0, 1)


def reflection(effects: Effects) -> Float[Tensor, "b 3 h w"]:
    """All mirror images over grey."""
    picture = torch.full_like(effects.add[:, 0], 0.5)
    for image in effects.reflection.unbind(1):
        picture = over(picture, image)
    return picture
