"""Masks and prompts in, RGBA layers with editable light and shadow out.

    python generate_layers.py examples/meadow.yaml out/meadow
    python generate_layers.py examples/meadow.yaml out/other seed=5 steps=30
    python generate_layers.py examples/meadow.yaml out/soft --lora pastel.safetensors:0.6

OUT gets one PNG per layer, document.psd, document.ora, composite.png and contact_sheet.png.
"""

import argparse
import sys
import time
from pathlib import Path

from tqdm import tqdm

from cldm.brief import (
    light_brief,
    light_of,
    names_of,
    read_brief,
    sampling_of,
    task_of,
    words_of_light,
)
from cldm.build import load_model, widths_of
from cldm.config import read_config
from cldm.results import Results, write_results
from cldm.runtime import add_runtime_arguments, ready, runtime_of
from ldm.checkpoint import overlay_weights
from ldm.export.folder import require_writable
from ldm.lora import asked_lora, merge_lora
from ldm.mistake import MistakeError


def main() -> None:
    """Read the brief, draw, relate, write."""
    arguments = _arguments()
    begin = time.perf_counter()
    config = read_config(arguments.model)
    brief = read_brief(arguments.brief, arguments.override)
    runtime = runtime_of(arguments)
    sampling = sampling_of(brief)
    loras = [asked_lora(words) for words in arguments.lora]
    require_writable(arguments.out)
    model = load_model(config, arguments.model.parent, runtime.precision.dtype)
    for trained in arguments.over:
        overlay_weights(model, trained)
    widths, _ = widths_of(config)
    for lora in loras:
        merge_lora(lora, unet=model.unet, text=model.text.network, widths=widths)
    ready(model, runtime)
    task = task_of(brief, config, model.tokenizer, arguments.brief.parent)

    layers = task.layers
    if task.redraw.any():
        for preview in (bar := tqdm(model.draw(task, sampling), desc="drawing", unit="step")):
            bar.total = preview.num_steps
        layers = model.show(task, preview)
    effects = model.relate(layers, light_of(brief))

    results = Results(
        layers=layers, effects=effects, names=names_of(brief), masks=task.condition.masks
    )
    write_results(results, brief, arguments.out)
    if brief.light is None:
        print(f"light estimated: {words_of_light(light_brief(model.estimated_light(layers)))}")
    print(f"{arguments.out}: {len(brief.layers)} layers in {time.perf_counter() - begin:.1f} s")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("brief", type=Path, help="a YAML file, see examples/")
    parser.add_argument("out", type=Path, help="the folder to write")
    parser.add_argument("override", nargs="*", help="key=value, over the brief's own")
    parser.add_argument("--model", type=Path, default=Path("models/layers_tiny.yaml"))
    parser.add_argument(
        "--over",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="parts that were trained over the model's weights; may be given again",
    )
    parser.add_argument(
        "--lora",
        action="append",
        default=[],
        metavar="FILE[:STRENGTH]",
        help="of Stable Diffusion 1, strength 1 when none is given; may be given again",
    )
    add_runtime_arguments(parser)
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except (MistakeError, OSError) as error:
        sys.exit(f"error: {error}")
