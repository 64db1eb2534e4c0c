"""Put the trained stages together into the weights that a model's config names.

python assemble_weights.py model=models/layers_tiny.yaml folder=runs/tiny
"""

import sys
from pathlib import Path

from cldm.build import build_model
from cldm.config import RelationKind, RunConfig, read_run
from ldm.checkpoint import load_weights, save_weights
from ldm.mistake import MistakeError


def main() -> None:
    """Layers first; autoencoder and relation over it where they were trained further."""
    run, config = read_run(RunConfig(), sys.argv[1:])
    folder, model = Path(run.folder), build_model(config)
    load_weights(model, folder / "layers.safetensors")
    load_weights(model.autoencoder, folder / "autoencoder.safetensors")
    if config.relation.network is not RelationKind.none:
        load_weights(model.relation, folder / "relation.safetensors")
    written = Path(run.model).parent / config.weights
    save_weights(model, written)
    print(f"{written}: {written.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    try:
        main()
    except (MistakeError, OSError) as error:
        sys.exit(f"error: {error}")
