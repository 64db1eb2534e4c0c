"""The U-Net in Stable Diffusion's block layout, its head emitting one latent for each slot."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ldm.blocks import (
    AcrossAttention,
    Context,
    GroupNorm,
    Memory,
    Residual,
    Stack,
    TextAttention,
)
from ldm.layout import Layout, Prompts

Taps = tuple[Tensor, ...]
# What each step reads: one memory where its level attends to text, else none.
Memories = tuple[tuple[Memory, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Widths:
    """The sizes of a U-Net, one entry for each level from fine to coarse.

    `attention`: levels whose cells attend to each other and to text; `across`: levels whose cells
    attend to all slots; `num_heads`: heads of all attentions of a level.
    """

    latents: int
    channels: Sequence[int]
    attention: Sequence[bool]
    across: Sequence[bool]
    num_residuals: int
    num_heads: Sequence[int]
    text: int

    @property
    def time(self) -> int:
        """Width of the time embedding."""
        return 4 * self.channels[0]

    @property
    def taps(self) -> list[int]:
        """Channels of what the encoder hands to the decoder, in the encoder's order."""
        taps = [self.channels[0]]
        for level, channels in enumerate(self.channels):
            taps += [channels] * self.num_residuals
            taps += [channels] if level + 1 < len(self.channels) else []
        return taps


class Step(nn.Module):
    """A residual block, then the attentions of its level.

    With `recomputed`, training keeps only the step's inputs and computes the rest again on the way
    back (Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016).
    """

    def __init__(self, channels_in: int, channels_out: int, level: int, widths: Widths) -> None:
        super().__init__()
        heads = widths.num_heads[level]
        self.recomputed = False
        self.residual = Residual(channels_in, channels_out, widths.time)
        self.text = nn.ModuleList(
            [TextAttention(channels_out, widths.text, heads)] if widths.attention[level] else []
        )
        self.across = nn.ModuleList(
            [AcrossAttention(channels_out, heads)] if widths.across[level] else []
        )

    def read(self, context: Context) -> tuple[Memory, ...]:
        """What the step's text attention reads."""
        return tuple(cast(TextAttention, block).read(context) for block in self.text)

    def forward(
        self,
        cells: Float[Tensor, "k c y x"],
        time: Float[Tensor, "k t"],
        memories: tuple[Memory, ...],
        stack: Stack,
    ) -> Float[Tensor, "k d y x"]:
        """The step's cells."""
        if self.recomputed and torch.is_grad_enabled():
            return checkpoint(self._passed, cells, time, memories, stack, use_reentrant=False)
        return self._passed(cells, time, memories, stack)

    def _passed(
        self, cells: Tensor, time: Tensor, memories: tuple[Memory, ...], stack: Stack
    ) -> Tensor:
        cells = self.residual(cells, time)
        for block, memory in zip(self.text, memories, strict=True):
            cells = block(cells, memory)
        for block in self.across:
            cells = block(cells, stack)
        return cells


def recompute(module: nn.Module) -> None:
    """From now on every step in a module is computed again on the way back of training."""
    for part in module.modules():
        if isinstance(part, Step):
            part.recomputed = True


def read_steps(levels: nn.ModuleList, context: Context) -> Memories:
    """What the steps of all levels read, in their order."""
    steps = (step for level in levels for step in cast(nn.ModuleList, level))
    return tuple(cast(Step, step).read(context) for step in steps)


class Encoder(nn.Module):
    """From latents to coarse cells, keeping a tap after each step for the decoder."""

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(widths.latents, widths.channels[0], 3, padding=1)
        self.levels = nn.ModuleList()
        self.downsamples = nn.ModuleList()
        previous = widths.channels[0]
        for level, channels in enumerate(widths.channels):
            steps = nn.ModuleList()
            for _ in range(widths.num_residuals):
                steps.append(Step(previous, channels, level, widths))
                previous = channels
            self.levels.append(steps)
            if level + 1 < len(widths.channels):
                self.downsamples.append(nn.Conv2d(channels, channels, 3, stride=2, padding=1))

    def forward(
        self,
        latents: Float[Tensor, "k c y x"],
        hint: Float[Tensor, "k d y x"] | float,
        time: Float[Tensor, "k t"],
        memories: Memories,
        stack: Stack,
    ) -> Taps:
        """All taps, fine to coarse; `hint` is added to the first (0 for none)."""
        cells = self.conv_in(latents) + hint
        taps, remaining = [cells], list(memories)
        for level, steps in enumerate(self.levels):
            for step in cast(nn.ModuleList, steps):
                cells = step(cells, time, remaining.pop(0), stack)
                taps.append(cells)
            if level < len(self.downsamples):
                cells = self.downsamples[level](cells)
                taps.append(cells)
        return tuple(taps)


