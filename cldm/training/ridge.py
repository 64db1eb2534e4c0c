"""Ridge regression whose examples come in batches."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

_RIDGE = 1e-4  # of the mean of the moments' diagonal
_SMALL = 1e-6


@dataclass(frozen=True, kw_only=True)
class Lacking:
    """Places where the answer of a linear head lacks something, by colour.

    `basis`: what each of `g` fields is multiplied by there; `read`: what the head reads; `light`:
    what is lacking; `weight`: how much that shows.
    """

    basis: Float[Tensor, "k g 3"]
    read: Float[Tensor, "k d"]
    light: Float[Tensor, "k 3"]
    weight: Float[Tensor, " k"]


class Ridge:
    """Finds the weights of a linear head whose fields, each times its basis, sum to what is
    lacking.

    Of each colour alone, `argmin_w sum v (x w - l)^2 + r |w|^2` with `x` the products of basis and
    what is read (Hoerl and Kennard, "Ridge Regression", Technometrics 1970). Kept are moments, not
    examples.
    """

    def __init__(self, num_fields: int, width: int, device: torch.device) -> None:
        self.num_fields = num_fields
        size = num_fields * width
        self._moments = torch.zeros(3, size, size, dtype=torch.double, device=device)
        self._target = torch.zeros(3, size, 1, dtype=torch.double, device=device)

    def add(self, lacking: Lacking) -> None:
        """Learn from more places."""
        for colour in range(3):
            basis = lacking.basis[..., colour, None]
            features = (basis * lacking.read[:, None]).flatten(1)
            weighed = (features * lacking.weight[:, None]).T.double()
            self._moments[colour] += weighed @ features.double()
            self._target[colour] += weighed @ lacking.light[:, colour, None].double()

    def solve(self) -> Float[Tensor, "g 3 d"]:
        """The best weights; zero where nothing was learnt from."""
        diagonal = self._moments.diagonal(dim1=1, dim2=2)
        least = (_RIDGE * diagonal.mean(dim=1)).clamp(min=_SMALL)
        found = torch.linalg.solve(
            self._moments + torch.diag_embed(least[:, None].expand_as(diagonal)), self._target
        )
        return found[..., 0].float().unflatten(1, (self.num_fields, -1)).transpose(0, 1)
