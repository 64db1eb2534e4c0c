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

from cldm.adding import complete, match
from cldm.flat import add_model_arguments, config_of
from cldm.runtime import NetworkPrecision
from ldm.checkpoint import require_new, write_tensors
from ldm.foreign import read_foreign
from ldm.mistake import MistakeError


def main(words: Sequence[str] | None = None) -> None:
    """Read and check, build, fill, write."""
    arguments = _arguments(words)
    require_new(arguments.output, ".safetensors")
    config = config_of(arguments)
    base = read_foreign(arguments.input)
    control = read_foreign(arguments.control) if arguments.control else None
    relation = read_foreign(arguments.relation) if arguments.relation else None
    found = match(base, control, relation, config)
    for warning in found.warnings:
        print(f"warning: {warning}", file=sys.stderr)

    weights, report = complete(found, config, NetworkPrecision(arguments.precision).dtype)
    write_tensors(weights, arguments.output)
    print("\n".join(report.lines()))
    print(f"{arguments.output}: {arguments.output.stat().st_size / 1e6:.1f} MB")


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    precisions = [precision.value for precision in NetworkPrecision]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("input", type=Path, help="Stable Diffusion's weights")
    parser.add_argument("control", type=Path, nargs="?", help="a ControlNet's weights")
    parser.add_argument("output", type=Path, help="the file to write, .safetensors")
    add_model_arguments(parser)
    parser.add_argument("--precision", choices=precisions, default="float32")
    parser.add_argument("--relation", type=Path, help="take the relation network of this file")
    return parser.parse_args(words)


if __name__ == "__main__":
    try:
        main()
    except (MistakeError, OSError) as error:
        sys.exit(f"error: {error}")
