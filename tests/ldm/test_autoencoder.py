"""Laws of the autoencoder: it is diffusers', opaque colour survives widening, latents are even."""

from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from subjects import awake, picture, planet
from torch import Tensor

from ldm.autoencoder import Autoencoder, widen

SIZES: dict[str, Any] = {"latent_channels": 4, "channels": (8, 16), "num_residuals": 1}


def autoencoder(*, patch: int = 1, linear: bool = False) -> Autoencoder:
    """Two levels."""
    return awake(Autoencoder(**SIZES, num_groups=4, patch=patch, linear=linear)).eval()


def foreign(channels: int) -> AutoencoderKL:
    """Diffusers' own in the same sizes."""
    sizes: dict[str, Any] = {
        "in_channels": channels,
        "out_channels": channels,
        "latent_channels": 4,
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
    }
    return AutoencoderKL(**sizes).eval()


def photographs() -> Tensor:
    """Two pictures of one opaque layer `[b 1 4 h w]`."""
    rgb = torch.stack([picture("duck.jpg", 32), picture("pyramid.jpg", 32)])
    return torch.cat([rgb, torch.ones(2, 1, 32, 32)], dim=1)[:, None]


@torch.no_grad()
def test_encoding_and_decoding_are_diffusers() -> None:
    ours, reference = autoencoder(), foreign(4)
    reference.load_state_dict(ours.network.state_dict())
    rgba, latents = photographs(), torch.randn(2, 1, 4, 16, 16)
    encoded = reference.encode(rgba[:, 0] * 2 - 1).latent_dist.mode()  # pyright: ignore
    torch.testing.assert_close(ours.encode(rgba)[:, 0], encoded, atol=1e-5, rtol=1e-4)
    decoded = reference.decode(latents[:, 0]).sample  # pyright: ignore
    expected = (decoded * 0.5 + 0.5).clamp(0, 1)
    torch.testing.assert_close(ours.decode(latents)[:, 0], expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_a_widened_network_treats_opaque_colour_as_before() -> None:
    narrow = foreign(3)
    wide = widen(narrow).eval()
    rgba, latents = photographs()[:, 0] * 2 - 1, torch.randn(2, 4, 16, 16)
    expected = narrow.encode(rgba[:, :3]).latent_dist.parameters  # pyright: ignore
    found = wide.encode(rgba).latent_dist.parameters  # pyright: ignore
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    colour, alpha = wide.decode(latents).sample.split([3, 1], dim=1)  # pyright: ignore
    torch.testing.assert_close(colour, narrow.decode(latents).sample)  # pyright: ignore
    assert (alpha == 1).all()


@pytest.mark.parametrize(("patch", "linear"), [(1, False), (2, False), (2, True)])
@torch.no_grad()
def test_slots_and_pictures_are_coded_alone(patch: int, linear: bool) -> None:
    network = autoencoder(patch=patch, linear=linear)
    rgba = torch.stack([photographs()[:, 0], torch.rand(2, 4, 32, 32)], dim=1)
    cells = 32 // network.factor
    latents = network.encode(rgba)
    assert latents.shape == (2, 2, 4, cells, cells)
    found = network.decode(latents)
    assert found.shape == rgba.shape
    assert found.min() >= 0
    assert found.max() <= 1
    alone = network.encode(rgba[1:, 1:])
    torch.testing.assert_close(alone, latents[1:, 1:], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(network.decode(latents[1:, 1:]), found[1:, 1:], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_colour_under_alpha_zero_means_nothing() -> None:
    rgba = planet(32)[None, None].clone()
    rgba[:, :, 3:] = (rgba[:, :, 3:] > 0.5).float()
    flooded = torch.where(rgba[:, :, 3:] > 0, rgba, torch.tensor([1.0, 0, 1, 0])[:, None, None])
    network = autoencoder()
    torch.testing.assert_close(network.encode(flooded), network.encode(rgba))


@torch.no_grad()
def test_calibrated_latents_have_mean_zero_and_variance_one() -> None:
    network = autoencoder()
    raw, _ = network.posterior(photographs())
    network.calibrate(photographs())
    latents = network.encode(photographs())
    assert float(latents.mean(dim=(0, 1, 3, 4)).abs().max()) < 1e-4
    assert abs(float(latents.square().mean()) - 1) < 1e-3
    torch.testing.assert_close(network.decode(latents), network.reconstruct(raw), atol=1e-4, rtol=0)


def test_training_does_not_clamp() -> None:
    network = autoencoder().train()
    assert network.reconstruct(torch.randn(1, 1, 4, 16, 16) * 50).max() > 1


@torch.no_grad()
def test_linear_latents_are_principal_components() -> None:
    network = Autoencoder(**SIZES, num_groups=4, patch=2, linear=True).eval()
    rgba = torch.cat([photographs(), photographs().roll(7, -1)])
    network.begin_linear(rgba)
    # Squares of 4 x 4 pixels, channels first, as numpy's singular values see them.
    squares = (rgba[:, 0] * 2 - 1).unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 1, 4, 5)
    flat = squares.reshape(-1, 64)
    _, spreads, axes = torch.linalg.svd(flat - flat.mean(0), full_matrices=False)
    latents = network.encode(rgba).permute(0, 1, 3, 4, 2).reshape(-1, 4)
    expected = (flat - flat.mean(0)) @ axes[:4].T
    expected = expected / expected.std()
    torch.testing.assert_close(latents.abs(), expected.abs(), atol=2e-3, rtol=0)
    assert abs(float(latents.std()) - 1) < 1e-3
    # The best four components: no more is lost than the spreads beyond them, and the network beside
    # them is silent. The deconvolution's flat bias may add the mean square's own unevenness.
    found = network.reconstruct(network.posterior(rgba)[0]) * 2 - 1
    uneven = (flat.mean(0).reshape(4, -1) - flat.mean(0).reshape(4, -1).mean(1, True)).square()
    lost = spreads[4:].square().sum() / flat.numel() + uneven.mean()
    assert float((found - (rgba * 2 - 1)).square().mean()) <= float(lost) * 1.001 + 1e-6
    assert not any(weight.requires_grad for weight in network.linear[0].parameters())


def test_a_linear_encoder_never_learns_whatever_weights_it_was_given() -> None:
    given = Autoencoder(**SIZES, num_groups=4, patch=2, linear=True)
    given.load_state_dict(autoencoder(patch=2, linear=True).state_dict())
    rgba = photographs()
    mean, _ = given.posterior(rgba)
    assert not mean.requires_grad
    given.reconstruct(mean).sum().backward()
    assert given.linear[0].weight.grad is None
    assert given.linear[1].weight.grad is not None
