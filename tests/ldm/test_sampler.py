"""Laws of sampling: ideal denoisers lead to the truth, kept slots stay as they are, bit by bit."""

import pytest
import torch
from diffusers import DDIMScheduler
from subjects import TEXT, asked, foreign_unet, unet_like
from torch import Tensor

from ldm.denoiser import (
    Denoiser,
    KnownDenoiser,
    NetworkDenoiser,
    NoiseSchedule,
    Prediction,
    per_slot,
)
from ldm.sampler import Sampler, sample, timesteps

ORDINARY = [Sampler.DDIM, Sampler.DPM, Sampler.UNIPC]
MEAN, SPREAD = 0.5, 0.5
USUAL, STRETCHED = (NoiseSchedule(zero_terminal_snr=stretched) for stretched in (False, True))
EITHER = pytest.mark.parametrize("schedule", [USUAL, STRETCHED], ids=["usual", "stretched"])


def drawn(
    denoiser: Denoiser,
    kept: Tensor,
    free: Tensor,
    sampler: Sampler = Sampler.DDIM,
    num_steps: int = 10,
    schedule: NoiseSchedule = USUAL,
) -> Tensor:
    """The last of all previews."""
    generator = torch.Generator().manual_seed(3)
    previews = sample(
        denoiser, kept, free, schedule, sampler=sampler, num_steps=num_steps, generator=generator
    )
    shown = [(preview.step, preview.num_steps, preview.latents) for preview in previews]
    assert [step for step, _, _ in shown] == list(range(1, num_steps + 1))
    assert {total for _, total, _ in shown} == {num_steps}
    return shown[-1][2]


def all_free(latents: Tensor) -> Tensor:
    """Every slot is to be drawn."""
    return torch.ones(latents.shape[:2], dtype=torch.bool)


@pytest.mark.parametrize("num_steps", [1, 4, 20])
@pytest.mark.parametrize(
    ("kind", "schedule"),
    [(Prediction.eps, USUAL), (Prediction.v, USUAL), (Prediction.v, STRETCHED)],
    ids=["eps", "v", "v stretched"],
)
@pytest.mark.parametrize("sampler", Sampler)
def test_a_network_that_knows_the_truth_leads_to_it(
    sampler: Sampler, kind: Prediction, schedule: NoiseSchedule, num_steps: int
) -> None:
    truth = torch.randn(2, 2, 4, 5, 6)

    def network(noisy: Tensor, timestep: Tensor) -> Tensor:
        level = per_slot(schedule.sigma(timestep))
        length = (1 + level**2).sqrt()
        if kind is Prediction.eps:
            return (noisy * length - truth) / level
        return (noisy - length * truth) / level

    denoiser = NetworkDenoiser(network, schedule, kind)
    found = drawn(denoiser, torch.zeros_like(truth), all_free(truth), sampler, num_steps, schedule)
    torch.testing.assert_close(found, truth, atol=1e-3, rtol=0)


def gaussian(noisy: Tensor, sigma: Tensor) -> Tensor:
    """The posterior mean when clean latents are normal with MEAN and SPREAD."""
    level = per_slot(sigma)
    seen = noisy * (1 + level**2).sqrt()
    return MEAN + SPREAD**2 / (SPREAD**2 + level**2) * (seen - MEAN)


# 601 does not divide 1000: diffusers' DDIMScheduler then steps to other levels than it says.
@EITHER
@pytest.mark.parametrize(
    ("sampler", "num_steps"), [(sampler, 250) for sampler in ORDINARY] + [(Sampler.DDIM, 601)]
)
def test_a_gaussian_is_drawn_along_its_flow(
    sampler: Sampler, num_steps: int, schedule: NoiseSchedule
) -> None:
    """The flow's end is known: each deviation shrinks as the spread of noisy latents does."""
    shape = (1, 2, 4, 16, 16)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    most = schedule.sigma(torch.tensor(999.0))
    begin = noise * (1 + most**2).sqrt()
    expected = MEAN + SPREAD * (begin - MEAN) / (SPREAD**2 + most**2).sqrt()
    free = torch.ones(1, 2, dtype=torch.bool)
    found = drawn(gaussian, torch.zeros(shape), free, sampler, num_steps, schedule)
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0)


@EITHER
@pytest.mark.parametrize("sampler", Sampler)
def test_a_gaussian_keeps_its_mean_and_variance(sampler: Sampler, schedule: NoiseSchedule) -> None:
    kept = torch.zeros(2, 2, 4, 32, 32)
    found = drawn(gaussian, kept, all_free(kept), sampler, 50, schedule)
    assert abs(float(found.mean()) - MEAN) < 0.03
    # Fresh noise at each step costs more variance for the same number of steps.
    tolerance = 0.12 if sampler is Sampler.EULER_A else 0.06
    assert abs(float(found.std()) / SPREAD - 1) < tolerance


def test_the_first_guess_at_large_areas_believes_pure_noise_only_when_not_stretched() -> None:
    """How far noise alone moves the best guess at the colour of a 16 x 16 canvas of one colour."""

    def moved(schedule: NoiseSchedule) -> float:
        level = float(schedule.sigma(torch.tensor(999.0)))
        return (1 + level**2) ** 0.5 / 16 / (1 + level**2 / 16**2)

    assert moved(USUAL) > 0.4
    assert moved(STRETCHED) < 0.01


