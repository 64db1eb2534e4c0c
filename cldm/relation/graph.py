"""A graph network that says how the layers light each other: layers are its nodes."""

import math
from dataclasses import dataclass

import torch
from einops import repeat
from jaxtyping import Bool, Float
from torch import Tensor, nn

from cldm.relation.edges import NUM_FEATURES, edges
from cldm.relation.learned import LearnedRelation
from cldm.relation.patches import View
from ldm.blocks import zeroed

_EDGE_WIDTH = 32


class RelationGraph(LearnedRelation):
    """Layers look at each other along the edges of a graph.

    Slots have no number: all that a layer knows of its place among the others are its edges to
    them, so that layers which do not touch can change places.
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
        super().__init__(
            width=width, depth=depth, num_heads=num_heads, working_size=working_size, patch=patch
        )
        self.edges = nn.ModuleList(EdgeWeights(num_heads) for _ in range(depth))

    def mixed(self, tokens: Float[Tensor, "b n p d"], view: View) -> Float[Tensor, "b n p d"]:
        """Attention within each layer, and between layers along their edges."""
        with torch.autocast(tokens.device.type, enabled=False):
            features = edges(view.small.alpha).features
        shape = tokens.shape[1:3]
        for block, weights in zip(self.blocks, self.edges, strict=True):
            mixed = block(tokens.flatten(1, 2), weights(features, view.small.present))
            tokens = mixed.unflatten(1, shape)
        return tokens


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
