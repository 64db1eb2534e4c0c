"""Traces of light: a network that finds them in a picture, and one that reads light from them."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ldm.blocks import GroupNorm, zeroed
from ldm.projection import towards
from ldm.values import Light, TensorValue

PIXELS = 3 + 3 + 1 + 2  # the back, the plain picture, what covers the back; column and row
OTHERS = 1 + 1 + 3  # softness, ambient, colour
_FINDING = (40, 64, 96)
_READING = (32, 64, 128)
_AZIMUTHS, _ELEVATIONS = 16, (26, 39, 51, 64)  # degrees
_FRONT = 0.5  # how much likelier than others the front is to a new network
_RARE = -3.0  # logit of a trace to a new network
_QUIET = -3.0  # how little a vote counts in a new one


def directions() -> Float[Tensor, "k 3"]:
    """The unit vectors that can be voted for: right, up, towards the viewer."""
    azimuth = torch.arange(_AZIMUTHS) * (2 * math.pi / _AZIMUTHS)
    elevation = torch.deg2rad(torch.tensor(_ELEVATIONS, dtype=torch.float32))
    turn, height = torch.cartesian_prod(azimuth, elevation).unbind(-1)
    return towards(
        Light(
            azimuth=turn,
            elevation=height,
            colour=torch.ones(len(turn), 3),
            softness=torch.zeros_like(turn),
            ambient=torch.zeros_like(turn),
        )
    )


@dataclass(frozen=True, kw_only=True)
class Found(TensorValue):
    """What is found in pictures, in cells of four pixels.

    `traces`: logits of how much of a cell bodies cover that the light falls on, and of the share
    of light that they keep from the rest of it; `others`: softness, ambient and colour of the
    light, around their usual values.
    """

    traces: Float[Tensor, "b 2 y x"]
    others: Float[Tensor, "b 5"]


@dataclass(frozen=True, kw_only=True)
class Verdict(TensorValue):
    """How likely each direction of light is, as log-probabilities: by what is near to each coarse
    cell (`votes`), and by all together, not normalised (`logits`)."""

    votes: Float[Tensor, "b k y x"]
    logits: Float[Tensor, "b k"]


class Residual(nn.Module):
    """Two convolutions, added, then normalised."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = GroupNorm(8, channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, cells: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c y x"]:
        """The cells, changed by what is around each."""
        return cells + self.second(F.silu(self.norm(self.first(F.silu(cells)))))


class TraceFinder(nn.Module):
    """Pictures -> Found: convolutions down to cells of 16 pixels and up again, as in a U-Net
    (Ronneberger et al., 2015)."""

    def __init__(self) -> None:
        super().__init__()
        fine, middle, wide = _FINDING
        self.enter = nn.Sequential(nn.Conv2d(PIXELS, fine, 8, stride=4, padding=2), _norm(fine))
        self.middle = _coarser(fine, middle, num_residuals=1)
        self.wide = _coarser(middle, wide, num_residuals=2)
        self.from_wide = nn.Conv2d(wide, middle, 1)
        self.around = nn.Sequential(Residual(middle), _norm(middle))
        self.from_around = nn.Conv2d(middle, fine, 1)
        self.found = nn.Conv2d(fine, 2, 3, padding=1)
        self.others = zeroed(nn.Linear(middle, OTHERS))

    def forward(self, pixels: Float[Tensor, "b 9 h w"]) -> Found:
        """What there is to see in each picture."""
        fine = self.enter(pixels)
        middle = self.middle(fine)
        wide = F.silu(self.wide(middle))
        around = F.silu(self.around(middle + _enlarged(self.from_wide(wide), middle)))
        traces = self.found(F.silu(fine + _enlarged(self.from_around(around), fine)))
        others = self.others(around.mean(dim=(-1, -2)))
        return Found(traces=traces.float() + _RARE, others=others.float())


class TraceReader(nn.Module):
    """Traces -> Verdict.

    Every place votes for directions by what lies around it: where a body stands and to which side
    its shadow falls. Votes count as much as the place deems them worth; what speaks for a direction
    adds up, as independent evidence does.
    """

    def __init__(self) -> None:
        super().__init__()
        near, middle, wide = _READING
        count = len(directions())
        self.enter = nn.Conv2d(2 + 2, near, 4, stride=2, padding=1)
        self.near = nn.Sequential(Residual(near), _norm(near))
        self.middle = _coarser(near, middle, num_residuals=2)
        self.wide = _coarser(middle, wide, num_residuals=1)
        self.from_wide = nn.Conv2d(wide, middle, 1)
        self.votes = zeroed(nn.Conv2d(middle, count, 1))
        self.worth = zeroed(nn.Conv2d(middle, 1, 1))
        self.usual = zeroed(nn.Linear(middle, count))

    def forward(self, traces: Float[Tensor, "b 2 y x"]) -> Verdict:
        """What traces, 0..1, say of the light."""
        cells = torch.cat([traces, placed(traces, 2.0)], dim=1)
        middle = self.middle(self.near(self.enter(cells)))
        wide = F.silu(self.wide(middle))
        found = F.silu(middle + _enlarged(self.from_wide(wide), middle))
        votes = self.votes(found).float().log_softmax(dim=1)
        worth = F.softplus(self.worth(found).float() + _QUIET)
        front = _FRONT * directions().to(traces.device)[:, 2]
        usual = self.usual(found.mean(dim=(-1, -2))).float() + front
        return Verdict(votes=votes, logits=(worth * votes).sum(dim=(-1, -2)) + usual)


def placed(cells: Float[Tensor, "b c y x"], extent: float) -> Float[Tensor, "b 2 y x"]:
    """Column and row of each cell, around the middle; the picture is `extent` wide and high."""
    half, (height, width) = extent / 2, cells.shape[-2:]
    column = torch.linspace(-half, half, width, device=cells.device).expand(height, width)
    row = torch.linspace(-half, half, height, device=cells.device)[:, None].expand(height, width)
    return torch.stack([column, row]).expand(len(cells), -1, -1, -1)


def _norm(channels: int) -> GroupNorm:
    return GroupNorm(8, channels)


def _coarser(channels: int, wider: int, *, num_residuals: int) -> nn.Sequential:
    """Half as many cells along each side."""
    down = nn.Conv2d(channels, wider, 3, stride=2, padding=1)
    residuals = [Residual(wider) for _ in range(num_residuals)]
    return nn.Sequential(nn.SiLU(), down, *residuals, _norm(wider))


def _enlarged(cells: Float[Tensor, "b c y x"], like: Tensor) -> Float[Tensor, "b c y2 x2"]:
    return F.interpolate(cells, size=like.shape[-2:], mode="bilinear")
