"""Photographs taken apart: how well each part does, and the whole on real photographs.

    python -m paper.pseudo_layers

Needs the default's data (make data) for composites with known truth, and fetches the photographs of
`paper.photographs`; contact sheets of all of them go to out/pseudo_layers. With Segment Anything at
its real size (ViT-B, random weights, so that masks mean nothing) only time is measured.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from segment_anything import sam_model_registry
from torch import Tensor
from tqdm import tqdm

from annotator.acceptance import Flaw, Limits, Verdict, judge, recomposed
from annotator.config import CompletionKind, DecomposerConfig
from annotator.opening import Limits as OpeningLimits
from annotator.opening import photograph
from annotator.photograph import Photograph
from annotator.pseudo_layers import Decomposition
from annotator.regions import RegionLimits
from annotator.sam import SamSegmenter, SamSettings
from decomposing import completion, decomposer
from ldm.export.contact_sheet import write_cells
from paper.completion import completion_figures
from paper.matting import matting_figures
from paper.ordering import order_figures
from paper.photographs import is_kept_aside, photographs
from paper.result import Figure, interval, write_result

PACKAGES, SHEETS = Path("data/packages"), Path("out/pseudo_layers")
LONG_SIDE, CELL, ROWS, OBJECTS = 512, 224, 8, 5


def main() -> None:
    """Measure all, draw the sheets, write one result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--composites", type=int, default=60)
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--sam-photographs", type=int, default=3)
    arguments = parser.parse_args()
    entries = photographs(PACKAGES)
    opened = [photograph(entry, OpeningLimits(long_side=LONG_SIDE)) for entry in entries]
    aside = [is_kept_aside(entry) for entry in entries]
    diffusion = completion(DecomposerConfig(completion=CompletionKind.diffusion))
    figures = {
        **decomposition_figures(opened, aside),
        **sam_figures(opened[: arguments.sam_photographs]),
        **matting_figures(arguments.composites, 0),
        **completion_figures(arguments.composites, 0, {"diffusion": diffusion}),
        **order_figures(scenes=arguments.scenes),
    }
    write_result(
        Path("paper/results/pseudo_layers.json"),
        command=f"python -m paper.pseudo_layers --composites {arguments.composites} "
        f"--scenes {arguments.scenes} --sam-photographs {arguments.sam_photographs}",
        seed=0,
        scenes=len(entries),
        figures=figures,
    )


def decomposition_figures(opened: Sequence[Photograph], aside: Sequence[bool]) -> dict[str, Figure]:
    """The default parts on every photograph: how well kept layers give it back, what is kept (and
    of those `aside` alone), why others are not, seconds for each."""
    apart = decomposer(DecomposerConfig(long_side=LONG_SIDE, num_regions=OBJECTS))
    seconds: list[float] = []
    found: list[tuple[Decomposition, Verdict]] = []
    for one in tqdm(opened, "photographs"):
        begin = time.perf_counter()
        decomposition = apart(one)
        seconds.append(time.perf_counter() - begin)
        found.append((decomposition, judge(decomposition, Limits(objects=OBJECTS))))
    write_sheets(found)
    verdicts = [verdict for _, verdict in found]
    kept = [verdict for verdict in verdicts if verdict.kept]
    unseen = [verdict for verdict, is_aside in zip(verdicts, aside, strict=True) if is_aside]
    refused = {
        f"refused.{flaw.name}": share([flaw in verdict.flaws for verdict in verdicts])
        for flaw in Flaw
        if any(flaw in verdict.flaws for verdict in verdicts)
    }
    return {
        "recomposition_psnr_median": middle(
            [verdict.figures["recomposition_psnr"] for verdict in kept], "dB"
        ),
        "kept_share": share([verdict.kept for verdict in verdicts]),
        "kept_share_never_seen": share([verdict.kept for verdict in unseen]),
        **refused,
        "objects": interval([verdict.figures["objects"] for verdict in kept], "layers"),
        "seconds": middle(seconds, "s"),
    }


def share(flags: Sequence[bool]) -> Figure:
    """A share and its 95 % interval."""
    return interval([float(flag) for flag in flags], "share")


