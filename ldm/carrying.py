"""Carrying: effects moved as they are, with the layers that they belong to."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ldm.compositing import crop, inverse, over
from ldm.values import Effects, Frames, Layers

NOTICED = 1 / 255
"""What shows by less is not seen."""
MARGIN = 0.015
"""Of the picture's larger side: how far around an edit and what it casts effects may change."""
_SAME = 1e-6  # of the picture: nobody moves a layer by less


@dataclass(frozen=True, kw_only=True)
class Moves:
    """What an edit did with the layers of one picture.

    `origin`: for each slot afterwards (the back is 0) the slot it was before, or -1 when it was not
    there; its frame of `before` has come to lie in its frame of `after`.
    """

    origin: tuple[int, ...]
    before: Frames
    after: Frames

    @property
    def known(self) -> Bool[Tensor, " n"]:
        """Which slots were there before."""
        return torch.tensor(self.origin) >= 0

    @property
    def edited(self) -> Bool[Tensor, " n"]:
        """Which slots are new, lie elsewhere, or have changed places with one that does not."""
        origin = torch.tensor(self.origin)
        apart = (self.before.box[0, origin] - self.after.box[0]).abs().amax(dim=-1) > _SAME
        moved = ~self.known | apart.cpu()
        return moved | overtaken(origin.masked_fill(moved, -1))

    def left(self, num_slots: int) -> Bool[Tensor, " k"]:
        """Which of the slots before are gone, or are edited."""
        kept = torch.tensor(self.origin)[~self.edited]
        return ~torch.isin(torch.arange(num_slots), kept)


def overtaken(origin: Int[Tensor, " n"]) -> Bool[Tensor, " n"]:
    """Which slots have changed places with another: each has an `origin`, -1 for one that does not
    count."""
    pairs = torch.triu(origin[:, None] > origin, diagonal=1) & (origin >= 0)
    return pairs.any(dim=0) | pairs.any(dim=1)


def carried(effects: Effects, moves: Moves, layers: Layers) -> Effects:
    """The effects of before an edit, each moved and scaled with the frame of its layer, none for a
    layer that was not there; `layers` are those afterwards, whose alpha they get."""
    view, size = _view(moves), layers.size

    def carry(values: Float[Tensor, "b n 3 h w"], neutral: float) -> Float[Tensor, "b k 3 h w"]:
        known = F.pad(_taken(values, moves, neutral), (0, 0, 0, 0, 0, 1), value=1.0)
        moved = crop(known, view, size)
        return over(torch.full_like(moved.split([3, 1], dim=2)[0], neutral), moved)

    return replace(
        effects,
        multiply=carry(effects.multiply, 1.0),
        add=carry(effects.add, 0.0),
        shadow=carry(effects.shadow, 1.0),
        reflection=crop(_taken(effects.reflection, moves, 0.0), view, size),
        alpha=layers.alpha,
    )


def and_none(values: Float[Tensor, "b n c h w"], neutral: float) -> Float[Tensor, "b m c h w"]:
    """One slot more, the last: slot -1, that of a layer which was not there."""
    return F.pad(values, (0, 0, 0, 0, 0, 0, 0, 1), value=neutral)


def _taken(
    values: Float[Tensor, "b n c h w"], moves: Moves, neutral: float
) -> Float[Tensor, "b k c h w"]:
    return and_none(values, neutral)[:, list(moves.origin)]


def _view(moves: Moves) -> Frames:
    """For each slot afterwards, the part of the picture before that it sees as the whole picture,
    when its frame of before has come to lie in its frame of after."""
    corner, opposite = moves.before.box[:, list(moves.origin)].split(2, dim=-1)
    picture = inverse(moves.after).box.unflatten(-1, (2, 2))
    box = corner[..., None, :] + picture * (opposite - corner)[..., None, :]
    return Frames(box=box.flatten(-2))
