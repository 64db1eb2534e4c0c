"""Four layers at once at Stable Diffusion 1.5's size: a step packed and stacked, against four steps
of diffusers' networks, and against a step of one flat picture.

    python -m benchmarks.layers

Without guidance; networks only, as samplers and coding are the same for all. Peers take turns.
"""

import argparse

import torch

from benchmarks.networks import inputs, ours, step_of_ours, step_of_theirs, theirs
from benchmarks.timing import RESULTS, THREADS, alternating, ratio, seconds
from ldm.prepacked import prepack
from paper.result import Figure, write_result

LAYERS = 4


def stacked_vs_separate(cells: int, rounds: int, dtype: torch.dtype) -> dict[str, Figure]:
    """All layers in the batch, against one after the other through diffusers' networks."""
    mine = ours("layers_v15", dtype)
    other = theirs(mine)
    prepack(mine.unet)
    prepack(mine.control)
    single = step_of_theirs(other, inputs(1, cells, dtype))

    def separate() -> None:
        for _ in range(LAYERS):
            single()

    steps = {"stacked": step_of_ours(mine, inputs(LAYERS, cells, dtype)), "separate": separate}
    taken = alternating(steps, rounds)
    return {
        "stacked_vs_separate": ratio(taken["stacked"], taken["separate"]),
        "ours.stacked": seconds(taken["stacked"]),
        "diffusers.separate": seconds(taken["separate"]),
    }


def packed_vs_flat(cells: int, rounds: int, dtype: torch.dtype) -> dict[str, Figure]:
    """All layers in the channels, against one flat picture: the same network with one layer, and
    diffusers'."""
    mine = ours("layers_v15_packed", dtype)
    prepack(mine.unet)
    prepack(mine.control)
    flat = ours("layers_v15", dtype)
    other = theirs(flat)
    prepack(flat.unet)
    prepack(flat.control)
    one = inputs(1, cells, dtype)
    steps = {
        "packed": step_of_ours(mine, inputs(LAYERS, cells, dtype)),
        "flat": step_of_ours(flat, one),
        "diffusers": step_of_theirs(other, one),
    }
    taken = alternating(steps, rounds)
    return {
        "packed_vs_flat": ratio(taken["packed"], taken["flat"]),
        "packed_vs_flat_diffusers": ratio(taken["packed"], taken["diffusers"]),
        "ours.packed": seconds(taken["packed"]),
        "ours.flat": seconds(taken["flat"]),
        "diffusers.flat": seconds(taken["diffusers"]),
    }


@torch.no_grad()
def main() -> None:
    """Measure both layouts, write one result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cells", type=int, default=32)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    arguments = parser.parse_args()
    torch.set_num_threads(THREADS)
    cells, rounds = arguments.cells, arguments.rounds
    dtype = getattr(torch, arguments.precision)
    figures = stacked_vs_separate(cells, rounds, dtype) | packed_vs_flat(cells, rounds, dtype)
    write_result(
        RESULTS / "layers.json",
        command=f"python -m benchmarks.layers --rounds {rounds} --cells {cells}"
        f" --precision {arguments.precision}",
        seed=0,
        scenes=1,
        figures=figures,
    )


if __name__ == "__main__":
    main()
