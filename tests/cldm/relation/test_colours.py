"""Laws of colour statistics: moments are numpy's, histograms hold every pixel once, padding leaves
no trace."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from subjects import picture

from cldm.relation.colours import ColourReader, noticed, regions, statistics
from cldm.relation.estimate import AssumedLight, assumed, certain
from cldm.relation.fields import WIDTHS, channels_of
from cldm.relation.guides import told
from ldm.values import Layers, Light


def light(num_layers: int) -> AssumedLight:
    """A certain light, in which no layer stands."""
    one = torch.ones(1)
    known = Light(azimuth=one, elevation=one, colour=one.expand(1, 3), softness=one, ambient=one)
    return assumed(told(known), certain(known), torch.zeros(1, num_layers))


def test_moments_are_those_of_the_weighted_pixels() -> None:
    rgb = picture("duck.jpg", 24).flatten(1).clamp(min=0.05)
    weight = torch.linspace(0, 1, rgb.shape[1])
    found = statistics(rgb[None, None], weight[None, None])[0, 0].double().numpy()
    mean, middle, spread, together = np.split(found[:12], 4)
    share, logs = weight.double().numpy(), np.log(rgb.double().numpy())
    covariance = np.cov(logs, aweights=share, ddof=0)
    np.testing.assert_allclose(mean, 4 * np.average(rgb, axis=1, weights=share) - 2, atol=1e-4)
    np.testing.assert_allclose(middle, np.average(logs, axis=1, weights=share) + 1, atol=1e-4)
    np.testing.assert_allclose(spread, 3 * np.sqrt(np.diag(covariance)), atol=1e-3)
    expected = 5 * np.array([covariance[0, 2], covariance[1, 0], covariance[2, 1]])
    np.testing.assert_allclose(together, expected, atol=1e-3)


def test_every_pixel_counts_once_in_the_histogram_of_a_channel() -> None:
    rgb = picture("sheep.jpg", 24).flatten(1)
    found = statistics(rgb[None, None], torch.ones(1, 1, rgb.shape[1]))[0, 0]
    levels = found[12 : 12 + 27].unflatten(0, (3, 9)).square() / 9
    torch.testing.assert_close(levels.sum(dim=1), torch.ones(3))
    middle = (levels * torch.linspace(0, 1, 9)).sum(dim=1)
    torch.testing.assert_close(middle, rgb.mean(dim=1))


def test_weights_of_one_picture_are_told_apart() -> None:
    rgb, weight = torch.rand(2, 1, 3, 50), torch.rand(2, 4, 50)
    together = statistics(rgb, weight)
    apart = statistics(rgb.expand(-1, 4, -1, -1), weight)
    torch.testing.assert_close(together, apart)


def test_absent_layers_leave_no_trace() -> None:
    reader = ColourReader(16).eval()
    back, front = picture("pyramid.jpg", 32), picture("duck.jpg", 32)
    rgba = torch.zeros(1, 4, 4, 32, 32)
    rgba[0, 0] = torch.cat([back, torch.ones(1, 32, 32)])
    rgba[0, 1, :, 8:24, 8:24] = torch.cat([front, torch.ones(1, 32, 32)])[:, 8:24, 8:24]
    padded = Layers(rgba=rgba, present=torch.tensor([[True, True, False, False]]))
    alone = Layers(rgba=rgba[:, :2], present=padded.present[:, :2])
    torch.testing.assert_close(
        reader(regions(padded), light(3))[:, :1], reader(regions(alone), light(1))
    )


def test_a_wrong_tint_is_read_from_its_layer() -> None:
    reader = ColourReader(16).eval()
    rgba = torch.ones(1, 3, 4, 32, 32) * 0.5
    rgba[:, :, 3] = 0
    rgba[:, 0, 3] = rgba[:, 1, 3, :16] = rgba[:, 2, 3, 16:] = 1
    right = Layers(rgba=rgba, present=torch.ones(1, 3, dtype=torch.bool))
    wrong = rgba.clone()
    wrong[:, 1, 0] = 0.8
    found = reader(regions(Layers(rgba=wrong, present=right.present)), light(2))
    assert (found - reader(regions(right), light(2))).abs().amax(dim=-1).min() > 1e-3


def test_how_a_layer_stands_in_the_light_is_heard() -> None:
    reader = ColourReader(16).eval()
    layers = Layers(rgba=torch.rand(1, 2, 4, 32, 32), present=torch.ones(1, 2, dtype=torch.bool))
    seen, agreed = regions(layers), replace(light(1), agreed=torch.ones(1, 1))
    assert not torch.equal(reader(seen, light(1)), reader(seen, agreed))


def test_harmony_that_hardly_shows_is_none() -> None:
    layers = Layers(rgba=torch.rand(1, 2, 4, 32, 32), present=torch.ones(1, 2, dtype=torch.bool))
    layers.rgba[:, :, 3] = 1

    def counts(offset: float) -> float:
        said = torch.zeros(1, 1, sum(WIDTHS))
        said[..., channels_of("offset")] = offset
        return float(noticed(layers, said))

    found = [counts(number / 255) for number in (0.0, 4.9, 7.5, -7.5, 10.1)]
    assert found == pytest.approx([0, 0, 0.5, 0.5, 1], abs=0.02)
