"""Memory that loading a model of Stable Diffusion 1.5's size takes, against its weights.

    python -m benchmarks.loading

Each case in a fresh process: memory is that of the process at its peak, all weights touched, beyond
what it held before loading. Pages mapped from the file count, although the system may drop them.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.networks import MODELS, filled
from benchmarks.timing import RESULTS, memory, peak_memory, single
from cldm.build import build_model, load_model
from cldm.config import read_config
from cldm.runtime import NetworkPrecision
from ldm.checkpoint import write_tensors
from paper.result import Figure, write_result

CASES = (("float16", "float16"), ("bfloat16", "bfloat16"), ("float32", "float32"))
CASES += (("float16", "float32"),)
CONFIG = read_config(MODELS / "layers_v15.yaml")


def write_model(path: Path, precision: NetworkPrecision) -> None:
    """A file of random weights."""
    with torch.device("meta"):
        model = build_model(CONFIG)
    weights = filled(model, torch.float32).state_dict()
    write_tensors({key: weight.to(precision.dtype) for key, weight in weights.items()}, path)


def load(path: Path, precision: NetworkPrecision) -> None:
    """Load in this process and print weights, memory at peak and now, all in GiB, and seconds."""
    before, begin = memory("VmRSS"), time.perf_counter()
    model = load_model(replace(CONFIG, weights=path.name), path.parent, precision.dtype)
    seconds = time.perf_counter() - begin
    for weight in model.parameters():
        weight.view(-1)[::512].sum()
    weights = sum(weight.nbytes for weight in model.state_dict().values()) / 2**30
    print(weights, peak_memory() - before, memory("VmRSS") - before, seconds)


def measured(stored: str, loaded: str, folder: Path) -> dict[str, Figure]:
    """One case in a fresh process."""
    path, name = folder / f"{stored}.safetensors", f"{stored}_as_{loaded}"
    if not path.exists():
        write_model(path, NetworkPrecision(stored))
    command = [sys.executable, "-m", "benchmarks.loading", "--load", str(path), loaded]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    weights, peak, after, seconds = map(float, done.stdout.split())
    return {
        f"{name}.weights": single(weights, "GiB"),
        f"{name}.peak_ratio": single(peak / weights, "ratio"),
        f"{name}.after_ratio": single(after / weights, "ratio"),
        f"{name}.seconds": single(seconds, "s"),
    }


def main() -> None:
    """Measure all cases, write one result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--load", nargs=2, help="file, precision: load it in this process")
    arguments = parser.parse_args()
    if arguments.load:
        path, precision = arguments.load
        return load(Path(path), NetworkPrecision(precision))
    figures: dict[str, Figure] = {}
    with tempfile.TemporaryDirectory() as folder:
        for stored, loaded in CASES:
            figures |= measured(stored, loaded, Path(folder))
    write_result(
        RESULTS / "loading.json",
        command="python -m benchmarks.loading",
        seed=0,
        scenes=1,
        figures=figures,
    )


if __name__ == "__main__":
    main()
