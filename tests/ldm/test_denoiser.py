"""Laws of denoisers: levels as diffusers has them, either parameterisation leads back to clean."""

import pytest
import torch
from diffusers import DDIMScheduler
from torch import Tensor

from ldm.denoiser import (
    GuidedDenoiser,
    NetworkDenoiser,
    NoiseSchedule,
    Prediction,
    add_noise,
    clean_from,
    linear_velocity,
    velocity_target,
)


def scheduler() -> DDIMScheduler:
    """Stable Diffusion's, as its own config has it."""
    return DDIMScheduler(
        num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"
    )


def levels() -> Tensor:
    """A noise level for each of two slots of three pictures."""
    return torch.tensor([[0.05, 14.0], [1.0, 0.3], [3.0, 3.0]])


def test_sigmas_are_those_of_diffusers() -> None:
    kept = scheduler().alphas_cumprod
    found = NoiseSchedule().sigma(torch.arange(1000).float())
    torch.testing.assert_close(found, ((1 - kept) / kept).sqrt(), rtol=2e-5, atol=0)


def test_timesteps_and_sigmas_are_inverse() -> None:
    schedule = NoiseSchedule()
    timestep = torch.linspace(0, 999, 457)
    torch.testing.assert_close(
        schedule.timestep(schedule.sigma(timestep)), timestep, atol=0.02, rtol=0
    )


def test_clean_is_timestep_zero_and_nothing_lies_beyond_the_last() -> None:
    found = NoiseSchedule().timestep(torch.tensor([0.0, 1e-6, 1e6]))
    assert found.tolist() == [0, 0, 999]


def test_noise_is_added_as_diffusers_does() -> None:
    clean, noise = torch.randn(2, 3, 2, 4, 4, 4)
    timestep = torch.tensor([[5, 999], [250, 400], [0, 700]])
    found = add_noise(clean, noise, NoiseSchedule().sigma(timestep.float()))
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
    ours = velocity_target(clean, noise, NoiseSchedule().sigma(timestep.float()))
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
    denoiser = NetworkDenoiser(lambda noisy, _: torch.randn_like(noisy), NoiseSchedule(), kind)
    clean = torch.randn(1, 2, 4, 5, 5)
    found = denoiser(clean, torch.tensor([[0.0, 1.0]]))
    assert torch.equal(found[:, 0], clean[:, 0])
    assert not torch.equal(found[:, 1], clean[:, 1])


def test_guidance_one_is_none_and_more_leads_on() -> None:
    def toward(value: float) -> NetworkDenoiser:
        return lambda noisy, _: torch.full_like(noisy, value)  # pyright: ignore

    noisy, sigma = torch.zeros(1, 1, 4, 2, 2), torch.ones(1, 1)
    for scale, expected in ((0.0, 1.0), (1.0, 3.0), (2.5, 6.0)):
        found = GuidedDenoiser(toward(3.0), toward(1.0), scale)(noisy, sigma)
        torch.testing.assert_close(found, torch.full_like(noisy, expected))


def test_linear_velocity_is_the_best_linear_guess() -> None:
    spread = torch.tensor([3.0, 0.15])
    sigma = torch.tensor([[0.05, 1.0, 9.0]])
    clean = torch.randn(1, 3, 2, 200, 200) * spread[:, None, None]
    noisy = add_noise(clean, torch.randn_like(clean), sigma)
    guess = clean_from(linear_velocity(noisy, sigma, spread), noisy, sigma, Prediction.v)
    # Least squares of the clean latents on the noisy ones, for each slot and channel.
    slope = (clean * noisy).sum(dim=(-2, -1)) / noisy.square().sum(dim=(-2, -1))
    torch.testing.assert_close(guess, slope[..., None, None] * noisy, atol=0.06, rtol=0.03)
