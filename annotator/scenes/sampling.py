"""Random numbers and directions of rays: the same ones for every world, even over each pixel."""

import math
from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.quasirandom import SobolEngine

from annotator.scenes.staging import KeyLight
from ldm.occlusion import over_disc

_PRIMES = (2, 3, 5, 7, 11, 13, 17, 19)
_RAYS_AT_ONCE = 1 << 18


def passes(pixel: Int[Tensor, " p"], samples: int) -> Iterator[Float[Tensor, "8 p _"]]:
    """Numbers in 0..1 for `samples` paths from each pixel, in portions that memory can hold.

    Sobol's sequence, shifted for each pixel (Cranley and Patterson, 1976) by multiples of
    irrational numbers, so that neighbours differ and their mean is even. Always the same numbers
    for a pixel.
    """
    sequence = SobolEngine(len(_PRIMES), scramble=True, seed=0).draw(samples).T.to(pixel.device)
    roots = torch.tensor(_PRIMES, dtype=torch.float64, device=pixel.device).sqrt()
    shift = (roots[:, None] * pixel % 1).float()[:, :, None]
    for portion in sequence[:, None].split(max(1, _RAYS_AT_ONCE // max(1, len(pixel))), dim=-1):
        yield (portion + shift) % 1


def key_directions(light: KeyLight, draws: Float[Tensor, "2 *k"]) -> Float[Tensor, "3 *k"]:
    """Unit vectors towards points of the light's disc, even over it."""
    middle, height, softness = draws.new_tensor(
        [light.azimuth, light.elevation, light.softness]
    ).unbind()
    turn = draws[1] * (2 * math.pi)
    azimuth, elevation = over_disc(middle, height, softness, draws[0].sqrt(), turn)
    flat = elevation.cos()
    return torch.stack([flat * azimuth.cos(), elevation.sin(), -flat * azimuth.sin()])


def cosine_directions(
    normal: Float[Tensor, "3 *k"], draws: Float[Tensor, "2 *k"]
) -> Float[Tensor, "3 *k"]:
    """Unit vectors around normals, as many as their cosine says: a ball on top of the surface."""
    up, turn = 2 * draws[0] - 1, draws[1] * (2 * math.pi)
    flat = (1 - up.square()).clamp(min=0).sqrt()
    ball = torch.stack([flat * turn.cos(), up, flat * turn.sin()])
    return unit(normal + 0.999 * ball)


def unit(vectors: Float[Tensor, "3 *k"]) -> Float[Tensor, "3 *k"]:
    """Vectors of length 1."""
    return vectors / vectors.square().sum(dim=0, keepdim=True).sqrt().clamp(min=1e-9)
