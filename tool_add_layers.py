"""Stable Diffusion's weights, with or without a ControlNet's, as a layered model.

    python tool_add_layers.py v1-5-pruned.safetensors control_v11p_sd15_seg.pth out.safetensors
    python tool_add_layers.py stable-diffusion-2-1/ out.safetensors --model models/layers_v21.yaml

INPUT and CONTROL may be .safetensors, .ckpt, .pth, .pt, .bin or diffusers folders. OUTPUT must not
exist. Without CONTROL the ControlNet begins as a copy of the U-Net's encoder.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from cldm.adding import complete, match
from cldm.build import build_model
from cldm.config import ConfigError, Layout, read_config
from ldm.checkpoint import WeightsError, require_new, write_tensors
from ldm.foreign import read_foreign

PRECISIONS = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def main(words: Sequence[str] | None = None) -> None:
    """Read and check, build, fill, write."""
    arguments = _arguments(words)
    require_new(arguments.output, ".safetensors")
    config = read_config(arguments.model, _overrides(arguments))
    base = read_foreign(arguments.input)
    control = read_foreign(arguments.control) if arguments.control else None
    relation = read_foreign(arguments.relation) if arguments.relation else None
    found = match(base, control, relation, config)
    for warning in found.warnings:
        print(f"warning: {warning}", file=sys.stderr)

    born, precision = build_model(config).state_dict(), PRECISIONS[arguments.precision]
    weights, report = complete(found, born, config, precision)
    write_tensors(weights, arguments.output)
    print("\n".join(report.lines()))
    print(f"{arguments.output}: {arguments.output.stat().st_size / 1e6:.1f} MB")


def _overrides(arguments: argparse.Namespace) -> list[str]:
    given = {"unet.layout": arguments.layout, "max_slots": arguments.slots}
    return [f"{key}={value}" for key, value in given.items() if value is not None]


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("input", type=Path, help="Stable Diffusion's weights")
    parser.add_argument("control", type=Path, nargs="?", help="a ControlNet's weights")
    parser.add_argument("output", type=Path, help="the file to write, .safetensors")
    parser.add_argument("--model", type=Path, default=Path("models/layers_v15.yaml"))
    parser.add_argument("--layout", choices=[layout.value for layout in Layout])
    parser.add_argument("--slots", type=int, help="the greatest number of layers")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32")
    parser.add_argument("--relation", type=Path, help="take the relation network of this file")
    return parser.parse_args(words)


if __name__ == "__main__":
    try:
        main()
    except (ConfigError, WeightsError, OSError) as error:
        sys.exit(f"error: {error}")
