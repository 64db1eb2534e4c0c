"""Two layouts of the slot axis: how slots are folded for the convolutions, and back."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ldm.blocks import Context, Stack, TimeEmbedding, zeroed
from ldm.values import Frames, TensorValue


@dataclass(frozen=True, kw_only=True)
class Prompts(TensorValue):
    """What each slot is asked for: text vectors, its mask on its canvas, its frame.

    `sense` is the whole prompt in one vector (the packed layout, whose other prompts hold only
    where their masks do, heeds the back's alone). `present` says which slots exist at all.
    """

    text: Float[Tensor, "b n l d"]
    sense: Float[Tensor, "b n d"]
    area: Float[Tensor, "b n h w"]
    frames: Frames
    present: Bool[Tensor, "b n"]


class StackedLayout(nn.Module):
    """Slots in the batch: any number, each with its own prompt, frame and noise level.

    The prompt's sense steers every residual block beside the noise level (as class labels do in
    Dhariwal & Nichol, "Diffusion Models Beat GANs on Image Synthesis", 2021): a network that learns
    from nothing finds looks that way long before its attention reads words. Zero at birth.
    """

    def __init__(self, channels: int, text_width: int) -> None:
        super().__init__()
        self.time = TimeEmbedding(channels)
        self.sense = zeroed(nn.Linear(text_width, 4 * channels))

    def fold(
        self, latents: Float[Tensor, "b n c y x"], present: Bool[Tensor, "b n"]
    ) -> Float[Tensor, "k c y x"]:
        """Slots into the batch; absent ones too, which no other reads."""
        return rearrange(latents, "b n c y x -> (b n) c y x")

    def unfold(self, folded: Float[Tensor, "k c y x"], slots: int) -> Float[Tensor, "b n c y x"]:
        """Slots out of the batch."""
        return rearrange(folded, "(b n) c y x -> b n c y x", n=slots)

    def embed(self, timestep: Float[Tensor, "b n"], prompts: Prompts) -> Float[Tensor, "k t"]:
        """Each slot's own noise level and the sense of its prompt."""
        return rearrange(self.time(timestep) + self.sense(prompts.sense), "b n t -> (b n) t")

    def sense_of(self, prompts: Prompts) -> Float[Tensor, "k d"]:
        """What each folded canvas is asked to be: its slot's own prompt."""
        return rearrange(prompts.sense, "b n d -> (b n) d")

    def context(self, prompts: Prompts) -> Context:
        """Each slot reads its own prompt, everywhere."""
        text = rearrange(prompts.text, "b n l d -> (b n) l d")
        return Context(text=text, area=text.new_ones(text.shape[0], 1, 1, 1))

    def stack(self, prompts: Prompts) -> Stack:
        """Where the folded slots belong."""
        return Stack(frames=prompts.frames, present=prompts.present)


class PackedLayout(nn.Module):
    """Slots in the channels, up to `max_slots`: the cost of one picture whatever their number.

    All slots share the whole picture as frame. Cells read each prompt where its mask holds; prompts
    carry a slot embedding. Noise levels are embedded together: their mean over present slots, plus
    a part for each slot that is zero at birth.
    """

    def __init__(self, channels: int, text_width: int, max_slots: int) -> None:
        super().__init__()
        self.max_slots = max_slots
        self.time = TimeEmbedding(channels)
        self.time_slots = zeroed(nn.Linear(max_slots * 4 * channels, 4 * channels))
        self.slots = nn.Parameter(torch.zeros(max_slots, text_width))

    def fold(
        self, latents: Float[Tensor, "b n c y x"], present: Bool[Tensor, "b n"]
    ) -> Float[Tensor, "b d y x"]:
        """Slots into the channels; absent ones and those beyond the given ones are zero."""
        spare = self.max_slots - latents.shape[1]
        shown = torch.where(present[:, :, None, None, None], latents, 0)
        padded = F.pad(shown, (0, 0, 0, 0, 0, 0, 0, spare))
        return rearrange(padded, "b n c y x -> b (n c) y x")

    def unfold(self, folded: Float[Tensor, "b d y x"], slots: int) -> Float[Tensor, "b n c y x"]:
        """Slots out of the channels."""
        full = rearrange(folded, "b (n c) y x -> b n c y x", n=self.max_slots)
        return full[:, :slots]

    def embed(self, timestep: Float[Tensor, "b n"], prompts: Prompts) -> Float[Tensor, "b t"]:
        """All noise levels in one vector."""
        each = self.time(timestep) * prompts.present[:, :, None]
        mean = each.sum(dim=1) / prompts.present.sum(dim=1, keepdim=True)
        spare = self.max_slots - timestep.shape[1]
        return mean + self.time_slots(F.pad(each, (0, 0, 0, spare)).flatten(1))

    def sense_of(self, prompts: Prompts) -> Float[Tensor, "k d"]:
        """What each folded canvas is asked to be: the back's prompt, which holds everywhere."""
        return prompts.sense[:, 0]

    def context(self, prompts: Prompts) -> Context:
        """All prompts one after the other, each held to its mask; the back's holds everywhere."""
        slots = prompts.text.shape[1]
        marked = prompts.text + self.slots[:slots, None]
        area = prompts.area * prompts.present[:, :, None, None]
        area = torch.cat([torch.ones_like(area[:, :1]), area[:, 1:]], dim=1)
        return Context(text=rearrange(marked, "b n l d -> b (n l) d"), area=area)

    def stack(self, prompts: Prompts) -> Stack:
        """One folded canvas for each picture: the picture."""
        present = torch.ones_like(prompts.present[:, :1])
        box = repeat(prompts.frames.box[:, 0], "b side -> b 1 side")
        return Stack(frames=Frames(box=box), present=present)


Layout = StackedLayout | PackedLayout
