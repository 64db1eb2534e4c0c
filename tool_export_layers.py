"""The flat part of a layered model, back for other tools: slot 0, without alpha.

    python tool_export_layers.py tuned.safetensors flat.safetensors --to ldm
    python tool_export_layers.py tuned.safetensors flat/ --to diffusers

`ldm` writes one file as plain Stable Diffusion tools load it, `diffusers` a folder of parts for
`from_pretrained`. OUTPUT must not exist.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from cldm.config import ConfigError, Layout, read_config
from cldm.exporting import flat_weights, write_diffusers
from ldm.checkpoint import WeightsError, require_new, write_tensors
from ldm.foreign import read_foreign
from ldm.weights import Naming


def main(words: Sequence[str] | None = None) -> None:
    """Read and check, rename, write."""
    arguments = _arguments(words)
    naming = Naming(arguments.to)
    require_new(arguments.output, ".safetensors" if naming is Naming.LDM else "")
    config = read_config(arguments.model, _overrides(arguments))
    weights = flat_weights(read_foreign(arguments.weights), naming, config)
    if naming is Naming.LDM:
        write_tensors(weights, arguments.output)
    else:
        write_diffusers(weights, config, arguments.output)
    print(f"{arguments.output}: {len(weights)} tensors")


def _overrides(arguments: argparse.Namespace) -> list[str]:
    given = {"unet.layout": arguments.layout, "max_slots": arguments.slots}
    return [f"{key}={value}" for key, value in given.items() if value is not None]


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("weights", type=Path, help="a layered model's file")
    parser.add_argument("output", type=Path, help="the file or folder to write")
    parser.add_argument("--to", choices=[naming.value for naming in Naming], required=True)
    parser.add_argument("--model", type=Path, default=Path("models/layers_v15.yaml"))
    parser.add_argument("--layout", choices=[layout.value for layout in Layout])
    parser.add_argument("--slots", type=int, help="the greatest number of layers")
    return parser.parse_args(words)


if __name__ == "__main__":
    try:
        main()
    except (ConfigError, WeightsError, OSError) as error:
        sys.exit(f"error: {error}")
