"""How photographs are taken apart: dataclasses that a YAML file and `key=value` words fill."""

from dataclasses import dataclass, field
from enum import Enum

from annotator.depth import Scale
from annotator.sam import SamFamily


class SegmenterKind(Enum):
    """What finds things: without weights, or Segment Anything."""

    classical = "classical"
    sam = "sam"


class OrderingKind(Enum):
    """What tells far from near: cues without weights, or a depth network."""

    cues = "cues"
    depth = "depth"


class CompletionKind(Enum):
    """What fills in what is hidden: without weights, LaMa, or our own model."""

    opencv = "opencv"
    lama = "lama"
    diffusion = "diffusion"


class EngineKind(Enum):
    """Where many photographs are worked on: processes of this machine, or a Ray cluster."""

    local = "local"
    ray = "ray"


@dataclass(frozen=True)
class SamConfig:
    """Segment Anything: its checkpoint's file, and which of its sizes that is."""

    checkpoint: str = "sam_vit_b_01ec64.pth"
    family: SamFamily = SamFamily.vit_b
    points_per_side: int = 32


@dataclass(frozen=True)
class DepthConfig:
    """A folder of transformers' depth estimation, and what its large values mean."""

    folder: str = "depth-anything-v2-small"
    scale: Scale = Scale.automatic


@dataclass(frozen=True)
class DecomposerConfig:
    """How one photograph is taken apart: `num_regions` layers at most, besides the back, at a long
    side of `long_side` pixels. `lama` is a TorchScript file, `model` a layered model's YAML, for
    completion by them; `steps` are the latter's."""

    segmenter: SegmenterKind = SegmenterKind.classical
    ordering: OrderingKind = OrderingKind.cues
    completion: CompletionKind = CompletionKind.opencv
    long_side: int = 512
    num_regions: int = 5
    sam: SamConfig = field(default_factory=SamConfig)
    depth: DepthConfig = field(default_factory=DepthConfig)
    lama: str = "big-lama.pt"
    model: str = "models/layers_tiny.yaml"
    steps: int = 20
    device: str = "auto"


@dataclass(frozen=True)
class DataConfig:
    """One run over many: which photographs, where the shards go, and who works.

    `photographs` is a folder, a COCO folder, a .csv or .parquet list, or shards; `validation` the
    share of them, chosen by their keys, that goes to shards of its own; `gpus` of each worker, on a
    cluster.
    """

    photographs: list[str] = field(default_factory=list)
    out: str = "data/pseudo_layers"
    engine: EngineKind = EngineKind.local
    workers: int = 2
    gpus: float = 0.0
    shard_size: int = 32
    validation: float = 0.1
    decomposer: DecomposerConfig = field(default_factory=DecomposerConfig)
