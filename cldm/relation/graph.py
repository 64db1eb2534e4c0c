"""A graph network that says how the layers light each other: layers are its nodes."""

import math
from dataclasses import dataclass

import torch
from einops import repeat
from jaxtyping import Bool, Float
from torch import Tensor, nn

from cldm.relation.blocks import Block, position
from cldm.relation.edges import NUM_FEATURES, edges
from cldm.relation.guides import LightHint
from cldm.relation.patches import Patches
from ldm.blocks import zeroed
from ldm.values import Effects, Layers

_EDGE_WIDTH = 32


class RelationGraph(nn.Module):
    """Layers and what is known of the light -> Effects, by attention along the edges of a graph.

    As `RelationTransformer`, but slots have no number: all that a layer knows of its place among
    the others are its edges to them, so that layers which do not touch can change places.
    """

    def __init__(
        self,
        *,
        width: int,
        depth: int,
        num_heads: int,
        working_size: int = 128,
        patch: int = 16,
    ) -> None:
        super().__init__()
        self.look = Patches(working_size=working_size, patch=patch)
        self.width = width
        self.embed = self.look.embedding(width)
        self.light = self.look.light_embedding(width)
        self.blocks = nn.ModuleList(Block(width, num_heads) for _ in range(depth))
        self.edges = nn.ModuleList(EdgeWeights(num_heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = self.look.head(width)

    def forward(self, layers: Layers, hint: LightHint) -> Effects:
        """Effects of the layers' own size; the back and absent slots stay as they are."""
        view = self.look(layers, hint)
        with torch.autocast(layers.rgba.device.type, enabled=False):
            features = edges(view.small.alpha).features
        place = position(view.grid, self.width).to(view.patches.device)
        tokens = self.embed(view.patches) + place + self.light(view.light)[:, None, None]
        shape = tokens.shape[1:3]
        for block, weights in zip(self.blocks, self.edges, strict=True):
            mixed = block(tokens.flatten(1, 2), weights(features, view.small.present))
            tokens = mixed.unflatten(1, shape)
        return view.effects(self.head(self.norm(tokens[:, 1:])), layers)


class EdgeWeights(nn.Module):
    """From the features of edges to the attention along them. New, all edges are alike."""

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self.perceptron = nn.Sequential(
            nn.Linear(NUM_FEATURES, _EDGE_WIDTH),
            nn.SiLU(),
            zeroed(nn.Linear(_EDGE_WIDTH, 2 * num_heads)),
        )

    def forward(
        self, features: Float[Tensor, "b n n f"], present: Bool[Tensor, "b n"]
    ) -> "EdgeAttention":
        """Within a layer attention is left alone; nothing comes from layers that are absent."""
        across = ~torch.eye(present.shape[1], dtype=torch.bool, device=present.device)
        found = self.perceptron(features) * across[:, :, None]
        bias, gate = found.movedim(-1, 1).chunk(2, dim=1)
        bias = bias.masked_fill(~present[:, None, None], -math.inf)
        return EdgeAttention(bias=bias, gate=2 * gate.sigmoid())


@dataclass(frozen=True, kw_only=True)
class EdgeAttention:
    """Attention between patches along the edges of their layers.

    In each head the edge's `bias` is added to the logits and its `gate`, 0..2, scales the message:
    `softmax(QK' / sqrt(c) + bias) * gate @ V`, the edge-augmented graph transformer of Hussain et
    al., "Global Self-Attention as a Replacement for Graph Convolution", 2022.
    """

    bias: Float[Tensor, "b heads n n"]
    gate: Float[Tensor, "b heads n n"]

    def __call__(
        self,
        query: Float[Tensor, "b heads l c"],
        key: Float[Tensor, "b heads l c"],
        value: Float[Tensor, "b heads l c"],
    ) -> Float[Tensor, "b heads l c"]:
        """Gated sums of values; `l` are the patches of all layers, one layer after the other."""
        bias, gate = self._per_patch(self.bias, query), self._per_patch(self.gate, query)
        logits = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
        return (logits + bias).softmax(dim=-1) * gate @ value

    def _per_patch(self, edge: Tensor, query: Tensor) -> Float[Tensor, "b heads l l"]:
        patches = query.shape[-2] // edge.shape[-1]
        return repeat(edge, "b heads i j -> b heads (i p) (j q)", p=patches, q=patches)
