"""Train one stage of a layered model: autoencoder, then layers, light, colours, relation.

    python tutorial_train.py stage=layers minutes=90 training.layers.batch_size=8

The settings below and every key of the model's YAML can be given as `key=value`. A training that
was stopped goes on from its last checkpoint; `tensorboard --logdir runs` shows it.
"""

import sys
from copy import copy
from itertools import chain
from pathlib import Path

import pytorch_lightning as pl
from torch.utils.data import ChainDataset

from annotator.scenes.dataset import AnalyticScenes
from annotator.scenes.kept import KeptScenes, thinned
from annotator.scenes.remembered import RememberedScenes, neutral
from annotator.scenes.shards import RenderedScenes
from annotator.scenes.supply import SUPPLY_SIDE, read_supply
from cldm.config import (
    LightStageConfig,
    RelationStageConfig,
    RunConfig,
    Stage,
    StageConfig,
    read_run,
)
from cldm.data import DataError
from cldm.relation.colours import EVERY
from cldm.training.fitting import finished_steps, fit
from cldm.training.stage import (
    Prepared,
    prepare_autoencoder,
    prepare_colours,
    prepare_layers,
    prepare_light,
    prepare_relation,
)
from ldm.mistake import MistakeError
from ldm.scene import LitLayers, Scene, cut_out

# Settings
settings = RunConfig(
    model="models/layers_tiny.yaml",
    stage=Stage.layers,
    data="data/default",
    folder="runs/tiny",
    minutes=600.0,
    picture_every=250,
)

_SCENERY = "scenery"  # what scenes to learn from are made of
_AT_ONCE = 16  # pictures, where they are made to be remembered
_DYED = 0.6  # share of layers of the light stage's rendered scenes
_KEPT = 1500  # scenes of the colours stage: 3 GB in memory


def analytic(
    split: Path, batch_size: int, steps: range, seed: int, max_bodies: int = 4
) -> AnalyticScenes:
    """Scenes lit by formulas, of the objects and backdrops of one split."""
    return AnalyticScenes(
        read_supply(split, SUPPLY_SIDE),
        size=128,
        batch_size=batch_size,
        num_batches=len(steps),
        seed=seed,
        first=steps.start,
        max_bodies=max_bodies,
    )


def lit_layers(run: RunConfig, stage: LightStageConfig) -> tuple[RememberedScenes, list[LitLayers]]:
    """Layers to learn to see the light by, few in each picture, which are made fast, beside what
    the back shows; and unseen ones."""
    data, begin = Path(run.data), finished_steps(run)
    numbers, more = range(stage.analytic // _AT_ONCE), range(stage.rendered // _AT_ONCE)
    parts = [analytic(data / _SCENERY, _AT_ONCE, numbers, run.seed, max_bodies=3).staged()]
    if more:
        parts.append(rendered(run, _AT_ONCE, more, dyed=_DYED).staged())
    train = RememberedScenes(
        chain(*parts),
        batch_size=stage.batch_size,
        num_batches=max(0, stage.num_steps - begin),
        seed=run.seed,
        first=begin,
    )
    unseen = analytic(data / "validation", 32, range(6), seed=0, max_bodies=6)
    return train, [neutral(staged) for staged in unseen.staged()]


def rendered(run: RunConfig, batch_size: int, steps: range, dyed: float = 0.0) -> RenderedScenes:
    """Scenes lit by rays, of the objects and backdrops of the scenery, some in other
    colours."""
    shards = sorted(Path(run.scenes).glob("*.tar"))
    if not shards:
        raise DataError(f"scenes {run.scenes}: found no shard, expected some: make scenes")
    return RenderedScenes(
        shards,
        read_supply(Path(run.data) / _SCENERY, SUPPLY_SIDE),
        batch_size=batch_size,
        num_batches=len(steps),
        seed=run.seed,
        first=steps.start,
        dyed=dyed,
    )


def kept(run: RunConfig, stage: StageConfig) -> tuple[KeptScenes, list[Scene]]:
    """Rendered scenes of few pixels to learn colours by, and unseen analytic ones."""
    begin, size = finished_steps(run), stage.batch_size
    train = KeptScenes(
        rendered(run, size, range(_KEPT // size)),
        every=EVERY,
        num_batches=max(0, stage.num_steps - begin),
        seed=run.seed,
        first=begin,
    )
    unseen = analytic(Path(run.data) / "validation", 32, range(4), seed=0)
    return train, [thinned(each, EVERY) for scene in unseen for each in (scene, cut_out(scene))]


def scenes(
    run: RunConfig, stage: RelationStageConfig
) -> tuple[ChainDataset, AnalyticScenes | RenderedScenes]:
    """What is left to learn from, analytic scenes first, then rendered ones, and more of the last
    kind."""
    begin, turn = finished_steps(run), stage.num_steps - stage.rendered_steps
    parts: list[AnalyticScenes | RenderedScenes] = []
    if begin < turn or not stage.rendered_steps:
        steps = range(begin, turn)
        parts.append(analytic(Path(run.data) / _SCENERY, stage.batch_size, steps, run.seed))
    if stage.rendered_steps:
        steps = range(max(begin, turn), stage.num_steps)
        parts.append(rendered(run, stage.batch_size, steps, stage.dyed))
    more = copy(parts[-1])  # What both are made of lies in memory once.
    more.first, more.num_batches = stage.num_steps, stage.closed_form_batches
    return ChainDataset(parts), more


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
            case Stage.light:
                return prepare_light(config, run, *lit_layers(run, config.training.light))
            case Stage.colours:
                return prepare_colours(config, run, *kept(run, config.training.colours))
            case Stage.relation:
                stage = config.training.relation
                unseen = list(analytic(data / "validation", 8, range(4), seed=0))
                train, last = scenes(run, stage)
                return prepare_relation(config, run, train, last, unseen)

    # Fit
    print("weights written to", *fit(prepared(), run))


if __name__ == "__main__":
    try:
        main()
    except MistakeError as error:
        sys.exit(f"error: {error}")
