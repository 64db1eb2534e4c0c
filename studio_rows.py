"""The studio's rows: one prompt per mask, and how prompts follow their masks.

Layers of Gradio's editor come without names, and their index changes with their order: so a prompt
is kept beside the mask that it was written for, and moves with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from cldm.condition import palette

Mask = Bool[np.ndarray, "h w"]
Picture = UInt8[np.ndarray, "h w 4"]

_THUMBNAIL_SIDE = 64


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The mask of each row, back to front; the first `shown` rows belong to layers of the editor.

    The others keep the masks of layers that were taken away, for when these come back.
    """

    masks: tuple[Mask | None, ...]
    shown: int = 1

    def with_masks(self, masks: Sequence[Mask], order: Sequence[int]) -> "Rows":
        """The rows after `order` was found by `follow`."""
        kept = [self.masks[row] for row in order[len(masks) :]]
        return Rows(masks=(*masks, *kept), shown=max(1, len(masks)))


def follow(rows: Rows, masks: Sequence[Mask]) -> list[int]:
    """For each row the one whose prompt it takes over, now that the editor shows `masks`.

    A prompt follows the mask that overlaps its own most. What overlaps nothing stays in its row
    where the number of layers is as before (it was painted anew); else it is a new layer, and
    gets a row without a mask.
    """
    order = _overlapping(rows, masks)
    same_count = len(masks) == rows.shown
    free = [row for row in range(len(rows.masks)) if row not in order.values()]

    for now in range(len(rows.masks)):
        if now not in order:
            used = {row for row in free if not same_count and _solid(rows.masks[row])}
            order[now] = min(free, key=lambda row: (now < len(masks) and row in used, row != now))
            free.remove(order[now])
    return [order[now] for now in range(len(rows.masks))]


def read_masks(layers: Sequence[Picture], size: int) -> list[Mask]:
    """The editor's layers as masks of the picture's size: alpha above one half."""
    alphas = [Image.fromarray(layer).getchannel("A").resize((size, size)) for layer in layers]
    return [np.asarray(alpha) > 127 for alpha in alphas]


def coloured(mask: Mask, row: int) -> Picture:
    """A mask as a layer of the editor, in the colour of its slot."""
    return np.where(mask[:, :, None], (*colour(row), 255), 0).astype(np.uint8)


def colour(row: int) -> tuple[int, int, int]:
    """The colour of a row's masks: that of its slot in the segmentation palette."""
    red, green, blue = (palette(row + 2)[row + 1] * 255).round().int().tolist()
    return red, green, blue


def thumbnail(mask: Mask | None) -> Image.Image | None:
    """A small silhouette of a mask: in the editor, colours are the painter's affair."""
    if mask is None:
        return None
    return Image.fromarray(~mask).convert("L").resize((_THUMBNAIL_SIDE, _THUMBNAIL_SIDE))


def _overlapping(rows: Rows, masks: Sequence[Mask]) -> dict[int, int]:
    """The old row of each mask that overlaps an old one, best pairs first."""
    pairs = [
        (_overlap(old, new), before, now)
        for before, old in enumerate(rows.masks)
        for now, new in enumerate(masks)
        if old is not None
    ]
    order: dict[int, int] = {}
    for overlap, before, now in sorted(pairs, reverse=True):
        if overlap > 0 and now not in order and before not in order.values():
            order[now] = before
    return order


def _overlap(one: Mask, other: Mask) -> float:
    """Intersection over union; 0 for two empty masks."""
    return float((one & other).sum() / max((one | other).sum(), 1))


def _solid(mask: Mask | None) -> bool:
    return mask is not None and bool(mask.any())
