"""`Condition`: what is asked of each layer - words, mask and frame."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cldm.config import ModelConfig
from ldm.compositing import crop_masks, mask_frames, visibility, whole_frames
from ldm.values import Frames, Masks, TensorValue

HINT_CHANNELS = 5


@dataclass(frozen=True, kw_only=True)
class Condition(TensorValue):
    """What is asked of each slot.

    `tokens`: its prompt (what is asked of the whole picture is joined to each prompt before it
    becomes tokens). `masks`: where it may be, over the picture. `frames`: its canvas there.
    """

    tokens: Int[Tensor, "b n l"]
    masks: Masks
    frames: Frames

    def dropped(self, keep: Bool[Tensor, "b n"], empty: Int[Tensor, " l"]) -> "Condition":
        """The same, with the empty prompt in the slots that are not kept; masks stay."""
        return replace(self, tokens=torch.where(keep[:, :, None], self.tokens, empty))

    def empty(self, empty: Int[Tensor, " l"]) -> "Condition":
        """The same masks without any words, or with those of a negative prompt: what guidance
        leads away from."""
        return self.dropped(torch.zeros_like(self.masks.present), empty)


def frames_of(masks: Masks, config: ModelConfig) -> Frames:
    """The frames in which a model draws masks: around each, or all the whole picture."""
    if config.has_frames:
        return mask_frames(masks, config.margin)
    return whole_frames(*masks.present.shape).to(masks.area.device)


def hint(condition: Condition, canvas: int) -> Float[Tensor, "b n 5 {canvas} {canvas}"]:
    """What the ControlNet sees of each slot's frame, in 0..1.

    Three channels: the visible masks in the segmentation palette; one: the slot's own mask; one:
    what lies above it. Absent slots see nothing.
    """
    area = condition.masks.area * condition.masks.present[:, :, None, None]
    seen = visibility(area[:, :, None])[:, :, 0]
    colours = palette(area.shape[1]).to(area.device)
    coloured = torch.einsum("b n h w, n c -> b c h w", seen, colours)
    above = 1 - torch.cumprod((1 - area).flip(1), dim=1).flip(1)
    above = torch.cat([above[:, 1:], torch.zeros_like(above[:, :1])], dim=1)
    slots = area.shape[1]
    channels = [coloured[:, None, channel].expand(-1, slots, -1, -1) for channel in range(3)]
    size = (canvas, canvas)
    maps = [crop_masks(plane, condition.frames, size) for plane in [*channels, area, above]]
    return torch.stack(maps, dim=2) * condition.masks.present[:, :, None, None, None]


def palette(slots: int) -> Float[Tensor, "{slots} 3"]:
    """Colours of slots in 0..1: the first entries of ADE20K's palette, as segmentation
    ControlNets know it (wall, building, sky, floor, tree, ceiling, road, bed)."""
    colours = torch.tensor(
        [
            [120, 120, 120],
            [180, 120, 120],
            [6, 230, 230],
            [80, 50, 50],
            [4, 200, 3],
            [120, 120, 80],
            [140, 140, 140],
            [204, 5, 255],
        ]
    )
    repeats = -(-slots // len(colours))
    return colours.repeat(repeats, 1)[:slots] / 255
