"""Artwork: an artist's document as layers that can be related, and with effects a document again.

What an earlier relation added is taken away first: effects are replaced, never doubled.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from itertools import chain, count

import torch

from ldm.document import Blend, Document, Sheet, clipping_runs, flatten
from ldm.effects import EFFECT_SHEETS, effects_document
from ldm.export.ora import UNLIT
from ldm.mistake import MistakeError
from ldm.values import Effects, Layers

_ADDED = EFFECT_SHEETS | {UNLIT: Blend.NORMAL}
_LEAST_ALPHA = 1 - 1.5 / 255  # of an opaque back: one level of 255 may be missing
_LONGEST_NAME = 200  # with what effects add to it, a PSD still holds it whole


class ArtworkError(MistakeError):
    """A document whose layers cannot be related; its text is one line for a person."""


@dataclass(frozen=True, kw_only=True)
class Artwork:
    """One picture's layers, each under a name of its own, and the sheets that stay as they are.

    `kept[0]` lies below the back, `kept[slot + 1]` directly above the layer in `slot`.
    """

    layers: Layers
    names: tuple[str, ...]
    kept: tuple[tuple[Sheet, ...], ...]


def artwork_of(document: Document, max_layers: int) -> Artwork:
    """The visible normal sheets of a document of one picture as layers, the lowest as the back.

    What is clipped to a layer is painted into it, its opacity goes into its alpha. Hidden sheets
    and those that multiply or add are no layers: they are kept.

    Raises ArtworkError when there is nothing before the back, when there are more than `max_layers`
    and when the back is not opaque.
    """
    layers: list[Sheet] = []
    kept: list[list[Sheet]] = [[]]
    for base, clipped in _own_runs(document.sheets):
        if base.visible and base.blend is Blend.NORMAL:
            name = _free_name(base.name or f"layer {len(layers)}", {each.name for each in layers})
            layers.append(Sheet(rgba=flatten(Document(sheets=(base, *clipped))), name=name))
            kept.append([replace(sheet, group=name) for sheet in clipped if not sheet.visible])
        else:
            kept[-1] += [base, *clipped]
    _require_relatable(layers, max_layers)
    stacked = torch.stack([layer.rgba for layer in layers], dim=1)
    present = torch.ones(stacked.shape[:2], dtype=torch.bool)
    return Artwork(
        layers=Layers(rgba=stacked, present=present).with_opaque_back(),
        names=tuple(layer.name for layer in layers),
        kept=tuple(map(tuple, kept)),
    )


def related(artwork: Artwork, effects: Effects) -> Document:
    """The artwork with the effects of its layers; what was kept lies where it lay."""
    document = effects_document(artwork.layers, effects, artwork.names)
    sheets = list(artwork.kept[0])
    for name, above in zip(artwork.names, artwork.kept[1:], strict=True):
        sheets += [sheet for sheet in document.sheets if sheet.group == name]
        sheets += above
    return Document(sheets=tuple(sheets))


def _own_runs(sheets: tuple[Sheet, ...]) -> Iterator[tuple[Sheet, list[Sheet]]]:
    """Each sheet of the artist's with those clipped to it; a lit one is unlit again."""
    own = {(sheet.group, sheet.name): sheet for sheet in sheets}

    def added(sheet: Sheet) -> bool:
        return any(
            sheet.blend is blend
            and sheet.name.endswith(ending)
            and belongs(sheet.group, sheet.name.removesuffix(ending))
            and (sheet.group, sheet.name.removesuffix(ending)) in own
            for ending, blend in _ADDED.items()
        )

    for base, clipped in clipping_runs(sheets):
        if added(base):
            continue
        unlit = own.get((base.group, base.name + UNLIT))
        if unlit and added(unlit):
            base = replace(base, rgba=unlit.rgba)
        yield base, [sheet for sheet in clipped if not added(sheet)]


def belongs(group: str, name: str) -> bool:
    """Whether a group is that of a layer of such name, within whatever groups."""
    return group == name or group.endswith(f" / {name}")


def _free_name(name: str, taken: Collection[str]) -> str:
    """The name, cut, with a number where another layer has it already."""
    name = name[:_LONGEST_NAME]
    numbered = (f"{name} {number}" for number in count(2))
    return next(each for each in chain([name], numbered) if each not in taken)


def _require_relatable(layers: list[Sheet], max_layers: int) -> None:
    if not 2 <= len(layers) <= max_layers:
        raise ArtworkError(
            f"visible layers: found {len(layers)},"
            f" expected a back and 1 to {max_layers - 1} before it"
        )
    back = layers[0]
    clear = (back.rgba.split([3, 1], dim=1)[1] < _LEAST_ALPHA).float().mean().item()
    if clear:
        raise ArtworkError(
            f"layer {back.name!r}: found {clear:.1%} of it not opaque, expected the lowest visible"
            " layer to cover the whole picture; fill it or put a background below it"
        )
