"""What an edit looks like where effects are baked into pictures instead of made anew.

Each starts from the true effects of before the edit: the best that such a method could know.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from annotator.scenes.shards import EditedScene
from ldm.carrying import and_none, carried
from ldm.effects import shown
from ldm.values import Effects, Layers


def rigid(edited: EditedScene) -> Float[Tensor, "b 3 h w"]:
    """The picture after an edit in which effects are one with their layer: they are moved and
    scaled as it is, go when it goes, and a new layer has none.

    The best that an object layer with its effects baked in can do (LayerDecomp, Yang et al., CVPR
    2025).
    """
    return shown(edited.after.layers, taken_along(edited))


def left_behind(edited: EditedScene) -> Float[Tensor, "b 3 h w"]:
    """The picture after an edit in which shadows and reflections stay where they were, also those
    of layers that are gone; the light on a layer goes with it."""
    own, before, after = taken_along(edited), edited.before.effects, edited.after.layers
    origin = edited.moves.origin
    slots, sources = list(range(len(origin))), list(origin)
    for gone in sorted(set(range(before.shadow.shape[1])) - set(origin)):
        slots.insert(gone, -1)
        sources.insert(gone, gone)
    # An invisible slot, the last, stands for each layer that is gone: it still casts.
    layers = Layers(
        rgba=and_none(after.rgba, 0.0)[:, slots],
        present=F.pad(after.present, (0, 1), value=True)[:, slots],
    )
    effects = Effects(
        multiply=and_none(own.multiply, 1.0)[:, slots],
        add=and_none(own.add, 0.0)[:, slots],
        shadow=and_none(before.shadow, 1.0)[:, sources],
        reflection=and_none(before.reflection, 0.0)[:, sources],
        alpha=layers.alpha,
    )
    return shown(layers, effects)


def taken_along(edited: EditedScene) -> Effects:
    """The true effects of before an edit, each moved and scaled with its layer."""
    return carried(edited.before.effects, edited.moves, edited.after.layers)
