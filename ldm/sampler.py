"""Sampling: diffusers' schedulers drive the free slots, kept ones stay as they are."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, cast

import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    UniPCMultistepScheduler,
)
from jaxtyping import Bool, Float
from torch import Tensor

from ldm.denoiser import (
    BETA_END,
    BETA_SCHEDULE,
    BETA_START,
    NUM_TRAINING_STEPS,
    Denoiser,
    NoiseSchedule,
    per_slot,
)

Scheduler = DPMSolverMultistepScheduler | EulerAncestralDiscreteScheduler | UniPCMultistepScheduler


class Sampler(Enum):
    """The schedulers on offer, by the names that users know."""

    DDIM = "ddim"
    DPM = "dpm++ 2m"
    UNIPC = "unipc"
    EULER_A = "euler a"

    def scheduler(self, schedule: NoiseSchedule) -> Scheduler:
        """A fresh scheduler (it holds state) over the noise levels of `schedule`."""
        # All of them take velocities, so that one conversion from clean latents serves all.
        common: dict[str, Any] = {
            "num_train_timesteps": NUM_TRAINING_STEPS,
            "beta_start": BETA_START,
            "beta_end": BETA_END,
            "beta_schedule": BETA_SCHEDULE,
            "prediction_type": "v_prediction",
            "timestep_spacing": "trailing",
            "rescale_betas_zero_snr": schedule.zero_terminal_snr,
        }
        match self:
            case Sampler.DDIM:
                # DDIM is DPM-Solver of order 1 (Lu et al., 2022, section 3.5). Diffusers' scheduler
                # of that name steps to other noise levels than the next timestep has wherever the
                # number of steps does not divide 1000.
                return DPMSolverMultistepScheduler(**common, solver_order=1)
            case Sampler.DPM:
                return DPMSolverMultistepScheduler(**common)
            case Sampler.UNIPC:
                return UniPCMultistepScheduler(**common)
            case Sampler.EULER_A:
                return EulerAncestralDiscreteScheduler(**common)


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What sampling knows on the way: the clean latents as guessed after `step` of `num_steps`."""

    latents: Float[Tensor, "b n z y x"]
    step: int
    num_steps: int


def timesteps(scheduler: Scheduler, num_steps: int) -> Float[Tensor, " {num_steps}"]:
    """Make a scheduler ready for `num_steps` steps, 1 to 1000: their timesteps, from 999 down."""
    scheduler.set_timesteps(num_steps)
    # By rounding, diffusers counts one step more, to -1, at 61, 103, 121 and others.
    return scheduler.timesteps[:num_steps].float()


def sample(
    denoiser: Denoiser,
    kept: Float[Tensor, "b n z y x"],
    free: Bool[Tensor, "b n"],
    schedule: NoiseSchedule,
    *,
    sampler: Sampler,
    num_steps: int,
    generator: torch.Generator,
) -> Iterator[Preview]:
    """Draw the free slots from noise; yield a preview after each step, the last is the result.

    Slots that are not free hold their `kept` latents at sigma 0 throughout and leave bit-identical.
    Noise comes from the generator's device: one seed draws one picture everywhere. All is held in
    float32, whatever precision the latents had.
    """
    # Diffusers says that timesteps are whole numbers, but gives and takes tensors.
    scheduler = cast(Any, sampler.scheduler(schedule))
    kept, drawn = kept.float(), free[:, :, None, None, None]
    noise = torch.randn(kept.shape, generator=generator, device=generator.device).to(kept.device)
    noisy = noise * scheduler.init_noise_sigma
    for step, timestep in enumerate(timesteps(scheduler, num_steps)):
        scaled = torch.where(drawn, scheduler.scale_model_input(noisy, timestep), kept)
        sigma = schedule.sigma(timestep.to(kept.device).expand(free.shape)) * free
        clean = torch.where(drawn, denoiser(scaled, sigma), kept)
        velocity = _velocity(scaled, clean, sigma)
        noisy = _stepped(scheduler, velocity, timestep, noisy, generator)
        yield Preview(latents=clean, step=step + 1, num_steps=num_steps)


def _velocity(noisy: Tensor, clean: Tensor, sigma: Tensor) -> Tensor:
    """The velocity that leads from noisy latents to the clean ones; 0 where sigma is 0."""
    level = per_slot(sigma)
    length = (1 + level**2).sqrt()
    return torch.where(level > 0, (noisy - length * clean) / level.clamp(min=1e-8), 0)


def _stepped(
    scheduler: Any,
    velocity: Tensor,
    timestep: Tensor,
    noisy: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """One step of the scheduler; only an ancestral one draws noise."""
    ancestral = isinstance(scheduler, EulerAncestralDiscreteScheduler)
    drawing = {"generator": generator} if ancestral else {}
    return scheduler.step(velocity, timestep, noisy, **drawing).prev_sample
