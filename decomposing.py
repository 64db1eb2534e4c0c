"""The parts that take photographs apart, as settings name them: doors share this."""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from annotator.acceptance import Limits as AcceptanceLimits
from annotator.classical import ClassicalSegmenter
from annotator.completion import Completion, LamaCompletion, OpenCvCompletion
from annotator.config import CompletionKind, DecomposerConfig, OrderingKind, SegmenterKind
from annotator.depth import DepthOrdering
from annotator.opening import Limits as OpeningLimits
from annotator.ordering import CueOrdering, Ordering
from annotator.pseudo_layers import Decomposer
from annotator.regions import RegionLimits
from annotator.sam import SamSegmenter, SamSettings, load_sam
from annotator.sample_maker import SampleMaker
from annotator.segmenter import Segmenter
from cldm.build import load_model
from cldm.completion import DiffusionCompletion
from cldm.config import read_config
from cldm.model import Sampling
from cldm.runtime import usable_device

_LIBRARIES = ("torch", "opencv-python", "scikit-image", "pymatting", "segment-anything")


@dataclass(frozen=True, kw_only=True)
class Factory:
    """Builds what makes samples, in each worker anew."""

    config: DecomposerConfig

    @property
    def history(self) -> str:
        """By what photographs are taken apart: parts, and versions of the libraries behind them."""
        config = self.config
        parts = f"{config.segmenter.value}, {config.ordering.value}, {config.completion.value}"
        versions = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
        return f"taken apart by {parts}; {versions}"

    def __call__(self) -> SampleMaker:
        config = self.config
        return SampleMaker(
            decomposer=decomposer(config),
            opening=OpeningLimits(long_side=config.long_side),
            acceptance=AcceptanceLimits(objects=config.num_regions),
            history=self.history,
        )


def decomposer(config: DecomposerConfig) -> Decomposer:
    """What takes photographs apart; raises one-line errors for weights that are missing."""
    return Decomposer(
        segmenter=_segmenter(config),
        ordering=_ordering(config),
        completion=completion(config),
        limits=RegionLimits(count=config.num_regions),
    )


def _segmenter(config: DecomposerConfig) -> Segmenter:
    match config.segmenter:
        case SegmenterKind.classical:
            return ClassicalSegmenter()
        case SegmenterKind.sam:
            sam = load_sam(
                Path(config.sam.checkpoint),
                family=config.sam.family,
                device=usable_device(config.device),
            )
            return SamSegmenter(sam, SamSettings(points_per_side=config.sam.points_per_side))


def _ordering(config: DecomposerConfig) -> Ordering:
    match config.ordering:
        case OrderingKind.cues:
            return CueOrdering()
        case OrderingKind.depth:
            return DepthOrdering(
                Path(config.depth.folder),
                device=usable_device(config.device),
                scale=config.depth.scale,
            )


def completion(config: DecomposerConfig) -> Completion:
    """What fills in what is hidden; raises as `decomposer` does."""
    match config.completion:
        case CompletionKind.opencv:
            return OpenCvCompletion()
        case CompletionKind.lama:
            return LamaCompletion(Path(config.lama), usable_device(config.device))
        case CompletionKind.diffusion:
            path = Path(config.model)
            model_config = read_config(path)
            model = load_model(model_config, path.parent).to(usable_device(config.device))
            return DiffusionCompletion(model, model_config, Sampling(num_steps=config.steps))