def middle(values: Sequence[float], unit: str) -> Figure:
    """The median between the quartiles."""
    low, high = np.quantile(values, [0.25, 0.75])
    return Figure(value=median(values), low=float(low), high=float(high), unit=unit)


@dataclass(kw_only=True)
class Timed:
    """A part that adds up the seconds that it takes."""

    part: Callable[..., Any]
    seconds: float = 0.0

    def __call__(self, *given: Any) -> Any:
        begin = time.perf_counter()
        answer = self.part(*given)
        self.seconds += time.perf_counter() - begin
        return answer


def sam_figures(opened: Sequence[Photograph]) -> dict[str, Figure]:
    """Seconds for each photograph by part, and what our own parts add to Segment Anything's time.

    It is asked about 64 points (1024 by default). The whole path runs with it; but its weights are
    random and its masks nothing, so that our own parts are timed on what the classical way finds.
    """
    torch.manual_seed(0)
    settings = SamSettings(points_per_side=8, least_quality=0.0, least_stability=0.0)
    sam = SamSegmenter(sam_model_registry["vit_b"]().eval(), settings)
    plain = decomposer(DecomposerConfig(num_regions=OBJECTS))
    anything = RegionLimits(least_quality=0.0, least_stability=0.0, most_area=1.0, most_border=1.0)
    taken: dict[str, list[float]] = {}
    for one in tqdm(opened, "Segment Anything"):
        asked = Timed(part=sam)
        replace(plain, segmenter=asked, limits=anything)(one)
        parts = {
            "segmenter": Timed(part=plain.segmenter),
            "ordering": Timed(part=plain.ordering),
            "completion": Timed(part=plain.completion),
        }
        begin = time.perf_counter()
        replace(plain, **parts)(one)
        whole = time.perf_counter() - begin
        seconds = {name: part.seconds for name, part in parts.items()}
        seconds["matting_and_rest"] = whole - sum(seconds.values())
        for name, value in (seconds | {"segmenter": asked.seconds}).items():
            taken.setdefault(name, []).append(value)
    sam_seconds = taken.pop("segmenter")
    ours = [sum(each) for each in zip(*taken.values(), strict=True)]
    shares = [own / its for own, its in zip(ours, sam_seconds, strict=True)]
    return {
        "overhead_vs_sam": interval(shares, "ratio"),
        "sam_seconds": interval(sam_seconds, "s"),
        **{f"own_seconds.{name}": interval(values, "s") for name, values in taken.items()},
    }


def write_sheets(found: Sequence[tuple[Decomposition, Verdict]]) -> None:
    """Draw all photographs, some to a sheet: itself, its layers stacked, the back, each object."""
    SHEETS.mkdir(parents=True, exist_ok=True)
    for first in range(0, len(found), ROWS):
        rows = [_row(*one) for one in found[first : first + ROWS]]
        write_cells(rows, SHEETS / f"sheet_{first // ROWS:02d}.png")


def _row(decomposition: Decomposition, verdict: Verdict) -> list[tuple[str, Tensor]]:
    layers = [layer.rgba for layer in decomposition.layers]
    psnr = verdict.figures["recomposition_psnr"]
    said = ", ".join(flaw.name for flaw in verdict.flaws) or "kept"
    pictures = [
        (f"{decomposition.photograph.key[-22:]}: {said}", decomposition.photograph.pixels),
        (f"stacked, {psnr:.1f} dB", np.rint(recomposed(layers) * 255).astype(np.uint8)),
        *[(f"layer {slot}", rgba) for slot, rgba in enumerate(layers)],
    ]
    return [(caption, _cell(pixels)) for caption, pixels in pictures]


def _cell(pixels: UInt8[np.ndarray, "h w c"]) -> Float[Tensor, "4 size size"]:
    """A picture made small, in the corner of a transparent square."""
    scale = CELL / max(pixels.shape[:2])
    size = tuple(max(1, round(side * scale)) for side in pixels.shape[1::-1])
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    cell = np.zeros((CELL, CELL, 4), np.uint8)
    cell[: small.shape[0], : small.shape[1], 3] = 255
    cell[: small.shape[0], : small.shape[1], : small.shape[2]] = small
    return torch.from_numpy(cell).movedim(-1, 0).float() / 255


if __name__ == "__main__":
    main()
