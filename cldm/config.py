"""What a model and its training are made of: dataclasses that a YAML file fills.

A value that follows from others is not here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import Literal

from ldm.denoiser import Prediction
from ldm.settings import ConfigError, filled, one_line, read_yaml, words_of
from ldm.text import TextFamily

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
"""The precisions of training, in Lightning's words."""


class Layout(Enum):
    """How the U-Net lays out slots: folded into channels, or into the batch."""

    packed = "packed"
    stacked = "stacked"


class Stage(Enum):
    """The stages of training, in order; `light` is what a relation network estimates of it,
    `colours` what it makes of those of a layer as a whole."""

    autoencoder = "autoencoder"
    layers = "layers"
    light = "light"
    colours = "colours"
    relation = "relation"


class RelationKind(Enum):
    """The network that says how layers light each other; `none` is plain stacking."""

    transformer = "transformer"
    graph = "graph"
    none = "none"


class Learning(Enum):
    """What of U-Net, ControlNet and text tower learns in the second stage; all else is frozen.

    `new`: the parts that Stable Diffusion does not have. `lora`: adapters on the U-Net's attention.
    """

    everything = "everything"
    control = "control"
    new = "new"
    lora = "lora"


@dataclass(frozen=True)
class AutoencoderConfig:
    """See `ldm.autoencoder.Autoencoder`."""

    latent_channels: int = 4
    channels: tuple[int, ...] = (128, 256, 512, 512)
    num_residuals: int = 2
    num_groups: int = 32
    patch: int = 1
    linear: bool = False


@dataclass(frozen=True)
class TextConfig:
    """See `ldm.text`. The last `skip` blocks are not heard ("clip skip 2" is 1)."""

    family: TextFamily = TextFamily.open_clip
    width: int = 1024
    depth: int = 24
    num_heads: int = 16
    length: int = 77
    skip: int = 0


@dataclass(frozen=True)
class UNetConfig:
    """See `ldm.unet.UNet`."""

    layout: Layout = Layout.stacked
    channels: tuple[int, ...] = (320, 640, 1280, 1280)
    attention: tuple[bool, ...] = (True, True, True, False)
    across: tuple[bool, ...] = (False, True, True, False)
    num_residuals: int = 2
    num_heads: tuple[int, ...] = (8, 8, 8, 8)


@dataclass(frozen=True)
class RelationConfig:
    """See `cldm.relation`; without a network the sizes mean nothing."""

    network: RelationKind = RelationKind.transformer
    width: int = 128
    depth: int = 4
    num_heads: int = 4


@dataclass(frozen=True)
class StageConfig:
    """How one stage is trained; `num_steps` is where the learning rate has fallen to zero."""

    num_steps: int = 10000
    batch_size: int = 16
    learning_rate: float = 1e-4


@dataclass(frozen=True)
class LightStageConfig(StageConfig):
    """How the estimator of the light is trained: on so many `analytic` and `rendered` pictures,
    kept in memory (0.4 MB each) and seen again and again."""

    analytic: int = 3200
    rendered: int = 1600


@dataclass(frozen=True)
class RelationWeights:
    """How much each term of the relation network's loss counts; see `cldm.relation.losses`."""

    composite: float = 4.0
    stillness: float = 4.0
    relit: float = 2.0
    shadow: float = 1.0
    reflection: float = 1.0
    alpha: float = 0.5


@dataclass(frozen=True)
class RelationStageConfig(StageConfig):
    """How the relation network is trained: on analytic scenes first, in the last `rendered_steps`
    on rendered ones.

    Shares of pictures: `told` their light; `cut_out`, whose layers were cut from the true picture
    and need nothing; `partly_cut_out`, where that holds of some of them, the lowest; `recoloured`,
    with one layer in wrong colours, of those cut out and of the others; `roughened`, with one
    layer's edges wrong. `closed_form_batches` more are what relief and shadows are fitted to in the
    end (see `cldm.training.closed_form`). Share of layers of rendered scenes: `dyed` in other
    colours, which hides what a network could know by heart, but also what colours things have.
    """

    rendered_steps: int = 0
    closed_form_batches: int = 100
    told: float = 0.5
    cut_out: float = 0.35
    partly_cut_out: float = 0.15
    recoloured_cut_out: float = 0.8
    recoloured: float = 0.3
    roughened: float = 0.2
    dyed: float = 0.3
    weights: RelationWeights = field(default_factory=RelationWeights)


