"""What prompts usually look like, fitted to what a trained network's guesses lack."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from cldm.condition import hint
from cldm.examples import Examples
from cldm.model import LayerDiffusion
from ldm.denoiser import NUM_TRAINING_STEPS, add_noise, mean_slope, velocity_target
from ldm.values import TensorValue

_BATCH, _LEARNING_RATE = 48, 2e-3
_LEAST_TIMESTEP, _LAST_TIMESTEP = 500, NUM_TRAINING_STEPS - 1
_WORDLESS = 0.1


@dataclass(frozen=True, kw_only=True)
class Gaps(TensorValue):
    """Of each canvas at some noise level: its prompt's sense, the mean that would make the network
    right, how far the velocity follows the mean, and how much each cell counts."""

    sense: Float[Tensor, "k d"]
    mean: Float[Tensor, "k z y x"]
    slope: Float[Tensor, "k z 1 1"]
    weight: Float[Tensor, "k y x"]


def fit_mean(
    model: LayerDiffusion,
    scenes: Sequence[Examples],
    wordless: Int[Tensor, " l"],
    num_steps: int,
) -> None:
    """Fit the mean that the linear guess is made around; all other parts stay as they are.

    Seen through the network, a picture's layout is learned slowly: most of the loss is noise that
    nobody can predict. Here the network's answers, at high noise, are computed once, and the loss
    of diffusion is quadratic in what is learned; a step costs a twentieth. Stacked layout only.
    """
    each = [_gaps(model, scene, wordless) for scene in tqdm(scenes, desc="guesses")]
    gaps = Gaps(
        sense=torch.cat([one.sense for one in each]),
        mean=torch.cat([one.mean for one in each]),
        slope=torch.cat([one.slope for one in each]),
        weight=torch.cat([one.weight for one in each]),
    )
    network = model.control.mean.requires_grad_(True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=_LEARNING_RATE, betas=(0.9, 0.99))
    falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, num_steps)
    for _ in (bar := tqdm(range(num_steps), desc="mean")):
        picked = torch.randint(0, len(gaps.sense), (_BATCH,))
        with torch.autocast(gaps.sense.device.type, torch.bfloat16):
            found = network(gaps.sense[picked], *gaps.mean.shape[-2:])
        error = (gaps.slope[picked] * (found.float() - gaps.mean[picked])).square().mean(dim=1)
        loss = (error * gaps.weight[picked]).sum() / gaps.weight[picked].sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        falling.step()
        bar.set_postfix(loss=f"{float(loss):.3f}")


@torch.no_grad()
def _gaps(model: LayerDiffusion, scene: Examples, wordless: Tensor) -> Gaps:
    """Where the network stands: each picture at one noise level for all its slots."""
    present = scene.condition.masks.present
    worded = torch.rand_like(present, dtype=torch.float32) >= _WORDLESS
    condition = scene.condition.dropped(worded, wordless)
    # More of the highest levels, from which drawing begins.
    share = torch.rand(len(present), 1, device=present.device).sqrt()
    timestep = (_LEAST_TIMESTEP + share * (_LAST_TIMESTEP - _LEAST_TIMESTEP)).expand(present.shape)
    sigma = model.schedule.sigma(timestep)
    noise = torch.randn_like(scene.latents)
    noisy = add_noise(scene.latents, noise, sigma)
    prompts = model.prompts(condition)
    encoded = model.control.encode(hint(condition, model.canvas), prompts)
    with torch.autocast(noise.device.type, torch.bfloat16):
        reading = model.unet.read(prompts)
        answer = model.predict(noisy, timestep, reading, encoded, strength=1.0)
    slope = mean_slope(sigma, model.autoencoder.spread)
    lacking = (velocity_target(scene.latents, noise, sigma) - answer.float()) / slope
    return Gaps(
        sense=prompts.sense[present],
        mean=(encoded.mean + lacking)[present],
        slope=slope[present],
        weight=scene.weight[present],
    )
