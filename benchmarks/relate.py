"""An edit of four layers, from a moved layer to the picture, at four sizes on two threads.

    python -m benchmarks.relate

`edit`: a layer is dragged a step in a live picture, the light being held as the studio does it. In
turns with it: `whole`, all layers related anew and their document flattened; `flatten`, the latter
alone; `affine`, a per-pixel affine transform of colours as in PCT-Net (Guerreiro et al. 2023,
section 3.1; here without its network: parameters at 256 px raised to full size and applied to one
flat foreground). Beside them one step of diffusion of four layers by the same model.
"""

import argparse
from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from benchmarks.timing import RESULTS, THREADS, alternating
from cldm.build import load_model
from cldm.condition import Condition, frames_of
from cldm.config import ModelConfig, read_config
from cldm.model import LayerDiffusion, Sampling
from cldm.relation.guides import LightHint
from cldm.relation.learned import LearnedRelation
from cldm.relation.live import LivePicture
from cldm.relation.placed import placed
from cldm.runtime import NetworkPrecision, Runtime, ready
from ldm.document import flatten
from ldm.effects import effects_document
from ldm.values import Layers, Light, Masks
from paper.result import Figure, write_result

NAMES = ("back", "far", "middle", "near")
SIZES = (128, 512, 1024, 2048)
_PARAMETERS = 256  # PCT-Net's low resolution


def scene(size: int) -> Layers:
    """Three soft discs before a back."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(1, len(NAMES), 3, 8, 8, generator=generator)
    rgb = F.interpolate(noise.flatten(0, 1), size=(size, size), mode="bilinear")[None]
    line = (torch.arange(size) + 0.5) / size
    discs = [
        (line[:, None] - 0.6).square() + (line - centre).square() for centre in (0.3, 0.5, 0.7)
    ]
    alpha = (size * (0.15 - torch.stack(discs).sqrt())).clamp(0, 1)
    alpha = torch.cat([torch.ones(1, size, size), alpha])[None, :, None]
    present = torch.ones(1, len(NAMES), dtype=torch.bool)
    return Layers(rgba=torch.cat([rgb, alpha], dim=2), present=present)


def light() -> LightHint:
    """The light that an artist holds while dragging: half way up, from the right and behind; none
    of the layers stands in it already."""
    one = torch.ones(1)
    known = Light(
        azimuth=one, elevation=0.8 * one, colour=one.expand(1, 3), softness=0.2 * one, ambient=one
    )
    agreed = torch.zeros(1, len(NAMES) - 1)
    return LightHint(light=known, given=one.bool(), agreed=agreed)


def dragging(network: LearnedRelation, layers: Layers) -> Callable[[], Tensor]:
    """A step of the mouse: the nearest layer moves by a fiftieth of the picture, to and fro."""
    live = LivePicture(network, layers.size)
    *others, near = map(placed, layers.rgba[0])
    step = layers.size[1] // 50
    places = cycle([near, near.at(near.top, near.left + step)])
    return lambda: live.show([*others, next(places)], light())


def edits(model: LayerDiffusion, size: int, rounds: int) -> dict[str, Figure]:
    """Milliseconds of an edit and of its peers at one size."""
    layers = scene(size)
    document = effects_document(layers, model.relate(layers, light()), NAMES)
    low = torch.rand(1, 12, _PARAMETERS, _PARAMETERS)
    steps = {
        f"whole_{size}_ms": lambda: flatten(
            effects_document(layers, model.relate(layers, light()), NAMES)
        ),
        f"flatten_{size}_ms": lambda: flatten(document),
        f"affine_{size}_ms": lambda: transformed(layers.rgb[:, 1], layers.alpha[:, 1], low),
    }
    if isinstance(model.relation, LearnedRelation):
        steps[f"edit_{size}_ms"] = dragging(model.relation, layers)
    return {name: milliseconds(taken) for name, taken in alternating(steps, rounds).items()}


def transformed(
    rgb: Float[Tensor, "1 3 h w"],
    mask: Float[Tensor, "1 1 h w"],
    low: Float[Tensor, "1 12 y x"],
) -> Float[Tensor, "1 3 h w"]:
    """Colours under an affine map of their own at each pixel, where the mask is."""
    raised = F.interpolate(low, size=rgb.shape[-2:], mode="bilinear")
    matrix, offset = raised.split([9, 3], dim=1)
    changed = torch.einsum("b i j h w, b j h w -> b i h w", matrix.unflatten(1, (3, 3)), rgb)
    return torch.lerp(rgb, changed + offset, mask)


def diffusion_step(model: LayerDiffusion, config: ModelConfig) -> Callable[[], Tensor]:
    """One call of the denoiser for four layers, words and hints being known."""
    layers = scene(config.picture)
    masks = Masks(area=layers.alpha[:, :, 0], present=layers.present)
    condition = Condition(
        tokens=model.tokenizer(NAMES)[None], masks=masks, frames=frames_of(masks, config)
    )
    denoiser = model.guided(condition, Sampling())
    cells = config.canvas // model.autoencoder.factor
    noisy = torch.randn(1, len(NAMES), config.autoencoder.latent_channels, cells, cells)
    sigma = torch.ones(1, len(NAMES))
    return lambda: denoiser(noisy, sigma)


def figures(
    model: LayerDiffusion, config: ModelConfig, sizes: Sequence[int], rounds: int
) -> dict[str, Figure]:
    """All that is measured, by name."""
    step = {"diffusion_step_ms": diffusion_step(model, config)}
    found = {name: milliseconds(taken) for name, taken in alternating(step, rounds).items()}
    for size in sizes:
        found = edits(model, size, rounds) | found
    return dict(sorted(found.items()))


def milliseconds(values: list[float]) -> Figure:
    """Median, fastest and slowest."""
    scaled = [1000 * value for value in values]
    return Figure(value=median(scaled), low=min(scaled), high=max(scaled), unit="ms")


@torch.inference_mode()
def main() -> None:
    """Measure, write one result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, default=Path("models/layers_tiny.yaml"))
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    torch.set_num_threads(THREADS)
    config = read_config(arguments.model)
    runtime = Runtime(
        device=torch.device("cpu"),
        precision=NetworkPrecision.float32,
        low_vram=False,
        compiled=False,
    )
    model = ready(load_model(config, arguments.model.parent), runtime)
    sizes = " ".join(map(str, arguments.sizes))
    write_result(
        RESULTS / "relate.json",
        command=f"python -m benchmarks.relate --model {arguments.model} --sizes {sizes}"
        f" --rounds {arguments.rounds}",
        seed=0,
        scenes=1,
        figures=figures(model, config, arguments.sizes, arguments.rounds),
    )


if __name__ == "__main__":
    main()
