"""Each stage of training made ready: module, data and an example batch to draw."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from cldm.build import build_model, widths_of
from cldm.config import Learning, ModelConfig, RunConfig, Stage
from cldm.data import Assets, CanvasDataset, read_assets, shards_of
from cldm.examples import ExampleDataset
from cldm.latents import cached_latents
from cldm.model import LayerDiffusion, visiting
from cldm.relation.learned import LearnedRelation
from cldm.runtime import usable_device
from cldm.training.autoencoder import AutoencoderTraining
from cldm.training.closed_form import fit_in_closed_form
from cldm.training.colours import ColourTraining
from cldm.training.layers import LayersTraining
from cldm.training.learning import choose, save_learned
from cldm.training.light import LightTraining
from cldm.training.mean import fit_mean
from cldm.training.relation import RelationTraining
from ldm.checkpoint import WeightsError, load_weights, overlay_weights, save_weights
from ldm.lora import asked_lora, merge_lora
from ldm.scene import LitLayers, Scene
from ldm.settings import ConfigError
from ldm.unet import recompute

_VARIATIONS = 24
_GUESSED = 140
_DIVERGENCE = 3e-5
# Of validation, whatever seed a run has: losses before and after a resume are comparable.
_UNSEEN_SEED = 10_007


def _nothing() -> None:
    """What most stages do in the end."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A stage that can be fitted. `save` writes its weights and says into which files, after
    `finish` has measured or fitted what needs the trained weights."""

    module: pl.LightningModule
    save: Callable[[Path], tuple[Path, ...]]
    batches: DataLoader[Any]
    validation: list[Any]
    num_steps: int
    finish: Callable[[], None] = _nothing


def prepare_autoencoder(config: ModelConfig, run: RunConfig) -> Prepared:
    """Canvases of the training split; validation on cut-outs never seen.

    Latents get their scale in the end, unless they have one: a diffusion network that learned from
    the weights to begin with knows no other.
    """
    stage, data = config.training.autoencoder, Path(run.data)
    autoencoder = _begun(config, run).autoencoder
    drawn = CanvasDataset(_assets(data, ["train"]), size=config.canvas, seed=run.seed)
    unseen = CanvasDataset(_assets(data, ["validation"]), size=config.canvas, seed=_UNSEEN_SEED)
    if config.autoencoder.linear and not run.begin:
        autoencoder.begin_linear(_first(drawn, 400))
    scaled = config.autoencoder.linear or bool(run.begin)
    module = AutoencoderTraining(
        autoencoder,
        learning_rate=stage.learning_rate,
        num_steps=stage.num_steps,
        divergence_weight=_DIVERGENCE,
    )
    return Prepared(
        module=module,
        save=partial(_save_part, autoencoder),
        batches=DataLoader(drawn, batch_size=stage.batch_size),
        validation=[(canvases := _first(unseen, 32))],
        num_steps=stage.num_steps,
        finish=_nothing if scaled else lambda: autoencoder.calibrate(canvases),
    )


def prepare_layers(config: ModelConfig, run: RunConfig) -> Prepared:
    """Scenes of cached canvases, of both splits: here, validation means new combinations.

    Raises WeightsError when there is no trained autoencoder: neither the first stage's, nor one in
    the weights to begin with; or nothing to begin with, where parts of it stay frozen.
    """
    stage, folder = config.training.layers, Path(run.folder)
    if Learning.everything not in config.training.learning and not run.begin:
        raise WeightsError("begin: found none, expected weights, for not everything learns")
    model = _begun(config, run)
    trained = folder / "autoencoder.safetensors"
    if trained.is_file():
        load_weights(model.autoencoder, trained)
    elif not run.begin:
        raise WeightsError(f"weights {trained}: train stage=autoencoder first")
    with visiting(model.autoencoder, usable_device("auto")):
        cache = cached_latents(
            folder / ("latents.safetensors" if config.has_frames else "whole_latents.safetensors"),
            _assets(Path(run.data), ["train", "validation"]),
            model.autoencoder,
            model.tokenizer,
            size=config.canvas,
            variations=_VARIATIONS,
            framed=config.has_frames,
        )
    choose(model, config)
    if config.training.recomputed:
        recompute(model.unet)
        recompute(model.control)

    def examples(batch_size: int, seed: int) -> ExampleDataset:
        return ExampleDataset(
            cache,
            batch_size=batch_size,
            num_slots=config.training.num_slots,
            picture=config.picture,
            seed=seed,
        )

    scenes = examples(stage.batch_size, run.seed)
    module = LayersTraining(
        model,
        learning_rate=stage.learning_rate,
        num_steps=stage.num_steps,
        timestep_shift=config.training.timestep_shift,
    )

    def finish() -> None:
        steps = config.training.mean_steps
        fit_mean(model, list(islice(scenes, min(steps, _GUESSED))), module.wordless, steps)

    return Prepared(
        module=module,
        save=partial(save_learned, model, config),
        batches=DataLoader(scenes, batch_size=None),
        finish=finish if config.training.mean_steps else _nothing,
        validation=[examples(6, _UNSEEN_SEED).first()],
        num_steps=stage.num_steps,
    )


def prepare_light(
    config: ModelConfig, run: RunConfig, layers: Dataset[LitLayers], unseen: list[LitLayers]
) -> Prepared:
    """Layers in known light, made by the caller. Raises ConfigError where no network learns."""
    stage, network = config.training.light, _learned(config, run)
    return Prepared(
        module=LightTraining(network, stage),
        save=partial(_save_part, network.estimator),
        batches=DataLoader(layers, batch_size=None),
        validation=unseen,
        num_steps=stage.num_steps,
    )


def prepare_colours(
    config: ModelConfig, run: RunConfig, scenes: Dataset[Scene], unseen: list[Scene]
) -> Prepared:
    """Thinned scenes with known light, made by the caller. Raises ConfigError where no network
    learns."""
    stage, network = config.training.colours, _learned(config, run)
    return Prepared(
        module=ColourTraining(network, stage),
        save=partial(_save_part, _readers(network)),
        batches=DataLoader(scenes, batch_size=None),
        validation=unseen,
        num_steps=stage.num_steps,
    )


def prepare_relation(
    config: ModelConfig,
    run: RunConfig,
    scenes: Dataset[Scene],
    last: Iterable[Scene],
    unseen: list[Scene],
) -> Prepared:
    """Scenes with known light; the caller makes them. Relief and shadows are fitted to the `last`
    of them. What the stages before it trained is put in, where it is there. Raises ConfigError
    where no network learns."""
    stage, network = config.training.relation, _learned(config, run)
    for before, part in ((Stage.light, network.estimator), (Stage.colours, _readers(network))):
        trained = Path(run.folder) / f"{before.value}.safetensors"
        if trained.is_file():
            load_weights(part, trained)
    return Prepared(
        module=RelationTraining(network, stage),
        save=partial(_save_part, network),
        batches=DataLoader(scenes, batch_size=None),
        finish=partial(fit_in_closed_form, network, last),
        validation=unseen,
        num_steps=stage.num_steps,
    )


def _begun(config: ModelConfig, run: RunConfig) -> LayerDiffusion:
    """A new model, or one with the weights to begin with and what was trained over them."""
    with torch.device("meta" if run.begin else "cpu"):
        model = build_model(config)
    if run.begin:
        load_weights(model, Path(run.begin))
    if run.over:
        overlay_weights(model, Path(run.over))
    if run.lora:
        widths, _ = widths_of(config)
        lora = asked_lora(run.lora)
        merge_lora(lora, unet=model.unet, text=model.text.network, widths=widths)
    # Convolutions on a CPU learn faster in channels-last memory.
    model.unet.to(memory_format=torch.channels_last)
    model.control.to(memory_format=torch.channels_last)
    return model


def _learned(config: ModelConfig, run: RunConfig) -> LearnedRelation:
    network = _begun(config, run).relation
    if not isinstance(network, LearnedRelation):
        found = config.relation.network.value
        raise ConfigError(f"relation.network: found {found}, expected transformer or graph")
    return network


def _readers(network: LearnedRelation) -> nn.Module:
    """All that reads the colours of layers as a whole."""
    return nn.ModuleDict({"colours": network.colours, "harmony": network.harmony})


def _save_part(part: nn.Module, path: Path) -> tuple[Path, ...]:
    save_weights(part, path)
    return (path,)


def _assets(data: Path, splits: list[str]) -> Assets:
    return read_assets([shard for split in splits for shard in shards_of(data / split)])


def _first(canvases: CanvasDataset, count: int) -> torch.Tensor:
    iterator = iter(canvases)
    return torch.stack([next(iterator) for _ in range(count)])
