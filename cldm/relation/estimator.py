"""Estimator: the network that sees where the light of a picture comes from."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from cldm.relation.estimate import LightEstimate
from cldm.relation.traces import Found, TraceFinder, TraceReader, Verdict, directions, placed
from ldm.compositing import stack, visibility
from ldm.projection import towards
from ldm.scene import LitLayers
from ldm.values import Layers, Light, TensorValue

_SHARPNESS = 30.0  # of a taught direction: a von Mises-Fisher lobe some ten degrees wide
_SMALL = 1e-3
_USUAL = (0.5, 0.5, 1.0, 1.0, 1.0)  # softness, ambient, colour
_TRACED = 0.08  # a cell that has more is asked for its vote
# Of traces, of single votes, of all but direction, of agreement; the verdict has 1.
_WEIGHTS = (8.0, 0.3, 0.5, 0.5)
_SEEN = 1.5  # cells of a layer that must be seen to tell whether it agrees


@dataclass(frozen=True, kw_only=True)
class Sight(TensorValue):
    """All that an estimator sees: what it finds, what it reads from that, and how likely each layer
    above the back stands in the light already, 0..1."""

    found: Found
    verdict: Verdict
    agreed: Float[Tensor, "b m"]

    @property
    def estimate(self) -> LightEstimate:
        """The mean of the lights that it could mean."""
        logits = self.verdict.logits
        usual = torch.tensor(_USUAL, device=logits.device)
        softness, ambient, colour = (self.found.others + usual).split([1, 1, 3], dim=-1)
        return LightEstimate(
            direction=logits.softmax(dim=-1) @ directions().to(logits.device),
            softness=softness[:, 0],
            ambient=ambient[:, 0],
            colour=colour,
        )


class LightEstimator(nn.Module):
    """Two small convolutional networks: layers at working size -> LightEstimate.

    Shading and cast shadows of what the back shows tell of the light (as DESOBA has it: Hong et
    al., "Shadow Generation for Composite Image in Real-world Scenes", AAAI 2022). The first network
    finds such traces, the second reads the light from them: each is easily taught by itself, where
    both at once learn nothing for long. New, it answers with an overcast sky, brighter in front:
    the least wrong where nothing is known.
    """

    def __init__(self) -> None:
        super().__init__()
        self.finder = TraceFinder()
        self.reader = TraceReader()

    def forward(self, small: Layers) -> LightEstimate:
        """The light of layers, one of each picture."""
        return self.sight(small).estimate

    def sight(self, small: Layers) -> Sight:
        """All that it sees in layers."""
        found = self.finder(_pixels(small))
        verdict = self.reader(found.traces.sigmoid())
        return Sight(found=found, verdict=verdict, agreed=_agreed(found, small).sigmoid())

    def agreed(self, small: Layers) -> Float[Tensor, "b m"]:
        """How likely each layer above the back stands in the light already, 0..1: it is among the
        bodies that have left traces."""
        return _agreed(self.finder(_pixels(small)), small).sigmoid()

    def loss(self, lit: LitLayers) -> Float[Tensor, ""]:
        """How wrong it is of layers of working size: cross-entropies of the traces, of what it
        reads from those that it finds and from the true ones, and of who stands in the light, and
        squared errors of all else."""
        sight, likely = self.sight(lit.layers), likeliness(lit.light)
        size = (sight.found.traces.shape[-2], sight.found.traces.shape[-1])
        traces = F.adaptive_avg_pool2d(lit.traces, size)
        told = self.reader(traces)
        reading = reading_loss(sight.verdict, likely, traces) + reading_loss(told, likely, traces)
        finding, _, others, agreeing = _WEIGHTS
        return (
            reading
            + finding * traces_loss(sight.found, traces)
            + others * others_loss(sight.found, lit.light)
            + agreeing * agreed_loss(sight.found, lit)
        )


def likeliness(light: Light) -> Float[Tensor, "b k"]:
    """The directions that can be voted for, each the likelier the nearer it is to the light's."""
    return (_SHARPNESS * towards(light) @ directions().to(light.azimuth.device).T).softmax(dim=-1)


def reading_loss(
    verdict: Verdict, likely: Float[Tensor, "b k"], traces: Float[Tensor, "b 2 y x"]
) -> Float[Tensor, ""]:
    """Cross-entropy of the verdict, and of the single votes of places that have traces."""
    _, weight, _, _ = _WEIGHTS
    size = (verdict.votes.shape[-2], verdict.votes.shape[-1])
    asked = F.adaptive_avg_pool2d(traces.sum(dim=1), size).clamp(max=1)
    asked = asked * (asked > _TRACED)
    wrong = -torch.einsum("bkyx,bk->byx", verdict.votes, likely)
    votes = (wrong * asked).sum() / asked.sum().clamp(min=1)
    return weight * votes - (likely * verdict.logits.log_softmax(dim=-1)).sum(dim=-1).mean()


def traces_loss(found: Found, traces: Float[Tensor, "b 2 y x"]) -> Float[Tensor, ""]:
    """Cross-entropy of the traces: its best guess is the mean of what could be there."""
    return F.binary_cross_entropy_with_logits(found.traces, traces)


def others_loss(found: Found, light: Light) -> Float[Tensor, ""]:
    """Squared error of softness, ambient share and colour; its best guess is the mean."""
    truth = torch.cat([light.softness[:, None], light.ambient[:, None], light.colour], dim=-1)
    usual = torch.tensor(_USUAL, device=truth.device)
    return (found.others + usual - truth).square().sum(dim=-1).mean()


def agreed_loss(found: Found, lit: LitLayers) -> Float[Tensor, ""]:
    """Cross-entropy of who stands in the light already, among layers that are seen."""
    logits, (_, area) = _agreed(found, lit.layers), _seen(found, lit.layers)
    asked = (area > _SEEN).to(logits.dtype)
    wrong = F.binary_cross_entropy_with_logits(
        logits, lit.agreed[:, 1:].to(logits.dtype), reduction="none"
    )
    return (wrong * asked).sum() / asked.sum().clamp(min=1)


def _agreed(found: Found, small: Layers) -> Float[Tensor, "b m"]:
    """Logits of whether each layer stands in the light already: the mean of those of a body, where
    it is seen."""
    (shares, area), bodies = _seen(found, small), found.traces[:, :1]
    return (shares * bodies).sum(dim=(-1, -2)) / area.clamp(min=_SMALL)


def _seen(found: Found, small: Layers) -> tuple[Float[Tensor, "b m y x"], Float[Tensor, "b m"]]:
    """How much of each cell shows each layer above the back, and the sum of all cells."""
    size = (found.traces.shape[-2], found.traces.shape[-1])
    shares = F.adaptive_avg_pool2d(visibility(small.alpha)[:, 1:, 0], size)
    return shares, shares.sum(dim=(-1, -2))


def _pixels(small: Layers) -> Float[Tensor, "b 9 h w"]:
    back, covered = small.rgb[:, 0], 1 - visibility(small.alpha)[:, 0]
    shown = torch.cat([back, stack(small), covered], dim=1) - 0.5
    return torch.cat([shown, placed(shown, 1.0)], dim=1)
