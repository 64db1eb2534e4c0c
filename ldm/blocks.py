"""The U-Net's blocks: residual block, attention over cells and text, attention across slots.

Block layout follows Stable Diffusion (Rombach et al., 2022), so that its weights fit.
"""

import math
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ldm.values import Frames

Module = TypeVar("Module", bound=nn.Module)


def zeroed(module: Module) -> Module:
    """The module with all weights zero: a new part that changes nothing at birth."""
    for weight in module.parameters():
        nn.init.zeros_(weight)
    return module


def sinusoid(timestep: Float[Tensor, "*b"], width: int) -> Float[Tensor, "*b {width}"]:
    """Sinusoidal embedding of timesteps, cosines first (Ho et al., 2020; SD's order)."""
    half = width // 2
    ramp = torch.arange(half, device=timestep.device, dtype=torch.float32) / half
    angle = timestep.float()[..., None] * torch.exp(-math.log(10000) * ramp)
    return torch.cat([angle.cos(), angle.sin()], dim=-1)


class GroupNorm(nn.GroupNorm):
    """Group normalisation (Wu & He, 2018) with the memory format of its input.

    On a CPU, PyTorch's own is several times slower in channels-last memory than in contiguous: it
    is cheaper to copy there and back.
    """

    def forward(self, input: Float[Tensor, "k c *space"]) -> Float[Tensor, "k c *space"]:
        """Normalise each group of channels (the name of `input` is PyTorch's)."""
        last = input.ndim == 4 and input.is_contiguous(memory_format=torch.channels_last)
        if input.device.type != "cpu" or not last:
            return super().forward(input)
        normal = super().forward(input.contiguous())
        return normal.contiguous(memory_format=torch.channels_last)


class TimeEmbedding(nn.Module):
    """Timesteps to the vectors that steer the residual blocks; angles are reckoned in float32,
    whatever the precision of the weights."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.first = nn.Linear(channels, 4 * channels)
        self.second = nn.Linear(4 * channels, 4 * channels)

    def forward(self, timestep: Float[Tensor, "*b"]) -> Float[Tensor, "*b d"]:
        """Embed timesteps 0..999 (fractions allowed)."""
        waves = sinusoid(timestep, self.channels).to(self.first.bias.dtype)
        return self.second(F.silu(self.first(waves)))


class Residual(nn.Module):
    """Two convolutions with the time embedding between them, beside a straight path."""

    def __init__(self, channels_in: int, channels_out: int, time_width: int) -> None:
        super().__init__()
        self.norm_in = GroupNorm(32, channels_in, eps=1e-5)
        self.conv_in = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.time = nn.Linear(time_width, channels_out)
        self.norm_out = GroupNorm(32, channels_out, eps=1e-5)
        self.conv_out = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        self.straight = (
            nn.Identity()
            if channels_in == channels_out
            else nn.Conv2d(channels_in, channels_out, 1)
        )

    def forward(
        self, cells: Float[Tensor, "k c y x"], time: Float[Tensor, "k t"]
    ) -> Float[Tensor, "k d y x"]:
        """The block's answer plus its input."""
        hidden = self.conv_in(F.silu(self.norm_in(cells)))
        hidden = hidden + self.time(F.silu(time))[:, :, None, None]
        return self.straight(cells) + self.conv_out(F.silu(self.norm_out(hidden)))


@dataclass(frozen=True, kw_only=True)
class Context:
    """What cells may read: text vectors, and where in the picture each of them holds.

    `area` has one map for each prompt (`l` is divided among the prompts evenly); a prompt whose map
    is zero at a cell is not read there. A single map of one cell says: everywhere.
    """

    text: Float[Tensor, "k l d"]
    area: Float[Tensor, "k p h w"]


@dataclass(frozen=True, kw_only=True)
class Memory:
    """A context as one attention reads it: keys and values do not depend on the noise level, so
    they are computed once for each picture."""

    key: Float[Tensor, "k heads l e"]
    value: Float[Tensor, "k heads l e"]
    area: Float[Tensor, "k p h w"]

    def allowed(self, height: int, width: int) -> Bool[Tensor, "k 1 cells l"] | None:
        """Which cells read which tokens; None when all read all."""
        if self.area.shape[1:] == (1, 1, 1):
            return None
        area = F.adaptive_max_pool2d(self.area, (height, width)) > 0
        tokens = self.key.shape[2] // area.shape[1]
        return rearrange(area, "k p y x -> k 1 (y x) p").repeat_interleave(tokens, dim=-1)


