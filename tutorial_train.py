"""Train one stage of a layered model: autoencoder, then layers, then relation.

    python tutorial_train.py stage=layers minutes=90 training.layers.batch_size=8

The settings below and every key of the model's YAML can be given as `key=value`. A training that
was stopped goes on from its last checkpoint; `tensorboard --logdir runs` shows it.
"""

import sys
from pathlib import Path

import pytorch_lightning as pl

from annotator.scenes.dataset import AnalyticScenes
from annotator.scenes.supply import read_supply
from cldm.config import RunConfig, Stage, read_run
from cldm.training.fitting import finished_steps, fit
from cldm.training.stage import Prepared, prepare_autoencoder, prepare_layers, prepare_relation
from ldm.mistake import MistakeError

# Settings
settings = RunConfig(
    model="models/layers_tiny.yaml",
    stage=Stage.layers,
    data="data/default",
    folder="runs/tiny",
    minutes=600.0,
    picture_every=250,
)


def scenes(
    split: Path, batch_size: int, num_batches: int, seed: int, first: int = 0
) -> AnalyticScenes:
    """Scenes with known light from one split of the data."""
    return AnalyticScenes(
        read_supply(split, side=160),
        size=128,
        batch_size=batch_size,
        num_batches=num_batches,
        seed=seed,
        first=first,
        max_bodies=4,
    )


def main() -> None:
    """Read the arguments, prepare the stage, fit it."""
    # Model
    run, config = read_run(settings, sys.argv[1:])
    pl.seed_everything(run.seed)
    data = Path(run.data)

    # Data
    def prepared() -> Prepared:
        match run.stage:
            case Stage.autoencoder:
                return prepare_autoencoder(config, run)
            case Stage.layers:
                return prepare_layers(config, run)
            case Stage.relation:
                stage = config.training.relation
                first = finished_steps(run)
                left = max(0, stage.num_steps - first)
                train = scenes(data / "train", stage.batch_size, left, run.seed, first)
                unseen = list(scenes(data / "validation", 8, 4, 0))
                return prepare_relation(config, run, train, unseen)

    # Fit
    print("weights written to", *fit(prepared(), run))


if __name__ == "__main__":
    try:
        main()
    except MistakeError as error:
        sys.exit(f"error: {error}")
