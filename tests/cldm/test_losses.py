"""Laws of losses: truth costs nothing, and each term is what its formula says."""

import torch
from subjects import picture
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from cldm.losses import divergence, gradient, over_colours, reconstruction, weighted_square
from ldm.values import Layers


def colours() -> torch.Tensor:
    """A solid colour for each layer."""
    return torch.rand(2, 3, 3, 1, 1)


def test_truth_costs_nothing_and_errors_do(photographs: Layers) -> None:
    rgba = photographs.rgba
    assert float(reconstruction(rgba, rgba, colours())) == 0
    assert float(reconstruction(rgba, rgba * 0.9, colours())) > 0.01


def test_colour_under_alpha_zero_costs_nothing(photographs: Layers) -> None:
    rgba = photographs.rgba.clone()
    rgba[:, 1, 3] = 0
    other = rgba.clone()
    other[:, 1, :3] = 1 - rgba[:, 1, :3]
    assert float(reconstruction(rgba, other, colours())) == 0


def test_layers_are_laid_over_the_same_colours(photographs: Layers) -> None:
    solid = colours()
    shown, other = over_colours(photographs.rgba, photographs.rgba, solid)
    alpha = photographs.alpha
    torch.testing.assert_close(shown, photographs.rgb * alpha + solid * (1 - alpha))
    assert torch.equal(shown, other)


def test_gradient_ignores_what_is_even() -> None:
    truth = picture("duck.jpg", 32)
    assert float(gradient(truth, truth + 0.25)) < 1e-6
    ramp = torch.arange(32.0).expand(3, 32, 32) / 31
    torch.testing.assert_close(gradient(truth, truth + ramp), torch.tensor(1 / 31))


def test_divergence_is_that_of_normals() -> None:
    mean, log_variance = torch.randn(2, 3, 4, 5, 5)
    expected = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0)).mean()
    torch.testing.assert_close(divergence(mean, log_variance), expected)


def test_weights_choose_cells() -> None:
    truth, found = torch.randn(2, 2, 3, 4, 5, 5)
    even = torch.ones(2, 3, 5, 5)
    torch.testing.assert_close(weighted_square(truth, found, even), F.mse_loss(found, truth))
    one = torch.zeros_like(even)
    one[1, 2, 3, 4] = 0.3
    expected = F.mse_loss(found[1, 2, :, 3, 4], truth[1, 2, :, 3, 4])
    torch.testing.assert_close(weighted_square(truth, found, one), expected)
    assert float(weighted_square(truth, found, torch.zeros_like(even))) == 0
