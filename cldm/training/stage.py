"""Each stage of training made ready: module, data and an example batch to draw."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from cldm.build import build_autoencoder, build_model
from cldm.config import ModelConfig
from cldm.data import Assets, CanvasDataset, read_assets
from cldm.examples import ExampleDataset
from cldm.latents import cached_latents
from cldm.relation.transformer import RelationTransformer
from cldm.training.autoencoder import AutoencoderTraining
from cldm.training.layers import LayersTraining
from cldm.training.relation import RelationTraining, RelationWeights
from ldm.scene import Scene
from ldm.weights import WeightsError, load_weights

_VARIATIONS = 24
_DIVERGENCE = 3e-5


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A stage that can be fitted. `part` is what learns and is written out as weights."""

    module: pl.LightningModule
    part: nn.Module
    batches: DataLoader[Any]
    validation: list[Any]
    num_steps: int


def prepare_autoencoder(config: ModelConfig, data: Path) -> Prepared:
    """Canvases of the training split; validation on cut-outs never seen."""
    stage = config.training.autoencoder
    autoencoder = build_autoencoder(config)
    drawn = CanvasDataset(_assets(data, ["train"]), size=config.canvas, seed=0)
    unseen = CanvasDataset(_assets(data, ["validation"]), size=config.canvas, seed=1)
    if config.autoencoder.linear:
        autoencoder.begin_linear(_first(drawn, 400))
    module = AutoencoderTraining(
        autoencoder,
        learning_rate=stage.learning_rate,
        num_steps=stage.num_steps,
        divergence_weight=_DIVERGENCE,
    )
    batches = DataLoader(drawn, batch_size=stage.batch_size)
    return Prepared(
        module=module,
        part=autoencoder,
        batches=batches,
        validation=[_first(unseen, 32)],
        num_steps=stage.num_steps,
    )


def prepare_layers(config: ModelConfig, data: Path, run: Path) -> Prepared:
    """Scenes of cached canvases, of both splits: here, validation means new combinations.

    Raises WeightsError when the first stage has not left its weights in `run`.
    """
    stage, training = config.training.layers, config.training
    model = build_model(config)
    trained = run / "autoencoder.safetensors"
    if not trained.is_file():
        raise WeightsError(f"weights {trained}: train stage=autoencoder first")
    load_weights(model.autoencoder, trained)
    cache = cached_latents(
        run / "latents.safetensors",
        _assets(data, ["train", "validation"]),
        model.autoencoder,
        model.tokenizer,
        size=config.canvas,
        variations=_VARIATIONS,
    )

    def examples(batch_size: int, seed: int) -> ExampleDataset:
        return ExampleDataset(
            cache,
            batch_size=batch_size,
            num_slots=training.num_slots,
            picture=config.picture,
            seed=seed,
        )

    return Prepared(
        module=LayersTraining(model, learning_rate=stage.learning_rate, num_steps=stage.num_steps),
        part=model,
        batches=DataLoader(examples(stage.batch_size, 0), batch_size=None),
        validation=[next(iter(examples(6, 1)))],
        num_steps=stage.num_steps,
    )


def prepare_relation(
    config: ModelConfig, scenes: IterableDataset[Scene], unseen: list[Scene]
) -> Prepared:
    """Scenes with known light; the caller makes them."""
    stage, part = config.training.relation, config.relation
    network = RelationTransformer(width=part.width, depth=part.depth, num_heads=part.num_heads)
    module = RelationTraining(
        network,
        learning_rate=stage.learning_rate,
        num_steps=stage.num_steps,
        weights=RelationWeights(),
    )
    return Prepared(
        module=module,
        part=network,
        batches=DataLoader(scenes, batch_size=None),
        validation=list(unseen),
        num_steps=stage.num_steps,
    )


def _assets(data: Path, splits: list[str]) -> Assets:
    names = ("cutouts", "backdrops")
    return read_assets([data / split / f"{name}.tar" for split in splits for name in names])


def _first(canvases: CanvasDataset, count: int) -> torch.Tensor:
    iterator = iter(canvases)
    return torch.stack([next(iterator) for _ in range(count)])
