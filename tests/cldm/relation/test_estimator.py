"""Laws of the light's estimator: what its loss asks for, and how small it is."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from cldm.relation.estimator import (
    LightEstimator,
    agreed_loss,
    likeliness,
    reading_loss,
    traces_loss,
)
from cldm.relation.traces import Found, Verdict, directions
from ldm.projection import towards
from ldm.scene import LitLayers
from ldm.values import Layers, Light


def light(azimuth: float) -> Light:
    """A light some way up."""
    one = torch.ones(1)
    return Light(
        azimuth=azimuth * one,
        elevation=0.7 * one,
        colour=one[:, None].expand(-1, 3),
        softness=0.3 * one,
        ambient=0.4 * one,
    )


def test_directions_lie_all_around_in_the_sky() -> None:
    found = directions()
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(len(found)))
    right, up, front = found.unbind(-1)
    assert abs(right.sum()) < 1e-4
    assert abs(front.sum()) < 1e-4
    assert up.amin() > math.sin(math.radians(20))
    assert up.amax() < math.sin(math.radians(70))


@pytest.mark.parametrize("azimuth", [0.0, 1.0, 2.5, 4.0])
def test_the_likeliest_direction_is_the_nearest(azimuth: float) -> None:
    likely = likeliness(light(azimuth))
    torch.testing.assert_close(likely.sum(dim=-1), torch.ones(1))
    mean = likely @ directions()
    cosine = torch.cosine_similarity(mean, towards(light(azimuth)))
    assert math.degrees(math.acos(cosine.item())) < 5


def test_true_traces_and_a_true_verdict_cost_least() -> None:
    traces = torch.rand(1, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    true = Found(traces=traces.logit(), others=torch.zeros(1, 5))
    wrong = replace(true, traces=true.traces + 0.5)
    assert traces_loss(true, traces) < traces_loss(wrong, traces)
    likely = likeliness(light(1.0))
    votes = likely.log()[:, :, None, None].expand(-1, -1, 2, 2)
    verdict = Verdict(votes=votes, logits=likely.log())
    other = likeliness(light(2.0)).log()
    least = reading_loss(verdict, likely, traces)
    assert least < reading_loss(replace(verdict, logits=other), likely, traces)
    astray = other[:, :, None, None].expand(-1, -1, 2, 2)
    assert least < reading_loss(replace(verdict, votes=astray), likely, traces)
    bare = torch.zeros_like(traces)
    astray_and_not_asked = reading_loss(replace(verdict, votes=astray), likely, bare)
    torch.testing.assert_close(astray_and_not_asked, reading_loss(verdict, likely, bare))


@pytest.mark.parametrize("size", [(128, 128), (128, 96), (32, 16)])
def test_what_covers_the_back_tells_a_new_estimator_nothing(size: tuple[int, int]) -> None:
    rgba = torch.rand(2, 3, 4, *size)
    estimate = LightEstimator()(Layers(rgba=rgba, present=torch.ones(2, 3, dtype=torch.bool)))
    torch.testing.assert_close(estimate.direction[0], estimate.direction[1])
    right, up, front = estimate.direction[0].tolist()
    assert abs(right) < 1e-5
    assert up > front > 0
    assert estimate.confidence.amax() < 0.8


class Sided(nn.Module):
    """A finder that sees bodies on the left only."""

    def forward(self, pixels: Tensor) -> Found:
        traces = torch.full((len(pixels), 2, 16, 16), -4.0)
        traces[:, 0, :, :8] = 4
        return Found(traces=traces, others=torch.zeros(len(pixels), 5))


def sides() -> Layers:
    """A back, two layers on its left half, the second before the first, and one on its right."""
    rgba = torch.rand(1, 4, 4, 64, 64)
    rgba[:, :, 3] = 0
    rgba[:, 0, 3] = 1
    rgba[:, 1, 3, :, 8:32] = 1
    rgba[:, 2, 3, :, 8:24] = 1
    rgba[:, 3, 3, :, 32:] = 1
    return Layers(rgba=rgba, present=torch.ones(1, 4, dtype=torch.bool))


def test_layers_agree_that_are_seen_where_bodies_are_found() -> None:
    estimator = LightEstimator()
    estimator.finder = Sided()
    expected = torch.tensor([[4.0, 4.0, -4.0]]).sigmoid()
    torch.testing.assert_close(estimator.agreed(sides()), expected, atol=0.02, rtol=0)
    assert torch.equal(estimator.sight(sides()).agreed, estimator.agreed(sides()))


def test_who_agrees_is_asked_of_layers_that_are_seen() -> None:
    found, layers = Sided()(torch.zeros(1, 9, 64, 64)), sides()

    def loss(*agreed: bool) -> float:
        lit = LitLayers(
            layers=layers,
            light=light(1.0),
            traces=torch.zeros(1, 2, 16, 16),
            agreed=torch.tensor([[True, *agreed]]),
        )
        return float(agreed_loss(found, lit))

    assert loss(True, True, False) < 0.05 < loss(True, True, True)
    layers.rgba[:, 3, 3, :, 40:] = 0
    layers.rgba[:, 3, 3, 2:] = 0  # less than two cells are left
    assert loss(True, True, True) < 0.05


def test_it_takes_less_than_three_megabytes_in_halves() -> None:
    assert 2 * sum(weight.numel() for weight in LightEstimator().parameters()) < 3_000_000
