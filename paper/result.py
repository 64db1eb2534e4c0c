"""One JSON file for each evaluation, with the command that made it, and the same as a table."""

import datetime
import json
import math
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev

from ldm.export.draft import draft


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A measured value with its interval."""

    value: float
    low: float
    high: float
    unit: str


def interval(values: Sequence[float], unit: str) -> Figure:
    """Mean and 95 % interval of the mean (normal approximation)."""
    middle = mean(values)
    half = 1.96 * stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return Figure(value=middle, low=middle - half, high=middle + half, unit=unit)


def ratio(values: Sequence[float], others: Sequence[float]) -> Figure:
    """Mean over mean of two measures of the same scenes, and its 95 % interval (ratio estimator,
    normal approximation: Cochran, "Sampling Techniques", 1977, section 6.3)."""
    middle = mean(values) / mean(others)
    rest = [value - middle * other for value, other in zip(values, others, strict=True)]
    half = 1.96 * stdev(rest) / (mean(others) * math.sqrt(len(rest))) if len(rest) > 1 else 0.0
    return Figure(value=middle, low=middle - half, high=middle + half, unit="ratio")


def spread(values: Sequence[float], unit: str) -> Figure:
    """Mean, smallest and largest."""
    return Figure(value=mean(values), low=min(values), high=max(values), unit=unit)


def write_result(
    path: Path, *, command: str, seed: int, scenes: int, figures: Mapping[str, Figure]
) -> None:
    """Print the figures and write them to `path`, whole or not at all."""
    for name, figure in figures.items():
        print(
            f"{name:28} {figure.value:9.3f} ({figure.low:.3f} to {figure.high:.3f}) {figure.unit}"
        )
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    result = {
        "command": command,
        "date": datetime.date.today().isoformat(),
        "commit": commit.stdout.strip(),
        "seed": seed,
        "scenes": scenes,
        "figures": {name: asdict(figure) for name, figure in figures.items()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with draft(path) as temporary:
        temporary.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