class Attention(nn.Module):
    """Multi-head attention of queries over a memory (Vaswani et al., 2017)."""

    def __init__(self, width: int, memory_width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(memory_width, width, bias=False)
        self.value = nn.Linear(memory_width, width, bias=False)
        self.out = nn.Linear(width, width)

    def read(
        self, memory: Float[Tensor, "k j e"]
    ) -> tuple[Float[Tensor, "k heads j f"], Float[Tensor, "k heads j f"]]:
        """Keys and values of a memory."""
        return self._split(self.key(memory)), self._split(self.value(memory))

    def forward(
        self,
        tokens: Float[Tensor, "k i d"],
        key: Float[Tensor, "k heads j f"],
        value: Float[Tensor, "k heads j f"],
        allowed: Bool[Tensor, "k 1 _ j"] | None,
    ) -> Float[Tensor, "k i d"]:
        """Mix of the memory's values for each token; `allowed` says which may be read."""
        query = self._split(self.query(tokens))
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        return self.out(rearrange(mixed, "k heads i f -> k i (heads f)"))

    def _split(self, vectors: Float[Tensor, "k i d"]) -> Float[Tensor, "k heads i f"]:
        return rearrange(vectors, "k i (heads f) -> k heads i f", heads=self.num_heads)


class Feedforward(nn.Module):
    """Gated linear unit with GELU (Shazeer, "GLU Variants Improve Transformer", 2020)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(width, 8 * width)
        self.second = nn.Linear(4 * width, width)

    def forward(self, tokens: Float[Tensor, "k i d"]) -> Float[Tensor, "k i d"]:
        """Widen, gate, narrow."""
        value, gate = self.first(tokens).chunk(2, dim=-1)
        return self.second(value * F.gelu(gate))


class TextAttention(nn.Module):
    """SD's spatial transformer: cells attend to each other, then to the text."""

    def __init__(self, channels: int, text_width: int, num_heads: int) -> None:
        super().__init__()
        self.norm = GroupNorm(32, channels, eps=1e-6)
        self.project_in = nn.Conv2d(channels, channels, 1)
        self.norm_self = nn.LayerNorm(channels)
        self.attend_self = Attention(channels, channels, num_heads)
        self.norm_text = nn.LayerNorm(channels)
        self.attend_text = Attention(channels, text_width, num_heads)
        self.norm_forward = nn.LayerNorm(channels)
        self.forward_block = Feedforward(channels)
        self.project_out = nn.Conv2d(channels, channels, 1)

    def read(self, context: Context) -> Memory:
        """The context's keys and values."""
        key, value = self.attend_text.read(context.text)
        return Memory(key=key, value=value, area=context.area)

    def forward(self, cells: Float[Tensor, "k c y x"], memory: Memory) -> Float[Tensor, "k c y x"]:
        """The cells after both attentions and the feedforward, plus the input."""
        height, width = cells.shape[-2:]
        tokens = rearrange(self.project_in(self.norm(cells)), "k c y x -> k (y x) c")
        within = self.norm_self(tokens)
        tokens = tokens + self.attend_self(within, *self.attend_self.read(within), None)
        allowed = memory.allowed(height, width)
        asked = self.norm_text(tokens)
        tokens = tokens + self.attend_text(asked, memory.key, memory.value, allowed)
        tokens = tokens + self.forward_block(self.norm_forward(tokens))
        hidden = rearrange(tokens, "k (y x) c -> k c y x", y=height)
        return cells + self.project_out(hidden)


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Where folded slots belong: their frames in the picture, and which of them are present."""

    frames: Frames
    present: Bool[Tensor, "b n"]


class AcrossAttention(nn.Module):
    """Attention over all cells of all slots of a picture; zero at birth.

    Each cell carries its position and scale in the picture, so that slots in different frames know
    how they lie to each other. Absent slots are never read.
    """

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        self.norm = GroupNorm(32, channels, eps=1e-6)
        self.place = nn.Linear(PLACE_WIDTH, channels)
        self.attend = Attention(channels, channels, num_heads)
        self.attend.out = zeroed(self.attend.out)

    def forward(self, cells: Float[Tensor, "k c y x"], stack: Stack) -> Float[Tensor, "k c y x"]:
        """The cells plus what they read in all slots; k is pictures x slots."""
        batch, slots = stack.present.shape
        height, width = cells.shape[-2:]
        fold = "(b n) c y x -> b (n y x) c"
        tokens = rearrange(self.norm(cells), fold, b=batch)
        tokens = tokens + self.place(places(stack.frames, height, width).to(tokens.dtype))
        allowed = stack.present.repeat_interleave(height * width, dim=1)[:, None, None]
        mixed = self.attend(tokens, *self.attend.read(tokens), allowed)
        unfold = "b (n y x) c -> (b n) c y x"
        return cells + rearrange(mixed, unfold, n=slots, y=height)


_OCTAVES = 6
PLACE_WIDTH = 4 * _OCTAVES + 2


def places(frames: Frames, height: int, width: int) -> Float[Tensor, "b tokens features"]:
    """Fourier features of each cell's position in the picture, and the logarithm of its size."""
    left, top, right, bottom = frames.box[:, :, None, None].unbind(-1)
    down = (torch.arange(height, device=frames.box.device) + 0.5)[:, None] / height
    across = (torch.arange(width, device=frames.box.device) + 0.5) / width
    shape = (*frames.box.shape[:2], height, width)
    x = (left + (right - left) * across).expand(shape)
    y = (top + (bottom - top) * down).expand(shape)
    octaves = math.pi * 2.0 ** torch.arange(_OCTAVES, device=frames.box.device)
    angle = torch.stack([x, y], dim=-1)[..., None] * octaves
    waves = torch.cat([angle.sin(), angle.cos()], dim=-1).flatten(-2)
    scale = torch.stack([(right - left).expand(shape), (bottom - top).expand(shape)], dim=-1).log()
    return torch.cat([waves, scale], dim=-1).flatten(1, 3)
