"""`SamSegmenter`: Segment Anything (Kirillov et al., ICCV 2023) by its authors' package."""

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from segment_anything import SamAutomaticMaskGenerator, SamPredictor, sam_model_registry
from segment_anything.modeling import Sam
from segment_anything.utils.amg import calculate_stability_score
from torch import Tensor

from annotator.photograph import Mark
from annotator.segmenter import Segment
from ldm.mistake import MistakeError


class SegmenterError(MistakeError):
    """A segmenter cannot be had; one line says what to do."""


class SamFamily(StrEnum):
    """The sizes of Segment Anything's image encoder."""

    vit_b = "vit_b"
    vit_l = "vit_l"
    vit_h = "vit_h"

    @property
    def file_name(self) -> str:
        """The name under which Meta publishes the weights."""
        digest = {"vit_b": "01ec64", "vit_l": "0b3195", "vit_h": "4b8939"}[self]
        return f"sam_{self}_{digest}.pth"


@dataclass(frozen=True, kw_only=True)
class SamSettings:
    """How Segment Anything looks, as in the paper's section 5 and appendix B.

    points_per_side: the grid of points that are asked about where nothing is marked.
    prompts_per_batch: points or boxes that are answered together; fewer need less memory.
    least_quality, least_stability: what a mask found by itself must reach, 0..1.
    stability_offset: how far the threshold of the mask's logits is moved to measure stability.
    duplicate: masks found by themselves whose boxes overlap more (IoU) are the same thing.
    """

    points_per_side: int = 32
    prompts_per_batch: int = 64
    least_quality: float = 0.88
    least_stability: float = 0.95
    stability_offset: float = 1.0
    duplicate: float = 0.7


def load_sam(checkpoint: Path, *, family: SamFamily, device: torch.device | str) -> Sam:
    """The network with its published weights, ready to be asked on `device`.

    Errors: `SegmenterError` when there is no such file, or it does not hold this family's weights.
    """
    if not checkpoint.is_file():
        raise SegmenterError(
            f"checkpoint: there is no file {checkpoint}; get {family.file_name} from Segment "
            "Anything's page, or go on without weights by segmenter=classical"
        )
    sam = sam_model_registry[family.value]()
    try:
        sam.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True))
    except (RuntimeError, pickle.UnpicklingError, EOFError, TypeError, AttributeError) as error:
        raise SegmenterError(
            f"checkpoint: {checkpoint} does not hold the weights of Segment Anything's {family} "
            f"({type(error).__name__}); expected is {family.file_name}"
        ) from error
    return sam.to(device).eval()


class SamSegmenter:
    """A `Segmenter` that asks Segment Anything, on the device where the network is."""

    def __init__(self, sam: Sam, settings: SamSettings) -> None:
        self._settings = settings
        self._predictor = SamPredictor(sam)
        self._generator = SamAutomaticMaskGenerator(
            sam,
            points_per_side=settings.points_per_side,
            points_per_batch=settings.prompts_per_batch,
            pred_iou_thresh=settings.least_quality,
            stability_score_thresh=settings.least_stability,
            stability_score_offset=settings.stability_offset,
            box_nms_thresh=settings.duplicate,
        )

    def __call__(self, pixels: UInt8[np.ndarray, "h w 3"], marks: Sequence[Mark]) -> list[Segment]:
        """One segment for each mark in their order, or else all that are found, by the points of
        the grid; the picture is encoded once."""
        if marks:
            return list(self._marked(pixels, marks))
        return [
            Segment(
                mask=found["segmentation"],
                label="",
                quality=_share(found["predicted_iou"]),
                stability=_share(found["stability_score"]),
            )
            for found in self._generator.generate(pixels)
        ]

    def _marked(
        self, pixels: UInt8[np.ndarray, "h w 3"], marks: Sequence[Mark]
    ) -> Iterator[Segment]:
        self._predictor.set_image(pixels)
        boxes = self._predictor.transform.apply_boxes(
            np.array([mark.box for mark in marks], np.float32), pixels.shape[:2]
        )
        prompts = torch.as_tensor(boxes, dtype=torch.float32, device=self._predictor.device)
        batches = prompts.split(self._settings.prompts_per_batch)
        answers = (answer for batch in batches for answer in self._answers(batch))
        for mark, (area, quality, stability) in zip(marks, answers, strict=True):
            yield Segment(
                mask=area, label=mark.label, quality=_share(quality), stability=_share(stability)
            )
        self._predictor.reset_image()

    def _answers(
        self, boxes: Float[Tensor, "p 4"]
    ) -> list[tuple[Bool[np.ndarray, "h w"], float, float]]:
        """Of three masks for each box that whose quality the network thinks best; its quality, its
        stability."""
        logits, qualities, _ = self._predictor.predict_torch(
            None, None, boxes=boxes, multimask_output=True, return_logits=True
        )
        quality, best = qualities.max(dim=1)
        masks = logits[torch.arange(len(best), device=best.device), best]
        threshold = self._predictor.model.mask_threshold
        stability = calculate_stability_score(masks, threshold, self._settings.stability_offset)
        areas = (masks > threshold).cpu().numpy()
        return list(zip(areas, quality.tolist(), stability.tolist(), strict=True))


def _share(score: float) -> float:
    """A score as 0..1: the network's guess may leave it, and an empty mask has no stability."""
    return float(np.clip(np.nan_to_num(score), 0, 1))
