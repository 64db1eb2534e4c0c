"""ControlNet on masks (Zhang et al., "Adding Conditional Control to Text-to-Image Diffusion
Models", 2023), by composition: a mask encoder, a second encoder, zeroed taps."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from ldm.blocks import PLACE_WIDTH, Memory, places, zeroed
from ldm.compositing import whole_frames
from ldm.layout import Layout, Prompts
from ldm.unet import Encoder, Memories, Middle, Taps, Widths, read_steps


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """What masks, places and prompts say at every noise level: compute it once for each picture.

    `cells` join the encoder's first ones; `mean` is what the prompts usually look like (0 without a
    part that tells); `encoder` and `middle` hold the prompts' keys and values.
    """

    prompts: Prompts
    cells: Float[Tensor, "k d y x"]
    mean: Float[Tensor, "b n z y x"]
    encoder: Memories
    middle: Memory


class Sketch(nn.Module):
    """Each cell's position on its canvas and the prompt's sense to cells; zero at birth.

    The mask of a back is the same everywhere: without a sense of place, a small network draws the
    right colours anywhere (Liu et al., "An Intriguing Failing of Convolutional Neural Networks and
    the CoordConv Solution", 2018). What is where depends on the prompt, so the sense scales what
    the position says (a compositional pattern producing network, Stanley, 2007, with the modulation
    of Perez et al., "FiLM", 2018).
    """

    def __init__(self, text_width: int, width: int, cells: int) -> None:
        super().__init__()
        self.place = nn.Linear(PLACE_WIDTH, width)
        self.shift = nn.Linear(text_width, width)
        self.hidden = nn.Linear(width, width)
        self.gain = nn.Linear(text_width, width)
        self.straight = zeroed(nn.Linear(PLACE_WIDTH, cells))
        self.out = zeroed(nn.Linear(width, cells))

    def forward(
        self, sense: Float[Tensor, "k d"], height: int, width: int
    ) -> Float[Tensor, "k c {height} {width}"]:
        """What the prompts make of each place of a canvas of `height` x `width` cells."""
        canvas = places(whole_frames(1, 1).to(sense.device), height, width).to(sense.dtype)
        hidden = F.silu(self.place(canvas) + self.shift(sense)[:, None])
        hidden = F.silu(self.hidden(hidden) * (1 + self.gain(sense)[:, None]))
        cells = self.out(hidden) + self.straight(canvas)
        return rearrange(cells, "k (y x) c -> k c y x", y=height)


class Blank(nn.Module):
    """In place of a sketch where none is asked for: nothing, without any weights."""

    def __init__(self, cells: int) -> None:
        super().__init__()
        self.cells = cells

    def forward(
        self, sense: Float[Tensor, "k d"], height: int, width: int
    ) -> Float[Tensor, "k c {height} {width}"]:
        """Zeros."""
        return sense.new_zeros(len(sense), self.cells, height, width)


class HintEncoder(nn.Module):
    """Masks on canvases to the first cells of the encoder; zero at birth.

    One level for each entry of `channels` after the first, each halving the side.
    """

    def __init__(self, hint_channels: int, channels: Sequence[int], cells: int) -> None:
        super().__init__()
        convolutions: list[nn.Module] = [nn.Conv2d(hint_channels, channels[0], 3, padding=1)]
        for narrow, wide in pairwise(channels):
            convolutions.append(nn.Conv2d(narrow, narrow, 3, padding=1))
            convolutions.append(nn.Conv2d(narrow, wide, 3, padding=1, stride=2))
        self.convolutions = nn.ModuleList(convolutions)
        self.conv_out = zeroed(nn.Conv2d(channels[-1], cells, 3, padding=1))

    def forward(self, hint: Float[Tensor, "k c h w"]) -> Float[Tensor, "k d y x"]:
        """Encoded hints."""
        hidden = hint
        for convolution in self.convolutions:
            hidden = F.silu(convolution(hidden))
        return self.conv_out(hidden)


class ControlNet(nn.Module):
    """What masks add to each tap of a U-Net; nothing at birth.

    With `guessing` it also tells what prompts usually look like, for a linear guess to start from.
    """

    def __init__(
        self,
        widths: Widths,
        layout: Layout,
        *,
        hint_channels: int,
        hint_widths: Sequence[int],
        guessing: bool,
    ) -> None:
        super().__init__()
        self.layout = layout
        self.hint = HintEncoder(hint_channels, hint_widths, widths.channels[0])
        self.sketch = Sketch(widths.text, 4 * widths.channels[0], widths.channels[0])
        self.mean = (
            Sketch(widths.text, 4 * widths.channels[0], widths.latents)
            if guessing
            else Blank(widths.latents)
        )
        self.encoder = Encoder(widths)
        self.middle = Middle(widths)
        self.taps = nn.ModuleList(
            zeroed(nn.Conv2d(channels, channels, 1)) for channels in widths.taps
        )
        self.tap_middle = zeroed(nn.Conv2d(widths.channels[-1], widths.channels[-1], 1))

    def encode(self, hint: Float[Tensor, "b n c h w"], prompts: Prompts) -> Encoded:
        """Masks, places and prompts, encoded."""
        masks = self.hint(self.layout.fold(hint, prompts.present))
        sense, (height, width) = self.layout.sense_of(prompts), masks.shape[-2:]
        context = self.layout.context(prompts)
        return Encoded(
            prompts=prompts,
            cells=masks + self.sketch(sense, height, width),
            mean=self.layout.unfold(self.mean(sense, height, width), hint.shape[1]),
            encoder=read_steps(self.encoder.levels, context),
            middle=self.middle.text.read(context),
        )

    def forward(
        self,
        latents: Float[Tensor, "b n z y x"],
        timestep: Float[Tensor, "b n"],
        encoded: Encoded,
    ) -> Taps:
        """Additions to each of the U-Net's taps and, last, to its middle."""
        prompts = encoded.prompts
        time, stack = self.layout.embed(timestep, prompts), self.layout.stack(prompts)
        folded = self.layout.fold(latents, prompts.present)
        taps = self.encoder(folded, encoded.cells, time, encoded.encoder, stack)
        cells = self.middle(taps[-1], time, encoded.middle, stack)
        added = [zero(tap) for zero, tap in zip(self.taps, taps, strict=True)]
        return (*added, self.tap_middle(cells))
