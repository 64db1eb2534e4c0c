"""Memory and time of one training step at Stable Diffusion 1.5's size, by what learns.

    python -m benchmarks.training_memory
    python -m benchmarks.training_memory --cases control lora --cells 64

One picture with one layer, float32, random weights; forward, backward and AdamW's update, each case
in a fresh process. `original` is what the original ControlNet does: the ControlNet learns, and the
gradients of the "locked" decoder are computed and stored all the same. Peaks are resident memory,
`step_memory` what a step takes beyond weights and libraries. Where memory is too short for the
optimiser's state, the update is left out, and `optimiser_memory` is 0. Gradients count as part of a
step.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from enum import Enum
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from benchmarks.networks import filled
from benchmarks.timing import RESULTS, THREADS, memory, peak_memory
from cldm.build import build_model
from cldm.callbacks import trainable
from cldm.condition import Condition
from cldm.config import Learning, ModelConfig, read_config
from cldm.examples import Examples
from cldm.model import LayerDiffusion
from cldm.training.layers import LayersTraining
from cldm.training.learning import choose
from ldm.compositing import whole_frames
from ldm.unet import recompute
from ldm.values import Masks
from paper.result import Figure, write_result

ROOT = Path(__file__).parent.parent
MODEL = ROOT / "models" / "layers_v15.yaml"
RESULT = RESULTS / "training_memory.json"
MACHINE = Path("/proc/meminfo")
STEPS = 3
# What a step without recomputation takes for activations, roughly, in GiB at 32 x 32 cells.
_ACTIVATIONS = 3.0


class Case(Enum):
    """What learns."""

    control = "control"
    new = "new"
    lora = "lora"
    everything = "everything"
    original = "original"

    @property
    def learning(self) -> Learning:
        """The choice of the config."""
        return Learning.control if self is Case.original else Learning(self.value)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """GiB of memory, seconds of each step after the first."""

    weights: float
    learned: float
    optimiser: float
    step: float
    peak: float
    seconds: list[float]


def model_of(config: ModelConfig) -> LayerDiffusion:
    """Text tower, U-Net and ControlNet with small random weights; no initialisation is run."""
    with torch.device("meta"):
        model = build_model(config)
    model.text, model.unet, model.control = (
        filled(part, torch.float32) for part in (model.text, model.unet, model.control)
    )
    return model


def batch_of(model: LayerDiffusion, cells: int) -> Examples:
    """One picture with one layer."""
    side = cells * model.autoencoder.factor
    masks = Masks(area=torch.ones(1, 1, side, side), present=torch.ones(1, 1, dtype=torch.bool))
    tokens = model.tokenizer(["a duck on a lawn"])[None]
    return Examples(
        condition=Condition(tokens=tokens, masks=masks, frames=whole_frames(1, 1)),
        latents=torch.randn(1, 1, len(model.autoencoder.shift), cells, cells),
        weight=torch.ones(1, 1, cells, cells),
    )


def measured(case: Case, recomputed: bool, cells: int) -> Measured:
    """Some training steps of one case in this process."""
    config = read_config(MODEL, [f"training.learning=[{case.learning.value}]"])
    model = model_of(replace(config, canvas=cells * 2 ** (len(config.hint_channels) - 1)))
    choose(model, config)
    learned = list(trainable(model).values())
    if case is Case.original:
        model.unet.decoder.requires_grad_(True)
    if recomputed:
        recompute(model.unet)
        recompute(model.control)
    module = LayersTraining(model, learning_rate=1e-5, num_steps=1000, timestep_shift=1.0)
    optimiser = torch.optim.AdamW(learned, lr=1e-5)
    updated = 3 * gibibytes(learned) + _ACTIVATIONS * (cells / 32) ** 2 < memory(
        "MemAvailable", MACHINE
    )
    batch, before, seconds = batch_of(model, cells), memory("VmRSS"), list[float]()
    for _ in range(STEPS):
        begin = time.perf_counter()
        module.loss(batch).backward()
        if updated:
            optimiser.step()
        optimiser.zero_grad()
        seconds.append(time.perf_counter() - begin)
    kept = [part for state in optimiser.state.values() for part in state.values()]
    networks = (model.text, model.unet, model.control)
    return Measured(
        weights=sum(gibibytes(network.parameters()) for network in networks),
        learned=gibibytes(learned),
        optimiser=gibibytes(kept),
        step=peak_memory() - before,
        peak=peak_memory(),
        seconds=seconds[1:],
    )


def gibibytes(tensors: Iterable[Tensor]) -> float:
    """What tensors take."""
    return sum(tensor.nbytes for tensor in tensors) / 2**30


def figures_of(name: str, found: Measured) -> dict[str, Figure]:
    """One case's part of the result."""
    values = {
        "weights": found.weights,
        "learned": found.learned,
        "optimiser_memory": found.optimiser,
        "step_memory": found.step,
        "peak_memory": found.peak,
    }
    figures = {
        f"{name}.{key}": Figure(value=value, low=value, high=value, unit="GiB")
        for key, value in values.items()
    }
    taken = found.seconds
    figures[f"{name}.step"] = Figure(value=median(taken), low=min(taken), high=max(taken), unit="s")
    return figures


def measured_apart(case: Case, recomputed: bool, cells: int) -> Measured:
    """The same in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.training_memory", "--alone", case.value]
    command += ["--cells", str(cells)] + ["--recomputed"] * recomputed
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Measure the cases one after the other, write one result."""
    names = [case.value for case in Case]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", nargs="+", choices=names, default=names)
    parser.add_argument("--cells", type=int, default=32, help="side of the latents, 64 for 512 px")
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--alone", choices=names, help="measure one case in this process, print it")
    parser.add_argument("--recomputed", action="store_true", help="with --alone")
    arguments = parser.parse_args()
    torch.set_num_threads(THREADS)
    if arguments.alone:
        found = measured(Case(arguments.alone), arguments.recomputed, arguments.cells)
        return print(json.dumps(asdict(found)))
    figures: dict[str, Figure] = {}
    for case in map(Case, arguments.cases):
        peer = "original" if case is Case.original else f"ours.{case.value}"
        figures |= figures_of(peer, measured_apart(case, False, arguments.cells))
        if case is not Case.original:
            apart = measured_apart(case, True, arguments.cells)
            figures |= figures_of(f"{peer}_recomputed", apart)
    cases = " ".join(arguments.cases)
    write_result(
        arguments.out,
        command=f"python -m benchmarks.training_memory --cases {cases} --cells {arguments.cells}",
        seed=0,
        scenes=1,
        figures=figures,
    )


if __name__ == "__main__":
    main()
