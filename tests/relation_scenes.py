"""Scenes of boxes whose effects are known, and edits of them."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from subjects import picture

from annotator.scenes.shards import EditedScene
from annotator.scenes.staging import EditKind
from ldm.carrying import Moves
from ldm.compositing import place
from ldm.scene import Scene
from ldm.values import Effects, Frames, Layers, Light

SIZE = 32
LEFT, RIGHT = (4, 4, 12, 12), (16, 4, 24, 12)
Box = tuple[int, int, int, int]
"""Left, top, right and bottom, in pixels."""


def frames(*boxes: Box) -> Frames:
    """The frames of a back and of boxes on it."""
    return Frames(box=torch.tensor([(0, 0, SIZE, SIZE), *boxes])[None] / SIZE)


def boxes_on_back(*boxes: Box) -> Layers:
    """Horses, and before them sheep in boxes; one picture."""
    canvases = picture("sheep.jpg", 8).expand(1, len(boxes) + 1, -1, -1, -1)
    rgba = place(F.pad(canvases, (0, 0, 0, 0, 0, 1), value=1.0), frames(*boxes), (SIZE, SIZE))
    rgba[0, 0, :3], rgba[0, 0, 3] = 0.3 + 0.4 * picture("horses.jpg", SIZE), 1
    return Layers(rgba=rgba, present=torch.ones(1, len(boxes) + 1, dtype=torch.bool))


def light(azimuth: float = 0.5, elevation: float = 0.7, softness: float = 0.2) -> Light:
    """White light."""
    return Light(
        azimuth=torch.tensor([azimuth]),
        elevation=torch.tensor([elevation]),
        colour=torch.ones(1, 3),
        softness=torch.tensor([softness]),
        ambient=torch.tensor([0.3]),
    )


def lit(layers: Layers) -> Effects:
    """Light, shadow 8 pixels to the right and 4 down, and mirror image 10 pixels down of each box:
    none the identity, and all the same wherever a box lies."""
    alpha, above = layers.alpha[:, 1:], (0, 0, 0, 0, 0, 0, 1, 0)
    shadow = 1 - 0.7 * alpha.roll((4, 8), dims=(-2, -1)).expand(-1, -1, 3, -1, -1)
    image = torch.cat([layers.rgb[:, 1:], 0.5 * alpha], dim=2).roll(10, dims=-2)
    return Effects(
        multiply=F.pad((1 - 0.4 * alpha).expand(-1, -1, 3, -1, -1), above, value=1.0),
        add=F.pad((0.1 * alpha).expand(-1, -1, 3, -1, -1), above),
        shadow=F.pad(shadow, above, value=1.0),
        reflection=F.pad(image, above),
        alpha=layers.alpha,
    )


def scene(*boxes: Box) -> Scene:
    """Lit boxes."""
    layers = boxes_on_back(*boxes)
    return Scene(layers=layers, light=light(), effects=lit(layers))


def edited(
    kind: EditKind, before: Sequence[Box], after: Sequence[Box], origin: tuple[int, ...]
) -> EditedScene:
    """Lit boxes before and after an edit."""
    return EditedScene(
        kind=kind,
        before=scene(*before),
        after=scene(*after),
        moves=Moves(origin=origin, before=frames(*before), after=frames(*after)),
    )


BELOW = (4, 14, 12, 22)
MOVED = edited(EditKind.moved, [LEFT, RIGHT], [BELOW, RIGHT], (0, 1, 2))
REMOVED = edited(EditKind.removed, [LEFT, RIGHT], [RIGHT], (0, 2))
ADDED = edited(EditKind.added, [RIGHT], [LEFT, RIGHT], (0, -1, 1))
REORDERED = edited(EditKind.reordered, [LEFT, RIGHT], [RIGHT, LEFT], (0, 2, 1))
RELIT = edited(EditKind.relit, [LEFT, RIGHT], [LEFT, RIGHT], (0, 1, 2))
