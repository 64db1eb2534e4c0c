"""What an edit looks like where effects are baked into pictures instead of made anew.

Each starts from the true effects of before the edit: the best that such a method could know.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from annotator.scenes.shards import EditedScene
from ldm.compositing import crop, inverse, over
from ldm.effects import shown
from ldm.values import Effects, Frames, Layers


def rigid(edited: EditedScene) -> Float[Tensor, "b 3 h w"]:
    """The picture after an edit in which effects are one with their layer: they are moved and
    scaled as it is, go when it goes, and a new layer has none.

    The best that an object layer with its effects baked in can do (LayerDecomp, Yang et al., CVPR
    2025).
    """
    return shown(edited.after.layers, carried(edited))


def left_behind(edited: EditedScene) -> Float[Tensor, "b 3 h w"]:
    """The picture after an edit in which shadows and reflections stay where they were, also those
    of layers that are gone; the light on a layer goes with it."""
    own, before, after = carried(edited), edited.before.effects, edited.after.layers
    slots, sources = list(range(len(edited.origin))), list(edited.origin)
    for gone in sorted(set(range(before.shadow.shape[1])) - set(edited.origin)):
        slots.insert(gone, -1)
        sources.insert(gone, gone)
    # An invisible slot, the last, stands for each layer that is gone: it still casts.
    layers = Layers(
        rgba=_and_none(after.rgba, 0.0)[:, slots],
        present=F.pad(after.present, (0, 1), value=True)[:, slots],
    )
    effects = Effects(
        multiply=_and_none(own.multiply, 1.0)[:, slots],
        add=_and_none(own.add, 0.0)[:, slots],
        shadow=_and_none(before.shadow, 1.0)[:, sources],
        reflection=_and_none(before.reflection, 0.0)[:, sources],
        alpha=layers.alpha,
    )
    return shown(layers, effects)


def carried(edited: EditedScene) -> Effects:
    """The true effects of before an edit, each moved and scaled with the frame of its layer; none
    for a layer that was not there."""
    origin, before = list(edited.origin), edited.before.effects
    view = _view(edited)
    size = edited.after.layers.size

    def carry(values: Float[Tensor, "b n 3 h w"], neutral: float) -> Float[Tensor, "b k 3 h w"]:
        known = F.pad(_and_none(values, neutral)[:, origin], (0, 0, 0, 0, 0, 1), value=1.0)
        moved = crop(known, view, size)
        return over(torch.full_like(moved.split([3, 1], dim=2)[0], neutral), moved)

    return replace(
        before,
        multiply=carry(before.multiply, 1.0),
        add=carry(before.add, 0.0),
        shadow=carry(before.shadow, 1.0),
        reflection=crop(_and_none(before.reflection, 0.0)[:, origin], view, size),
        alpha=edited.after.layers.alpha,
    )


def _view(edited: EditedScene) -> Frames:
    """For each slot afterwards, the part of the picture before that it sees as the whole picture,
    when its frame of before has come to lie in its frame of after."""
    corner, opposite = edited.frames_before.box[:, list(edited.origin)].split(2, dim=-1)
    picture = inverse(edited.frames_after).box.unflatten(-1, (2, 2))
    box = corner[..., None, :] + picture * (opposite - corner)[..., None, :]
    return Frames(box=box.flatten(-2))


def _and_none(values: Float[Tensor, "b n c h w"], neutral: float) -> Float[Tensor, "b m c h w"]:
    """One slot more, the last: slot -1, that of a layer which was not there."""
    return F.pad(values, (0, 0, 0, 0, 0, 0, 0, 1), value=neutral)