class Middle(nn.Module):
    """The coarsest cells: a step and one more residual block."""

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        channels, heads = widths.channels[-1], widths.num_heads[-1]
        self.residual_in = Residual(channels, channels, widths.time)
        self.text = TextAttention(channels, widths.text, heads)
        self.across = nn.ModuleList(
            [AcrossAttention(channels, heads)] if any(widths.across) else []
        )
        self.residual_out = Residual(channels, channels, widths.time)

    def forward(
        self,
        cells: Float[Tensor, "k c y x"],
        time: Float[Tensor, "k t"],
        memory: Memory,
        stack: Stack,
    ) -> Float[Tensor, "k c y x"]:
        """The middle's cells."""
        cells = self.text(self.residual_in(cells, time), memory)
        for block in self.across:
            cells = block(cells, stack)
        return self.residual_out(cells, time)


class Decoder(nn.Module):
    """From coarse cells and the encoder's taps back to latents."""

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        taps = widths.taps
        previous = widths.channels[-1]
        self.levels = nn.ModuleList()
        self.upsamples = nn.ModuleList()
        for level in reversed(range(len(widths.channels))):
            steps = nn.ModuleList()
            for _ in range(widths.num_residuals + 1):
                channels = widths.channels[level]
                steps.append(Step(previous + taps.pop(), channels, level, widths))
                previous = channels
            self.levels.append(steps)
            if level:
                self.upsamples.append(nn.Conv2d(previous, previous, 3, padding=1))
        self.norm_out = GroupNorm(32, previous, eps=1e-5)
        self.conv_out = nn.Conv2d(previous, widths.latents, 3, padding=1)

    def forward(
        self,
        cells: Float[Tensor, "k c y x"],
        taps: Taps,
        time: Float[Tensor, "k t"],
        memories: Memories,
        stack: Stack,
    ) -> Float[Tensor, "k z h w"]:
        """The network's prediction."""
        remaining, unread = list(taps), list(memories)
        for level, steps in enumerate(self.levels):
            for step in cast(nn.ModuleList, steps):
                cells = torch.cat([cells, remaining.pop()], dim=1)
                cells = step(cells, time, unread.pop(0), stack)
            if level < len(self.upsamples):
                size = remaining[-1].shape[-2:]
                cells = self.upsamples[level](F.interpolate(cells, size=size, mode="nearest"))
        return self.conv_out(F.silu(self.norm_out(cells)))


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What the U-Net reads at every noise level: compute it once for each picture."""

    prompts: Prompts
    encoder: Memories
    middle: Memory
    decoder: Memories


class UNet(nn.Module):
    """Noisy latents of all slots and their timesteps to a prediction for each slot."""

    def __init__(self, widths: Widths, layout: Layout) -> None:
        super().__init__()
        self.layout = layout
        self.encoder = Encoder(widths)
        self.middle = Middle(widths)
        self.decoder = Decoder(widths)

    def read(self, prompts: Prompts) -> Reading:
        """Keys and values of the prompts for every text attention."""
        context = self.layout.context(prompts)
        return Reading(
            prompts=prompts,
            encoder=read_steps(self.encoder.levels, context),
            middle=self.middle.text.read(context),
            decoder=read_steps(self.decoder.levels, context),
        )

    def forward(
        self,
        latents: Float[Tensor, "b n z y x"],
        timestep: Float[Tensor, "b n"],
        reading: Reading,
        control: Taps,
    ) -> Float[Tensor, "b n z y x"]:
        """Predict. `control` holds what a ControlNet adds to each tap and, last, to the middle;
        empty for none."""
        prompts = reading.prompts
        time, stack = self.layout.embed(timestep, prompts), self.layout.stack(prompts)
        folded = self.layout.fold(latents, prompts.present)
        taps = self.encoder(folded, 0.0, time, reading.encoder, stack)
        cells = self.middle(taps[-1], time, reading.middle, stack)
        if control:
            taps = tuple(tap + added for tap, added in zip(taps, control[:-1], strict=True))
            cells = cells + control[-1]
        folded = self.decoder(cells, taps, time, reading.decoder, stack)
        return self.layout.unfold(folded, latents.shape[1])
