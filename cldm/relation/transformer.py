"""A Transformer over the patches of all layers that says how the layers light each other."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from cldm.relation.blocks import Block, position, sinusoid
from cldm.relation.guides import LightHint
from cldm.relation.patches import Patches
from ldm.values import Effects, Layers


class RelationTransformer(nn.Module):
    """Layers and what is known of the light -> Effects (DESIGN, section 4).

    `working_size`: long side in pixels at which it looks at the layers; `patch`: side of a patch
    there, a multiple of 4. New, it changes nothing: its head starts at zero.
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
        self.norm = nn.LayerNorm(width)
        self.head = self.look.head(width)

    def forward(self, layers: Layers, hint: LightHint) -> Effects:
        """Effects of the layers' own size; the back, and slots absent or invisible, stay."""
        view = self.look(layers, hint)
        num_slots, num_patches = view.patches.shape[1:3]
        place = position(view.grid, self.width).to(view.patches.device)
        slot = sinusoid(torch.arange(num_slots), self.width).to(view.patches.device)
        lit = self.light(view.light)[:, None, None]
        tokens = (self.embed(view.patches) + place + slot[:, None] + lit).flatten(1, 2)
        keys = view.small.present.repeat_interleave(num_patches, dim=1)[:, None, None]
        attend = partial(F.scaled_dot_product_attention, attn_mask=keys)
        for block in self.blocks:
            tokens = block(tokens, attend)
        above_back = tokens.unflatten(1, (num_slots, num_patches))[:, 1:]
        return view.effects(self.head(self.norm(above_back)), layers)
