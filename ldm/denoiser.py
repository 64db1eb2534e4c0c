"""Denoisers: noisy latents and noise levels in, clean latents out.

Noise level sigma is the ratio of noise to signal; noisy latents are variance-preserving,
`noisy = (clean + sigma noise) / sqrt(1 + sigma^2)`, so that a network's input has variance 1 at
every level. Sigma 0 is clean. (The contract is that of Karras et al., "Elucidating the Design Space
of Diffusion-Based Generative Models", 2022.)
"""

from enum import Enum
from typing import Protocol, runtime_checkable

import torch
from diffusers import DDIMScheduler
from jaxtyping import Bool, Float
from torch import Tensor, nn

NUM_TRAINING_STEPS = 1000
BETA_START, BETA_END, BETA_SCHEDULE = 0.00085, 0.012, "scaled_linear"
# The share of signal that diffusers' schedulers leave where it should be zero.
_LEAST_KEPT = 2**-24


class Prediction(Enum):
    """What a network predicts: the noise, or the velocity (Salimans & Ho, 2022)."""

    eps = "eps"
    v = "v"


@runtime_checkable
class Denoiser(Protocol):
    """The contract of everything that denoises."""

    def __call__(
        self, noisy: Float[Tensor, "b n z y x"], sigma: Float[Tensor, "b n"]
    ) -> Float[Tensor, "b n z y x"]:
        """The clean latents that the noisy ones most likely come from."""
        ...


@runtime_checkable
class Network(Protocol):
    """A network with everything but latents and timestep already given to it."""

    def __call__(
        self, noisy: Float[Tensor, "b n z y x"], timestep: Float[Tensor, "b n"]
    ) -> Float[Tensor, "b n z y x"]:
        """Predict noise or velocity."""
        ...