@pytest.mark.parametrize("sampler", Sampler)
def test_kept_slots_leave_bit_identical_and_are_seen_clean(sampler: Sampler) -> None:
    kept = torch.randn(2, 3, 4, 6, 6)
    free = torch.tensor([[False, True, False], [True, False, True]])

    def careless(noisy: Tensor, sigma: Tensor) -> Tensor:
        assert torch.equal(noisy[~free], kept[~free])
        assert (sigma[~free] == 0).all()
        assert (sigma[free] > 0).all()
        return noisy * 0.3 + 1

    found = drawn(careless, kept, free, sampler, 4)
    assert torch.equal(found[~free], kept[~free])
    assert found.isfinite().all()


@pytest.mark.parametrize("sampler", Sampler)
def test_any_number_of_steps_is_exactly_that_many(sampler: Sampler) -> None:
    for num_steps in range(1, 1001):
        found = timesteps(sampler.scheduler(USUAL), num_steps)
        assert found.shape == (num_steps,)
        assert found[0] == 999
        assert found[-1] >= 0
        assert (found.diff() < 0).all()


@pytest.mark.parametrize("sampler", Sampler)
@pytest.mark.parametrize("num_steps", [1, 3, 61, 999, 1000])
def test_any_number_of_steps_ends_well(sampler: Sampler, num_steps: int) -> None:
    kept = torch.zeros(1, 1, 1, 2, 2)
    found = drawn(gaussian, kept, all_free(kept), sampler, num_steps)
    assert found.isfinite().all()
    assert (found - MEAN).abs().max() < 5 * SPREAD


@pytest.mark.parametrize("sampler", Sampler)
def test_one_seed_is_one_noise_on_any_device_and_in_any_precision(sampler: Sampler) -> None:
    kept = torch.zeros(1, 2, 4, 6, 6)
    found = drawn(gaussian, kept, all_free(kept), sampler, 5)
    half = drawn(gaussian, kept.bfloat16(), all_free(kept), sampler, 5)
    assert half.dtype is torch.float32
    assert torch.equal(half, found)
    # A device that holds no numbers still refuses to be mixed with another.
    away, levels = kept.to("meta"), NoiseSchedule(zero_terminal_snr=False).to("meta")
    assert drawn(gaussian, away, all_free(kept).to("meta"), sampler, 5, levels).is_meta


@pytest.mark.parametrize("sampler", Sampler)
def test_one_seed_draws_one_result(sampler: Sampler) -> None:
    kept = torch.zeros(1, 2, 4, 6, 6)
    once, again = (drawn(gaussian, kept, all_free(kept), sampler, 5) for _ in range(2))
    assert torch.equal(once, again)


@torch.no_grad()
def test_ten_steps_of_ddim_agree_with_diffusers() -> None:
    foreign = foreign_unet()
    ours = unet_like(foreign)
    text, shape = torch.randn(2, 7, TEXT), (2, 1, 4, 8, 8)
    reading = ours.read(asked(text[:, None]))
    denoiser = NetworkDenoiser(
        lambda noisy, timestep: ours(noisy, timestep, reading, ()), USUAL, Prediction.eps
    )
    found = drawn(denoiser, torch.zeros(shape), torch.ones(2, 1, dtype=torch.bool))

    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        timestep_spacing="trailing",
    )
    scheduler.set_timesteps(10)
    noisy = torch.randn(shape, generator=torch.Generator().manual_seed(3))[:, 0]
    clean = noisy
    for timestep in scheduler.timesteps:
        answer = scheduler.step(foreign(noisy, timestep, text).sample, int(timestep), noisy)
        noisy, clean = answer.prev_sample, answer.pred_original_sample  # pyright: ignore
    error = (found[:, 0] - clean).abs().max() / clean.abs().max()
    assert error < 1e-4


@EITHER
@pytest.mark.parametrize("sampler", [Sampler.DDIM, Sampler.DPM])
def test_known_cells_follow_their_noise_to_the_truth(
    sampler: Sampler, schedule: NoiseSchedule
) -> None:
    truth = torch.randn(1, 2, 4, 5, 6)
    known = torch.rand(1, 2, 1, 5, 6) < 0.5
    noises: list[Tensor] = []

    def inner(noisy: Tensor, sigma: Tensor) -> Tensor:
        level = per_slot(sigma)
        noises.append((noisy * (1 + level**2).sqrt() - truth) / level)
        return 0.3 * noisy

    denoiser = KnownDenoiser(inner, truth, known)
    found = drawn(denoiser, truth, all_free(truth), sampler, schedule=schedule)
    cells = known.expand_as(truth)
    assert torch.equal(found[cells], truth[cells])
    assert not torch.equal(found[~cells], truth[~cells])
    for noise in noises[1:]:
        torch.testing.assert_close(noise[cells], noises[0][cells], atol=1e-2, rtol=1e-3)
