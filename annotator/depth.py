"""Ordering by a depth network that the user has on disk; nothing is ever fetched."""

from collections.abc import Sequence
from enum import Enum
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float32, UInt8
from PIL import Image
from transformers import (
    AutoImageProcessor,
    AutoModelForDepthEstimation,
    PretrainedConfig,
    pipeline,
)

from ldm.mistake import MistakeError

_FILES = ("config.json", "preprocessor_config.json")


class DepthFolderError(MistakeError):
    """The folder of a depth network lacks something; the text is one line."""


class Scale(Enum):
    """What large values of a depth network mean.

    `automatic`: as its config says; `disparity`: near (MiDaS, DPT, Depth Anything); `distance`: far
    (metric networks).
    """

    automatic = "automatic"
    disparity = "disparity"
    distance = "distance"


class DepthOrdering:
    """Orders regions by the median of a depth network's answer in each.

    `folder` is a model of transformers' depth-estimation pipeline as saved on disk. Errors:
    `DepthFolderError` where it is missing, incomplete or of a kind whose scale must be given.
    """

    def __init__(
        self, folder: Path, *, device: torch.device, scale: Scale = Scale.automatic
    ) -> None:
        _check(folder)
        model = AutoModelForDepthEstimation.from_pretrained(
            folder, local_files_only=True, use_safetensors=True
        )
        self._network = pipeline(
            "depth-estimation",
            model=model,
            image_processor=AutoImageProcessor.from_pretrained(folder, local_files_only=True),
            device=device,
        )
        self._scale = scale_of(model.config) if scale is Scale.automatic else scale

    def __call__(
        self, pixels: UInt8[np.ndarray, "h w 3"], masks: Sequence[Bool[np.ndarray, "h w"]]
    ) -> list[int]:
        depth = self._network(Image.fromarray(pixels))["predicted_depth"].numpy()
        return by_nearness(depth if self._scale is Scale.disparity else -depth, masks)


def by_nearness(
    nearness: Float32[np.ndarray, "h w"], masks: Sequence[Bool[np.ndarray, "h w"]]
) -> list[int]:
    """Indexes of the regions from far to near by their median; equals in the order of scanning."""
    keys = [(float(np.median(nearness[mask])), int(mask.argmax())) for mask in masks]
    return sorted(range(len(masks)), key=keys.__getitem__)


def scale_of(config: PretrainedConfig) -> Scale:
    """What a network's large values mean, by its config.

    Errors: `DepthFolderError` for kinds that exist both ways.
    """
    match config.model_type:
        case "depth_anything":
            relative = config.depth_estimation_type == "relative"
            return Scale.disparity if relative else Scale.distance
        case "dpt":
            return Scale.disparity
        case "zoedepth" | "glpn" | "depth_pro":
            return Scale.distance
        case other:
            raise DepthFolderError(
                f"depth network of kind {other!r}: say by the setting `scale` whether large values "
                "mean near (disparity) or far (distance)"
            )


def _check(folder: Path) -> None:
    missing = [name for name in _FILES if not (folder / name).is_file()]
    weights = list(folder.glob("model*.safetensors"))
    missing += [] if weights else ["model.safetensors"]
    if missing:
        raise DepthFolderError(
            f"depth folder {folder}: no {', '.join(missing)}; get all files of a model such as "
            "depth-anything/Depth-Anything-V2-Small-hf there, or choose ordering=cues, which needs "
            "none"
        )
