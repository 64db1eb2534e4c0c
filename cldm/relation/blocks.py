"""The parts that relation networks are built of: a block of attention, and places as waves."""

import math
from collections.abc import Callable

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Queries, keys and values, each `[b heads l c]`, to what the queries found: `[b heads l c]`."""


class Block(nn.Module):
    """Attention, then a perceptron, each on normalised tokens and added (Xiong et al. 2020)."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.before_attention = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.before_perceptron = nn.LayerNorm(width)
        self.perceptron = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, tokens: Float[Tensor, "b l d"], attend: Attention) -> Float[Tensor, "b l d"]:
        """Tokens that have looked at others, in the way that `attend` lets them."""
        query, key, value = rearrange(
            self.query_key_value(self.before_attention(tokens)),
            "b l (k heads c) -> k b heads l c",
            k=3,
            heads=self.num_heads,
        )
        mixed = attend(query, key, value)
        tokens = tokens + self.out(rearrange(mixed, "b heads l c -> b l (heads c)"))
        return tokens + self.perceptron(self.before_perceptron(tokens))


def sinusoid(index: Tensor, width: int) -> Float[Tensor, "k {width}"]:
    """Sinusoids of positions `[k]` (Vaswani et al. 2017, section 3.5)."""
    rates = torch.exp(-math.log(1000) * torch.arange(width // 2) / (width // 2))
    angles = index[:, None].float() * rates
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def position(grid: tuple[int, int], width: int) -> Float[Tensor, "p {width}"]:
    """Where each patch of `grid` (rows, columns) lies, row by row: half of the channels tell its
    row, half its column."""
    rows, columns = grid
    down = sinusoid(torch.arange(rows), width // 2)[:, None].expand(-1, columns, -1)
    across = sinusoid(torch.arange(columns), width // 2)[None].expand(rows, -1, -1)
    return torch.cat([down, across], dim=-1).flatten(0, 1)
