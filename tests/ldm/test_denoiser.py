"""Laws of denoisers: levels as diffusers has them, either parameterisation leads back to clean."""

import pytest
import torch
from diffusers import DDIMScheduler
from torch import Tensor

from ldm.denoiser import (
    BatchGuidedDenoiser,
    GuidedDenoiser,
    NetworkDenoiser,
    NoiseSchedule,
    Prediction,
    add_noise,
    clean_from,
    linear_velocity,
    mean_slope,
    velocity_target,
)

SCHEDULE = NoiseSchedule(zero_terminal_snr=False)


def scheduler(zero_terminal_snr: bool = False) -> DDIMScheduler:
    """Stable Diffusion's, as its own config has it."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        rescale_betas_zero_snr=zero_terminal_snr,
    )


def levels() -> Tensor:
    """A noise level for each of two slots of three pictures."""
    return torch.tensor([[0.05, 14.0], [1.0, 0.3], [3.0, 3.0]])


@pytest.mark.parametrize("zero_terminal_snr", [False, True])
def test_sigmas_are_those_of_diffusers(zero_terminal_snr: bool) -> None:
    kept = scheduler(zero_terminal_snr).alphas_cumprod
    found = NoiseSchedule(zero_terminal_snr=zero_terminal_snr).sigma(torch.arange(1000).float())
    # Where the signal ends, its rounding is all that differs; the last level may be infinite.
    torch.testing.assert_close(found[:990], ((1 - kept) / kept).sqrt()[:990], rtol=1e-4, atol=0)
    assert (found.diff() > 0).all()
    assert (found[-1] > 4000) == zero_terminal_snr


@pytest.mark.parametrize("zero_terminal_snr", [False, True])
def test_timesteps_and_sigmas_are_inverse(zero_terminal_snr: bool) -> None:
    schedule = NoiseSchedule(zero_terminal_snr=zero_terminal_snr)
    timestep = torch.linspace(0, 999, 457)
    torch.testing.assert_close(
        schedule.timestep(schedule.sigma(timestep)), timestep, atol=0.02, rtol=0
    )


def test_clean_is_timestep_zero_and_nothing_lies_beyond_the_last() -> None:
    found = SCHEDULE.timestep(torch.tensor([0.0, 1e-6, 1e6]))
    assert found.tolist() == [0, 0, 999]


def test_noise_is_added_as_diffusers_does() -> None:
    clean, noise = torch.randn(2, 3, 2, 4, 4, 4)
    timestep = torch.tensor([[5, 999], [250, 400], [0, 700]])
    found = add_noise(clean, noise, SCHEDULE.sigma(timestep.float()))
    foreign = scheduler().add_noise(
        clean.flatten(0, 1),
        noise.flatten(0, 1),
        timestep.flatten(),  # pyright: ignore
    )
    torch.testing.assert_close(found.flatten(0, 1), foreign, rtol=1e-4, atol=1e-4)
    velocity = scheduler().get_velocity(
        clean.flatten(0, 1),
        noise.flatten(0, 1),
        timestep.flatten(),  # pyright: ignore
    )
    ours = velocity_target(clean, noise, SCHEDULE.sigma(timestep.float()))
    torch.testing.assert_close(ours.flatten(0, 1), velocity, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", Prediction)
def test_a_true_prediction_leads_to_clean(kind: Prediction) -> None:
    clean, noise = torch.randn(2, 3, 2, 4, 5, 5)
    noisy = add_noise(clean, noise, levels())
    prediction = noise if kind is Prediction.eps else velocity_target(clean, noise, levels())
    torch.testing.assert_close(
        clean_from(prediction, noisy, levels(), kind), clean, atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("kind", Prediction)
def test_clean_slots_come_back_whatever_the_network_says(kind: Prediction) -> None:
    denoiser = NetworkDenoiser(lambda noisy, _: torch.randn_like(noisy), SCHEDULE, kind)
    clean = torch.randn(1, 2, 4, 5, 5)
    found = denoiser(clean, torch.tensor([[0.0, 1.0]]))
    assert torch.equal(found[:, 0], clean[:, 0])
    assert not torch.equal(found[:, 1], clean[:, 1])


def test_guidance_one_is_none_and_more_leads_on() -> None:
    def toward(value: float) -> NetworkDenoiser:
        return lambda noisy, _: torch.full_like(noisy, value)  # pyright: ignore

    noisy, sigma = torch.zeros(1, 1, 4, 2, 2), torch.ones(1, 1)
    for scale, expected in ((0.0, 1.0), (1.0, 3.0), (2.5, 6.0)):
        for denoiser in (
            GuidedDenoiser(toward(3.0), toward(1.0), scale),
            BatchGuidedDenoiser(
                lambda noisy, _: noisy + torch.tensor([[[[[1.0]]]], [[[[3.0]]]]]), scale
            ),
        ):
            found = denoiser(noisy, sigma)
            torch.testing.assert_close(found, torch.full_like(noisy, expected))


def test_linear_velocity_is_the_best_linear_guess() -> None:
    spread, mean = torch.tensor([3.0, 0.15]), torch.tensor([1.0, -0.5])[:, None, None]
    sigma = torch.tensor([[0.05, 1.0, 9.0]])
    clean = mean + torch.randn(1, 3, 2, 200, 200) * spread[:, None, None]
    noisy = add_noise(clean, torch.randn_like(clean), sigma)
    velocity = linear_velocity(noisy, sigma, mean.expand_as(clean), spread)
    guess = clean_from(velocity, noisy, sigma, Prediction.v)
    # Least squares of the clean latents on the noisy ones, for each slot and channel.
    middle = noisy.mean(dim=(-2, -1), keepdim=True)
    slope = ((clean - mean) * (noisy - middle)).mean(dim=(-2, -1), keepdim=True)
    slope = slope / (noisy - middle).square().mean(dim=(-2, -1), keepdim=True)
    torch.testing.assert_close(guess, mean + slope * (noisy - middle), atol=0.06, rtol=0.03)


def test_the_slope_is_how_far_velocities_follow_the_mean() -> None:
    noisy, mean = torch.randn(2, 3, 2, 2, 4, 4)
    spread = torch.tensor([3.0, 0.15])
    moved = linear_velocity(noisy, levels(), mean + 0.1, spread)
    slope = (moved - linear_velocity(noisy, levels(), mean, spread)) / 0.1
    found = mean_slope(levels(), spread).expand_as(slope)
    torch.testing.assert_close(found, slope, atol=1e-4, rtol=1e-3)


def test_from_pure_noise_the_linear_guess_is_the_mean() -> None:
    noise, mean = torch.randn(2, 1, 2, 3, 4, 4)
    sigma, spread = torch.full((1, 2), 4096.0), torch.tensor([3.0, 1.0, 0.1])
    velocity = linear_velocity(noise, sigma, mean, spread)
    guess = clean_from(velocity, noise, sigma, Prediction.v)
    torch.testing.assert_close(guess, mean, atol=0.02, rtol=0)
