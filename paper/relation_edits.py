"""Edits whose outcome is known: what an edit changes, and what it must not."""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from annotator.scenes.shards import EditedScene
from annotator.scenes.staging import EditKind
from ldm.effects import shown
from ldm.metrics import affected_region, dilate
from ldm.scene import Scene
from ldm.values import Effects, Layers

_NOTICED = 1 / 255
_MARGIN = 0.03  # of the picture's side: so far from an edit nothing should change


def changed_slots(edited: EditedScene) -> tuple[Bool[Tensor, " n"], Bool[Tensor, " k"]]:
    """Which slots an edit changes, as they were before it and as they are after it: those that
    came, went, or lie elsewhere; those that changed places; all where the light changed."""
    after = [_changed(edited, slot) for slot in range(len(edited.moves.origin))]
    kept = {old for old, changed in zip(edited.moves.origin, after, strict=True) if not changed}
    before = [slot not in kept for slot in range(edited.before.layers.present.shape[1])]
    return torch.tensor(before), torch.tensor(after)


def _changed(edited: EditedScene, slot: int) -> bool:
    moves, old = edited.moves, edited.moves.origin[slot]
    if edited.kind is EditKind.relit or old < 0:
        return True
    if edited.kind is EditKind.reordered and old != slot:
        return True
    return not torch.equal(moves.before.box[:, old], moves.after.box[:, slot])


def cast_region(scene: Scene, slots: Bool[Tensor, " n"]) -> Float[Tensor, "b 1 h w"]:
    """Where shadows and reflections of some layers change the true picture."""
    chosen, effects = slots[:, None, None, None], scene.effects
    without = replace(
        effects,
        shadow=torch.where(chosen, 1.0, effects.shadow),
        reflection=torch.where(chosen, 0.0, effects.reflection),
    )
    return affected_region(shown(scene.layers, effects), shown(scene.layers, without))


def cast_regions(edited: EditedScene) -> tuple[Float[Tensor, "b 1 h w"], Float[Tensor, "b 1 h w"]]:
    """Where the changed layers' shadows and reflections truly lay before, and lie after."""
    before, after = changed_slots(edited)
    return cast_region(edited.before, before), cast_region(edited.after, after)


def still_region(edited: EditedScene) -> Float[Tensor, "b 1 h w"]:
    """What an edit does not touch: all that is more than 3 % of the side away from the changed
    layers, from their true shadows and reflections, before it and after it, and from where else
    the edit truly changes the picture by more than 1/255, as the far ends of soft shadows do."""
    changed = (edited.after.picture - edited.before.picture).abs().amax(dim=1, keepdim=True)
    scenes = zip((edited.before, edited.after), changed_slots(edited), strict=True)
    bodies = [scene.layers.alpha[:, slots].amax(dim=1) for scene, slots in scenes]
    touched = [*bodies, *cast_regions(edited), changed - _NOTICED]
    touched = torch.stack([(part > 0).float() for part in touched])
    return 1 - dilate(touched.amax(dim=0), _MARGIN)


def drawn_region(edited: EditedScene, before: Effects, after: Effects) -> Float[Tensor, "b 1 h w"]:
    """What the changed layers touch as a method draws them: all that is within 3 % of the side of
    where they are seen, or cast what is, before an edit and after it."""
    drawn = zip((before, after), changed_slots(edited), strict=True)
    return dilate(torch.stack([_drawn(*each) for each in drawn]).amax(dim=0), _MARGIN)


def _drawn(effects: Effects, slots: Bool[Tensor, " n"]) -> Float[Tensor, "b 1 h w"]:
    mirror = effects.reflection.split([3, 1], dim=2)[1]
    dark = 1 - effects.shadow.amin(dim=2, keepdim=True)
    seen = torch.stack([dark, mirror, effects.alpha]).amax(dim=0) * slots[:, None, None, None]
    return (seen.amax(dim=1) > _NOTICED).float()


def slot_mask(slot: Int[Tensor, " b"], num_slots: int) -> Bool[Tensor, "b {num_slots}"]:
    """True for one slot of each picture."""
    return torch.arange(num_slots) == slot[:, None]


def nearest_slot(layers: Layers) -> Int[Tensor, " b"]:
    """The foremost layer of each picture: nothing hides it."""
    return layers.present.sum(dim=1) - 1
