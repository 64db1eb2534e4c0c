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

from cldm.exporting import flat_weights, write_diffusers
from cldm.flat import add_model_arguments, config_of
from ldm.checkpoint import require_new, write_tensors
from ldm.foreign import read_foreign
from ldm.mistake import MistakeError
from ldm.weights import Naming


def main(words: Sequence[str] | None = None) -> None:
    """Read and check, rename, write."""
    arguments = _arguments(words)
    naming = Naming(arguments.to)
    require_new(arguments.output, ".safetensors" if naming is Naming.LDM else "")
    config = config_of(arguments)
    weights = flat_weights(read_foreign(arguments.weights), naming, config)
    if naming is Naming.LDM:
        write_tensors(weights, arguments.output)
    else:
        write_diffusers(weights, config, arguments.output)
    print(f"{arguments.output}: {len(weights)} tensors")


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("weights", type=Path, help="a layered model's file")
    parser.add_argument("output", type=Path, help="the file or folder to write")
    parser.add_argument("--to", choices=[naming.value for naming in Naming], required=True)
    add_model_arguments(parser)
    return parser.parse_args(words)


if __name__ == "__main__":
    try:
        main()
    except (MistakeError, OSError) as error:
        sys.exit(f"error: {error}")