@dataclass(frozen=True)
class TrainingConfig:
    """All stages. Of layers: `learning` says which parts learn, `lora_rank` the rank of adapters
    (see `ldm.adapters`); with `recomputed`, U-Net and ControlNet keep little on the way (see
    `ldm.unet.Step`); `timestep_shift` above 1 dwells on high noise, and `mean_steps` come in the
    end (see `cldm.training.mean`)."""

    autoencoder: StageConfig = field(default_factory=StageConfig)
    layers: StageConfig = field(default_factory=StageConfig)
    light: LightStageConfig = field(default_factory=LightStageConfig)
    colours: StageConfig = field(default_factory=StageConfig)
    relation: RelationStageConfig = field(default_factory=RelationStageConfig)
    num_slots: int = 4
    timestep_shift: float = 1.0
    mean_steps: int = 0
    learning: tuple[Learning, ...] = (Learning.everything,)
    lora_rank: int = 8
    recomputed: bool = False

    def stage(self, stage: Stage) -> StageConfig:
        """The settings of one stage."""
        match stage:
            case Stage.autoencoder:
                return self.autoencoder
            case Stage.layers:
                return self.layers
            case Stage.light:
                return self.light
            case Stage.colours:
                return self.colours
            case Stage.relation:
                return self.relation


@dataclass(frozen=True)
class ModelConfig:
    """A whole model: sizes in pixels, `margin` of a frame around its mask in shares of its side.

    Without `framed`, and in the packed layout always, every slot's frame is the whole picture.
    """

    canvas: int = 512
    picture: int = 512
    max_slots: int = 8
    margin: float = 0.1
    framed: bool = True
    prediction: Prediction = Prediction.eps
    preconditioned: bool = False
    zero_terminal_snr: bool = False
    hint_channels: tuple[int, ...] = (16, 32, 96, 256)
    weights: str = ""
    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    text: TextConfig = field(default_factory=TextConfig)
    unet: UNetConfig = field(default_factory=UNetConfig)
    relation: RelationConfig = field(default_factory=RelationConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    @property
    def has_frames(self) -> bool:
        """Whether each object is drawn in a frame of its own."""
        return self.framed and self.unet.layout is Layout.stacked


@dataclass(frozen=True)
class RunConfig:
    """One run of training: which model and stage, where data and results lie, for how long.

    Rendered scenes lie in `scenes`. Results of a stage go to `folder`: checkpoints, pictures, logs,
    and `STAGE.safetensors`. A fresh training begins with the weights in `begin` (a whole model's
    file) when that is given, under those of `over` (parts that were trained over it) and with
    `lora` (FILE or FILE:STRENGTH) merged into them.
    """

    model: str = "models/layers_tiny.yaml"
    stage: Stage = Stage.layers
    data: str = "data/default"
    scenes: str = "data/scenes/train"
    folder: str = "runs/tiny"
    begin: str = ""
    over: str = ""
    lora: str = ""
    minutes: float = 600.0
    picture_every: int = 250
    checkpoint_minutes: float = 3.0
    precision: Precision = "bf16-mixed"
    seed: int = 0


def read_config(path: Path, overrides: Sequence[str] = ()) -> ModelConfig:
    """The model that a YAML file names, with `key.sub=value` overrides.

    Raises ConfigError with one line for a missing file, bad YAML, an unknown key or a wrong value.
    """
    with one_line(f"config {path}"):
        config = filled(ModelConfig(), read_yaml(path), words_of(overrides))
    if config.zero_terminal_snr and config.prediction is Prediction.eps:
        raise ConfigError(f"config {path}: zero_terminal_snr: found true with eps, expected with v")
    text = config.text
    if not 0 <= text.skip < text.depth:
        expected = f"expected 0 to {text.depth - 1}, less than its depth"
        raise ConfigError(f"config {path}: text.skip: found {text.skip}, {expected}")
    _require_learning(path, config.training)
    guessing = config.preconditioned and config.unet.layout is Layout.stacked
    if config.training.mean_steps and not guessing:
        expected = "expected 0 unless preconditioned and stacked"
        found = config.training.mean_steps
        raise ConfigError(f"config {path}: training.mean_steps: found {found}, {expected}")
    return config


def _require_learning(path: Path, training: TrainingConfig) -> None:
    """Raise ConfigError unless something can learn, and adapters have a rank."""
    learning, rank = training.learning, training.lora_rank
    if not learning or (Learning.everything in learning and set(learning) != {Learning.everything}):
        found = ", ".join(part.value for part in learning) or "nothing"
        expected = "expected everything, or some of control, new, lora"
        raise ConfigError(f"config {path}: training.learning: found {found}, {expected}")
    least = 1 if Learning.lora in learning else 0
    if rank < least:
        expected = f"expected {least} or more"
        raise ConfigError(f"config {path}: training.lora_rank: found {rank}, {expected}")


def read_run(settings: RunConfig, arguments: Sequence[str]) -> tuple[RunConfig, ModelConfig]:
    """A run and its model after `key=value` arguments; a key that is not the run's is the model's.

    Raises ConfigError as `read_config` does, and for a relation stage without a network.
    """
    names = {entry.name for entry in fields(RunConfig)}
    own = [word for word in arguments if word.partition("=")[0] in names]
    with one_line("arguments"):
        run = filled(settings, words_of(own))
    config = read_config(Path(run.model), [word for word in arguments if word not in own])
    if run.stage is Stage.relation and config.relation.network is RelationKind.none:
        expected = "expected transformer or graph with stage=relation"
        raise ConfigError(f"config {run.model}: relation.network: found none, {expected}")
    return run, config
