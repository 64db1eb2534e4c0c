"""Laws of configs: the shipped ones are read, keys are a frozen list, mistakes get one line."""

from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from cldm.config import (
    ConfigError,
    ModelConfig,
    RelationKind,
    RunConfig,
    Stage,
    UNetConfig,
    read_config,
    read_run,
)

MODELS = Path(__file__).parents[2] / "models"
TINY = MODELS / "layers_tiny.yaml"

KEYS = {
    "": "canvas picture max_slots margin framed prediction preconditioned zero_terminal_snr"
    " hint_channels weights",
    "autoencoder": "latent_channels channels num_residuals num_groups patch linear",
    "text": "family width depth num_heads length skip",
    "unet": "layout channels attention across num_residuals num_heads",
    "relation": "network width depth num_heads",
    "training.autoencoder": "num_steps batch_size learning_rate",
    "training.layers": "num_steps batch_size learning_rate",
    "training.light": "num_steps batch_size learning_rate analytic rendered",
    "training.colours": "num_steps batch_size learning_rate",
    "training.relation": "num_steps batch_size learning_rate rendered_steps closed_form_batches"
    " told cut_out"
    " partly_cut_out recoloured_cut_out recoloured roughened dyed",
    "training.relation.weights": "composite stillness relit shadow reflection alpha",
    "training": "num_slots timestep_shift mean_steps learning lora_rank recomputed",
}


def keys(config: object, prefix: str = "") -> list[str]:
    """All keys of a config, in its order."""
    if not is_dataclass(config):
        return [prefix]
    names = ((entry.name, getattr(config, entry.name)) for entry in fields(config))
    dot = f"{prefix}." if prefix else ""
    return [key for name, value in names for key in keys(value, f"{dot}{name}")]


def test_keys_are_a_frozen_list() -> None:
    assert keys(ModelConfig()) == [
        f"{part}.{name}".removeprefix(".") for part, names in KEYS.items() for name in names.split()
    ]
    assert [entry.name for entry in fields(RunConfig)] == [
        "model",
        "stage",
        "data",
        "scenes",
        "folder",
        "begin",
        "over",
        "lora",
        "minutes",
        "picture_every",
        "checkpoint_minutes",
        "precision",
        "seed",
    ]


@pytest.mark.parametrize("path", sorted(MODELS.glob("*.yaml")), ids=lambda path: path.name)
def test_shipped_configs_are_whole(path: Path) -> None:
    config = read_config(path)
    levels = len(config.unet.channels)
    assert len(config.unet.attention) == len(config.unet.across) == levels
    factor = config.autoencoder.patch * 2 ** (len(config.autoencoder.channels) - 1)
    assert 2 ** (len(config.hint_channels) - 1) == factor
    assert config.canvas % (factor * 2 ** (levels - 1)) == 0


def test_arguments_go_to_the_run_or_to_the_model() -> None:
    arguments = [
        "stage=relation",
        "unet.num_heads=[8,8]",
        "minutes=2",
        "training.relation.num_steps=7",
    ]
    run, config = read_run(RunConfig(model=str(TINY)), arguments)
    assert (run.stage, run.minutes) == (Stage.relation, 2)
    assert config.unet.num_heads == (8, 8)
    assert config.training.stage(Stage.relation).num_steps == 7
    plain = read_config(TINY)
    for stage in (Stage.autoencoder, Stage.layers):
        assert config.training.stage(stage) == plain.training.stage(stage)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("canvass=64", "Did you mean: 'canvas'"),
        ("unet.chanels=[32]", "Did you mean: 'channels'"),
        ("canvas=wide", "canvas"),
        ("canvas.side=3", "canvas"),
        ("unet.layout=stackd", "STACKED|stacked"),
        ("unet.channels=3", "channels"),
        ("stage=layer", "layers"),
        ("minutes=long", "minutes"),
        ("precision=32", "32-true"),
        ("prediction=eps", "zero_terminal_snr: found true with eps, expected with v"),
        ("preconditioned=false", "mean_steps: found 2600, expected 0 unless preconditioned"),
        ("unet.layout=packed", "mean_steps: found 2600, expected 0 unless preconditioned"),
        ("text.skip=3", "text.skip: found 3, expected 0 to 2"),
        ("relation.network=gnn", "transformer|graph|none"),
        ("text.family=bert", "open_clip|clip"),
        ("training.lora_rank=-1", "training.lora_rank: found -1, expected 0 or more"),
        ("training.learning=[]", "training.learning: found nothing, expected everything, or some"),
        ("training.learning=[everything,new]", "training.learning: found everything, new"),
        ("training.learning=[control,everyting]", "everything|control|new|lora"),
        ("canvas", "canvas"),
        ("unet.channels=[3", "arguments|channels|config"),
        ("model=none.yaml", "none.yaml"),
    ],
)
def test_mistakes_get_one_line(word: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refusal:
        read_run(RunConfig(model=str(TINY)), [word])
    assert "\n" not in str(refusal.value)


def test_the_relation_stage_needs_a_network() -> None:
    words = ["relation.network=none", "stage=relation"]
    with pytest.raises(ConfigError, match=r"relation\.network: found none, expected") as refusal:
        read_run(RunConfig(model=str(TINY)), words)
    assert "\n" not in str(refusal.value)
    assert read_run(RunConfig(model=str(TINY)), words[:1])[1].relation.network is RelationKind.none


@pytest.mark.parametrize(
    "content", [b"canvas: [", b"- 1\n- 2\n", b"just words", b"\xff\xfe\x00\x81", b"a: \x00"]
)
def test_files_that_are_no_config_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"model\.yaml") as refusal:
        read_config(path)
    assert "\n" not in str(refusal.value)


def test_a_config_builds_on_another_in_its_folder(tmp_path: Path) -> None:
    (tmp_path / "first.yaml").write_text("canvas: 64\nunet: {channels: [32, 64]}\n")
    (tmp_path / "second.yaml").write_text("like: first.yaml\nunet: {num_residuals: 1}\n")
    (tmp_path / "third.yaml").write_text("like: second.yaml\ncanvas: 32\n")
    config = read_config(tmp_path / "third.yaml", ["picture=128"])
    assert (config.canvas, config.picture) == (32, 128)
    assert config.unet == UNetConfig(channels=(32, 64), num_residuals=1)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("like: none.yaml", r"none\.yaml"),
        ("like: model.yaml", r"model\.yaml: like: found a file that is like itself"),
        ("like: [a.yaml]", r"model\.yaml"),
        ("like: list.yaml", "found a list"),
    ],
)
def test_a_base_that_cannot_be_read_gets_one_line(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "model.yaml"
    path.write_text(content)
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(ConfigError, match=said) as refusal:
        read_config(path)
    assert "\n" not in str(refusal.value)