class NoiseSchedule(nn.Module):
    """Stable Diffusion's noise levels, in both directions between timestep and sigma.

    Its last level, sigma 14.6, still shows what large areas look like, and drawing begins from
    pure noise: a network then believes the noise. With `zero_terminal_snr` the levels are stretched
    until the last is noise alone (Lin et al., "Common Diffusion Noise Schedules and Sample Steps
    are Flawed", 2024; sigma 4096, as in diffusers); only velocities can be predicted there.
    """

    def __init__(self, *, zero_terminal_snr: bool) -> None:
        super().__init__()
        self.zero_terminal_snr = zero_terminal_snr
        # No file holds the levels: they must be real even where weights are yet to be filled in.
        with torch.device("cpu"):
            scheduler = DDIMScheduler(
                num_train_timesteps=NUM_TRAINING_STEPS,
                beta_start=BETA_START,
                beta_end=BETA_END,
                beta_schedule=BETA_SCHEDULE,
                rescale_betas_zero_snr=zero_terminal_snr,
            )
            kept = scheduler.alphas_cumprod.double().clamp(min=_LEAST_KEPT)
            log_sigma = (0.5 * ((1 - kept) / kept).log()).float()
        self.log_sigmas = nn.Buffer(log_sigma, persistent=False)

    def sigma(self, timestep: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        """Sigma of timesteps 0..999, between whole ones by its logarithm."""
        low = timestep.floor().clamp(0, NUM_TRAINING_STEPS - 1).long()
        high = (low + 1).clamp(max=NUM_TRAINING_STEPS - 1)
        return torch.lerp(self.log_sigmas[low], self.log_sigmas[high], timestep - low).exp()

    def timestep(self, sigma: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        """Timestep of sigmas; everything below the least level, clean latents too, is 0."""
        log_sigma = sigma.clamp(min=1e-10).log()
        high = torch.searchsorted(self.log_sigmas, log_sigma).clamp(1, NUM_TRAINING_STEPS - 1)
        below, above = self.log_sigmas[high - 1], self.log_sigmas[high]
        share = ((log_sigma - below) / (above - below)).clamp(0, 1)
        return high - 1 + share


def per_slot(sigma: Float[Tensor, "b n"]) -> Float[Tensor, "b n 1 1 1"]:
    """Noise levels, ready to multiply latents."""
    return sigma[:, :, None, None, None]


def add_noise(
    clean: Float[Tensor, "b n z y x"],
    noise: Float[Tensor, "b n z y x"],
    sigma: Float[Tensor, "b n"],
) -> Float[Tensor, "b n z y x"]:
    """Variance-preserving noisy latents."""
    level = per_slot(sigma)
    return (clean + level * noise) / (1 + level**2).sqrt()


def velocity_target(
    clean: Float[Tensor, "b n z y x"],
    noise: Float[Tensor, "b n z y x"],
    sigma: Float[Tensor, "b n"],
) -> Float[Tensor, "b n z y x"]:
    """The velocity `alpha noise - sigma' clean` with `alpha = 1 / sqrt(1 + sigma^2)`."""
    level = per_slot(sigma)
    return (noise - level * clean) / (1 + level**2).sqrt()


def linear_velocity(
    noisy: Float[Tensor, "b n z y x"],
    sigma: Float[Tensor, "b n"],
    mean: Float[Tensor, "b n z y x"],
    spread: Float[Tensor, " z"],
) -> Float[Tensor, "b n z y x"]:
    """The velocity of the best linear guess at the clean latents (Wiener's), channel by channel.

    With a spread of `s` around `m`, `clean = m + s^2 / (s^2 + sigma^2) (sqrt(1 + sigma^2) noisy -
    m)`. A network that only answers what differs from it need not learn to silence channels that
    hold little (the skip of Karras et al., 2022, section 5, for each channel). Sigma must be above
    0.
    """
    level, power = per_slot(sigma), (spread**2)[:, None, None]
    length, share = (1 + level**2).sqrt(), power / (power + level**2)
    clean = mean + share * (length * noisy - mean)
    return (noisy - length * clean) / level


def mean_slope(
    sigma: Float[Tensor, "b n"], spread: Float[Tensor, " z"]
) -> Float[Tensor, "b n z 1 1"]:
    """How far `linear_velocity` follows its mean: its derivative by it."""
    level, power = per_slot(sigma), (spread**2)[:, None, None]
    return -level * (1 + level**2).sqrt() / (power + level**2)


def clean_from(
    prediction: Float[Tensor, "b n z y x"],
    noisy: Float[Tensor, "b n z y x"],
    sigma: Float[Tensor, "b n"],
    kind: Prediction,
) -> Float[Tensor, "b n z y x"]:
    """Clean latents from what a network predicts."""
    level = per_slot(sigma)
    length = (1 + level**2).sqrt()
    if kind is Prediction.eps:
        return noisy * length - level * prediction
    return (noisy - level * prediction) / length


class NetworkDenoiser:
    """A network and its noise schedule as a denoiser; clean slots come back as they are."""

    def __init__(self, network: Network, schedule: NoiseSchedule, kind: Prediction) -> None:
        self.network = network
        self.schedule = schedule
        self.kind = kind

    def __call__(
        self, noisy: Float[Tensor, "b n z y x"], sigma: Float[Tensor, "b n"]
    ) -> Float[Tensor, "b n z y x"]:
        """Clean latents."""
        prediction = self.network(noisy, self.schedule.timestep(sigma))
        return clean_from(prediction.float(), noisy, sigma, self.kind)


class GuidedDenoiser:
    """Classifier-free guidance (Ho & Salimans, 2022): a denoiser made of two, called in turn.

    `clean = without + scale (with - without)`; scale 1 is none.
    """

    def __init__(self, conditional: Denoiser, unconditional: Denoiser, scale: float) -> None:
        self.conditional = conditional
        self.unconditional = unconditional
        self.scale = scale

    def __call__(
        self, noisy: Float[Tensor, "b n z y x"], sigma: Float[Tensor, "b n"]
    ) -> Float[Tensor, "b n z y x"]:
        """Clean latents, led away from what they would be without words."""
        without = self.unconditional(noisy, sigma)
        return torch.lerp(without, self.conditional(noisy, sigma), self.scale)


class BatchGuidedDenoiser:
    """The same guidance in one call of one denoiser, on a batch twice as large: the first half
    without words, the second with them."""

    def __init__(self, both: Denoiser, scale: float) -> None:
        self.both = both
        self.scale = scale

    def __call__(
        self, noisy: Float[Tensor, "b n z y x"], sigma: Float[Tensor, "b n"]
    ) -> Float[Tensor, "b n z y x"]:
        """Clean latents, led away from what they would be without words."""
        found = self.both(torch.cat([noisy, noisy]), torch.cat([sigma, sigma]))
        without, conditional = found.chunk(2)
        return torch.lerp(without, conditional, self.scale)


class KnownDenoiser:
    """A denoiser that is told part of the answer: the cells that are `known`.

    With a sampler that adds no noise those cells then follow the line from their noise to their
    latents, as a denoiser's perfect answer would lead them (conditioning by replacement, Song et
    al., "Score-Based Generative Modeling through Stochastic Differential Equations", 2021, section
    5).
    """

    def __init__(
        self,
        denoiser: Denoiser,
        latents: Float[Tensor, "b n z y x"],
        known: Bool[Tensor, "b n 1 y x"],
    ) -> None:
        self.denoiser = denoiser
        self.latents = latents
        self.known = known

    def __call__(
        self, noisy: Float[Tensor, "b n z y x"], sigma: Float[Tensor, "b n"]
    ) -> Float[Tensor, "b n z y x"]:
        """Clean latents; the known ones where they are known."""
        return torch.where(self.known, self.latents, self.denoiser(noisy, sigma))
