"""Edges: what geometry alone says of each pair of layers."""

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ldm.projection import lowest_row
from ldm.values import TensorValue

_REACH = 2  # pixels of the working size by which each layer is dilated: less than 4 apart touch
_SMALL = 1e-6


@dataclass(frozen=True, kw_only=True)
class Edges(TensorValue):
    """How slot `j` stands to slot `i`, at `[b, i, j]`, all in -1..1.

    `touching`: what both, dilated, share, in shares of the smaller; `overlap`: the same undilated;
    `in_front`: `touching` where `j` is in front, minus it where `j` is behind; `right`, `below`:
    from the middle of `i` to that of `j`, in picture units; `nearer`: the same from foot to foot,
    down; `larger`: the difference of their areas in shares of the sum.
    """

    touching: Float[Tensor, "b n n"]
    overlap: Float[Tensor, "b n n"]
    in_front: Float[Tensor, "b n n"]
    right: Float[Tensor, "b n n"]
    below: Float[Tensor, "b n n"]
    nearer: Float[Tensor, "b n n"]
    larger: Float[Tensor, "b n n"]

    @property
    def features(self) -> Float[Tensor, "b n n 7"]:
        """All of them as channels."""
        return torch.stack([getattr(self, field.name) for field in fields(self)], dim=-1)


NUM_FEATURES = len(fields(Edges))


@torch.no_grad()
def edges(alpha: Float[Tensor, "b n 1 h w"]) -> Edges:
    """The edges between layers by their alphas, without gradient.

    Only between layers that touch does order mean anything; between others it is left out, so that
    they can change places.
    """
    size = 2 * _REACH + 1
    wide = F.max_pool2d(alpha[:, :, 0], size, stride=1, padding=_REACH)
    touching = _shared(wide)
    order = torch.arange(alpha.shape[1], device=alpha.device)
    right, below = (_difference(place) for place in _middle(alpha))
    area = alpha.flatten(2).mean(dim=-1)
    return Edges(
        touching=touching,
        overlap=_shared(alpha[:, :, 0]),
        in_front=touching * _difference(order).sign(),
        right=right,
        below=below,
        nearer=_difference(lowest_row(alpha)),
        larger=_difference(area) / (area[:, :, None] + area[:, None]).clamp(min=_SMALL),
    )


def _difference(place: Tensor) -> Tensor:
    """From `[... n]` to `[... n n]`: the second minus the first."""
    return place[..., None, :] - place[..., :, None]


def _shared(alpha: Float[Tensor, "b n h w"]) -> Float[Tensor, "b n n"]:
    """What each pair covers together, in shares of the smaller, 0..1."""
    flat = alpha.flatten(2)
    area = flat.sum(dim=-1)
    smaller = torch.minimum(area[:, :, None], area[:, None])
    return flat @ flat.transpose(1, 2) / smaller.clamp(min=_SMALL)


def _middle(alpha: Float[Tensor, "b n 1 h w"]) -> tuple[Tensor, Tensor]:
    """Column and row `[b n]` of the centre of each alpha, in picture units; 0 where it is empty."""
    mass = alpha[:, :, 0]
    total = mass.sum(dim=(-2, -1)).clamp(min=_SMALL)
    rows, columns = (
        (torch.arange(size, device=alpha.device) + 0.5) / size for size in mass.shape[-2:]
    )
    return (mass.sum(dim=-2) @ columns) / total, (mass.sum(dim=-1) @ rows) / total
