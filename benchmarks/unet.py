"""One step of U-Net and ControlNet at Stable Diffusion 1.5's size: ours against diffusers'.

    python -m benchmarks.unet

Same weights, two threads, one picture with one layer, without guidance; peers take turns. Peak
memory is that of a fresh process with one network pair after two steps.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.networks import inputs, ours, step_of_ours, step_of_theirs, theirs
from benchmarks.timing import (
    RESULTS,
    THREADS,
    alternating,
    peak_memory,
    product_rate,
    rate,
    ratio,
    seconds,
    single,
)
from ldm.prepacked import prepack
from paper.result import Figure, write_result

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
PEERS, SIZES = ("ours", "diffusers"), (32, 64)


def work(cells: int) -> float:
    """Arithmetic of one step of diffusers' networks, in GFLOP."""
    pair = theirs(ours("layers_v15", torch.bfloat16))
    pair.unet.to("meta")
    pair.control.to("meta")
    given = inputs(1, cells, torch.bfloat16).to("meta")
    with FlopCounterMode(display=False) as counter:
        step_of_theirs(pair, given)()
    return counter.get_total_flops() / 1e9


def compare(name: str, cells: int, rounds: int, arithmetic: float) -> dict[str, Figure]:
    """Seconds, ratio and arithmetic per second in one precision at one size, and how far the
    answers differ."""
    dtype, at = DTYPES[name], f"{name}_{cells}"
    mine, given = ours("layers_v15", dtype), inputs(1, cells, dtype)
    other = theirs(mine)
    prepack(mine.unet)
    prepack(mine.control)
    steps = {"ours": step_of_ours(mine, given), "diffusers": step_of_theirs(other, given)}
    found, expected = (step().float() for step in steps.values())
    error = float((found - expected).abs().max() / expected.abs().max())
    taken = alternating(steps, rounds)
    figures = {f"{at}_ratio": ratio(taken["ours"], taken["diffusers"])}
    for peer, values in taken.items():
        figures[f"{peer}.{at}"] = seconds(values)
        figures[f"{peer}.{at}_rate"] = rate(values, arithmetic)
    return figures | {f"{at}_error": single(error, "of the largest")}


def peak(peer: str, name: str, cells: int) -> None:
    """Print the peak memory of this process after two steps of one peer."""
    dtype = DTYPES[name]
    mine, given = ours("layers_v15", dtype), inputs(1, cells, dtype)
    if peer == "ours":
        prepack(mine.unet)
        prepack(mine.control)
        step: Callable[[], Tensor] = step_of_ours(mine, given)
    else:
        other = theirs(mine)
        del mine
        step = step_of_theirs(other, given)
    for _ in range(2):
        step()
    print(peak_memory())


@torch.no_grad()
def main() -> None:
    """Measure all, write one result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peak", nargs=3, help="peer, precision, cells: print peak memory only")
    arguments = parser.parse_args()
    torch.set_num_threads(THREADS)
    if arguments.peak:
        peer, name, cells = arguments.peak
        return peak(peer, name, int(cells))
    figures: dict[str, Figure] = {}
    for cells in SIZES:
        arithmetic = work(cells)
        figures[f"work_{cells}"] = single(arithmetic, "GFLOP")
        for name, dtype in DTYPES.items():
            figures[f"product.{name}_{cells}"] = product_rate(dtype)
            figures |= compare(name, cells, arguments.rounds, arithmetic)
    for name in DTYPES:
        for peer in PEERS:
            command = [sys.executable, "-m", "benchmarks.unet", "--peak", peer, name, "64"]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            figures[f"{peer}.{name}_64_peak"] = single(float(done.stdout.split()[-1]), "GiB")
    write_result(
        RESULTS / "unet.json",
        command=f"python -m benchmarks.unet --rounds {arguments.rounds}",
        seed=0,
        scenes=1,
        figures=figures,
    )


if __name__ == "__main__":
    main()
