"""ControlNet on masks (Zhang et al., "Adding Conditional Control to Text-to-Image Diffusion
Models", 2023), by composition: a mask encoder, a second encoder, zeroed taps."""

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ldm.blocks import zeroed
from ldm.layout import Layout, Prompts
from ldm.unet import Encoder, Middle, Taps, Widths


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
    """What masks add to each tap of a U-Net; nothing at birth."""

    def __init__(
        self, widths: Widths, layout: Layout, *, hint_channels: int, hint_widths: Sequence[int]
    ) -> None:
        super().__init__()
        self.layout = layout
        self.hint = HintEncoder(hint_channels, hint_widths, widths.channels[0])
        self.encoder = Encoder(widths)
        self.middle = Middle(widths)
        self.taps = nn.ModuleList(
            zeroed(nn.Conv2d(channels, channels, 1)) for channels in widths.taps
        )
        self.tap_middle = zeroed(nn.Conv2d(widths.channels[-1], widths.channels[-1], 1))

    def encode_hint(
        self, hint: Float[Tensor, "b n c h w"], present: Bool[Tensor, "b n"]
    ) -> Float[Tensor, "k d y x"]:
        """Hints, folded and encoded; the same at every noise level, so compute them once."""
        return self.hint(self.layout.fold(hint, present))

    def forward(
        self,
        latents: Float[Tensor, "b n z y x"],
        encoded_hint: Float[Tensor, "k d y x"],
        timestep: Float[Tensor, "b n"],
        prompts: Prompts,
    ) -> Taps:
        """Additions to each of the U-Net's taps and, last, to its middle."""
        time = self.layout.embed(timestep, prompts)
        context, stack = self.layout.context(prompts), self.layout.stack(prompts)
        folded = self.layout.fold(latents, prompts.present)
        taps = self.encoder(folded, encoded_hint, time, context, stack)
        cells = self.middle(taps[-1], time, context, stack)
        added = [zero(tap) for zero, tap in zip(self.taps, taps, strict=True)]
        return (*added, self.tap_middle(cells))
