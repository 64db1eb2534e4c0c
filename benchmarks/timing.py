"""Fair timing: peers take turns in one run, and medians are compared."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

import torch

from paper.result import Figure

RESULTS = Path(__file__).parent / "results"
THREADS = 2


def alternating(steps: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each step in each round, after one round to warm up."""
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + 1):
        for name, step in steps.items():
            begin = time.perf_counter()
            step()
            if number:
                taken[name].append(time.perf_counter() - begin)
    return taken


def seconds(values: list[float]) -> Figure:
    """Median, fastest and slowest."""
    return Figure(value=median(values), low=min(values), high=max(values), unit="s")


def ratio(ours: list[float], theirs: list[float]) -> Figure:
    """Ratio of the medians; smallest and largest ratio of a round."""
    each = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    return Figure(value=median(ours) / median(theirs), low=min(each), high=max(each), unit="ratio")


def rate(values: list[float], arithmetic: float) -> Figure:
    """Arithmetic per second, of `arithmetic` GFLOP a step."""
    rates = [arithmetic / value for value in values]
    return Figure(value=median(rates), low=min(rates), high=max(rates), unit="GFLOP/s")


def single(value: float, unit: str) -> Figure:
    """A figure that was measured once."""
    return Figure(value=value, low=value, high=value, unit=unit)


def product_rate(dtype: torch.dtype, rounds: int = 9) -> Figure:
    """Arithmetic of a large matrix product: what the machine can do now."""
    left, size = torch.randn(2048, 2048).to(dtype), 2048
    taken = alternating({"product": lambda: left @ left}, rounds)["product"]
    return rate(taken, 2 * size**3 / 1e9)


def peak_memory() -> float:
    """Largest resident memory of this process so far, in GiB."""
    return memory("VmHWM")


def memory(field: str, path: Path = Path("/proc/self/status")) -> float:
    """A field of the system's memory tables in GiB: VmRSS is what this process holds now."""
    lines = path.read_text(encoding="ascii").splitlines()
    (found,) = [line.split()[1] for line in lines if line.startswith(f"{field}:")]
    return int(found) / 2**20
