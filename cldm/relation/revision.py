"""Revision: an artist's document before an edit, whose effects are known, beside that after it."""

import torch
from jaxtyping import Float
from torch import Tensor

from cldm.relation.artwork import Artwork, ArtworkError, belongs
from cldm.relation.tones import extent
from ldm.carrying import Moves
from ldm.document import Document, Sheet
from ldm.effects import EFFECT_SHEETS
from ldm.export.ora import UNLIT
from ldm.values import Effects, Frames, identity_effects

_Ends = tuple[float, float]
_Box = tuple[float, float, float, float]
_WHOLE = (0.0, 0.0, 1.0, 1.0)
_VISIBLE = 0.5 / 255
_WOBBLE = 2  # pixels by which the extent of a layer can differ that was only moved


def effects_of(document: Document, artwork: Artwork) -> Effects:
    """The effects that a document holds for the layers of its artwork, as they are now: where a
    sheet was taken away or hidden there are none."""
    neutral = identity_effects(artwork.layers)
    parts = {
        " shade": neutral.multiply,
        " shine": neutral.add,
        " shadow": neutral.shadow,
        " reflection": neutral.reflection,
    }
    for slot, name in enumerate(artwork.names):
        for ending, part in parts.items():
            sheet = _effect_sheet(document, name, ending)
            if sheet is not None:
                part[:, slot] = _strength(sheet, part[:, slot])
    return Effects(
        multiply=parts[" shade"],
        add=parts[" shine"],
        shadow=parts[" shadow"],
        reflection=parts[" reflection"],
        alpha=artwork.layers.alpha,
    )


def _effect_sheet(document: Document, name: str, ending: str) -> Sheet | None:
    """The sheet that a layer's effect stands on, if it is shown; light that is baked into a layer
    counts as shown."""
    own = [sheet for sheet in document.sheets if belongs(sheet.group, name)]
    baked = ending in (" shade", " shine") and any(sheet.name == name + UNLIT for sheet in own)
    for sheet in own:
        if sheet.name == name + ending and sheet.blend is EFFECT_SHEETS[ending]:
            return sheet if sheet.visible or baked else None
    return None


def _strength(sheet: Sheet, neutral: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """What a sheet does, as far as its alpha and its opacity let it."""
    rgb, alpha = sheet.rgba.split([3, 1], dim=1)
    alpha = alpha * sheet.opacity
    if neutral.shape[1] == 4:
        return torch.cat([rgb, alpha], dim=1)
    return torch.lerp(neutral, rgb, alpha)


def moves_between(before: Artwork, after: Artwork) -> Moves:
    """Where the layers of a document lay before an edit: those with the same names, moved and
    scaled as the extents of their alphas are.

    What reaches the rim of the picture before or afterwards has not changed its size. Raises
    ArtworkError where the pictures' sizes differ.
    """
    if before.layers.size != after.layers.size:
        found, expected = (" x ".join(map(str, art.layers.size)) for art in (after, before))
        raise ArtworkError(f"size: found {found} pixels, expected those of before, {expected}")
    slots = {name: slot for slot, name in enumerate(before.names)}
    origin = (0, *(slots.get(name, -1) for name in after.names[1:]))
    old, new = [_WHOLE] * len(before.names), [_WHOLE] * len(after.names)
    for slot, source in enumerate(origin):
        if slot > 0 and source >= 0:
            old[source], new[slot] = _moved(
                before.layers.alpha[0, source, 0], after.layers.alpha[0, slot, 0]
            )
    return Moves(
        origin=origin,
        before=Frames(box=torch.tensor([old])),
        after=Frames(box=torch.tensor([new])),
    )


def _moved(was: Float[Tensor, "h w"], now: Float[Tensor, "h w"]) -> tuple[_Box, _Box]:
    """Two frames, the first of which lies in the picture as the second does afterwards."""
    (top, bottom), (new_top, new_bottom) = _ends(was.amax(dim=1), now.amax(dim=1))
    (left, right), (new_left, new_right) = _ends(was.amax(dim=0), now.amax(dim=0))
    return (left, top, right, bottom), (new_left, new_top, new_right, new_bottom)


def _ends(was: Float[Tensor, " k"], now: Float[Tensor, " k"]) -> tuple[_Ends, _Ends]:
    """The same along one side of the picture."""
    length, first, then = len(was), extent(was - _VISIBLE), extent(now - _VISIBLE)
    free_begin = first.start > 0 and then.start > 0
    free_end = first.stop < length and then.stop < length
    if free_begin and free_end and abs(len(first) - len(then)) > _WOBBLE:
        return (first.start / length, first.stop / length), (
            then.start / length,
            then.stop / length,
        )
    shift = then.start - first.start if free_begin else (then.stop - first.stop) * free_end
    return (0.0, 1.0), (shift / length, 1 + shift / length)
