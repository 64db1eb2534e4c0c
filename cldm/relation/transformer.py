"""A Transformer over the patches of all layers that says how the layers light each other."""

from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from cldm.relation.blocks import sinusoid
from cldm.relation.learned import LearnedRelation
from cldm.relation.patches import View


class RelationTransformer(LearnedRelation):
    """Every patch of every layer looks at all others; slots are told apart by their number."""

    def mixed(self, tokens: Float[Tensor, "b n p d"], view: View) -> Float[Tensor, "b n p d"]:
        """Attention over all patches of all layers that are there."""
        num_slots, num_patches = tokens.shape[1:3]
        slot = sinusoid(torch.arange(num_slots), self.width).to(tokens.device)
        tokens = (tokens + slot[:, None]).flatten(1, 2)
        keys = view.small.present.repeat_interleave(num_patches, dim=1)[:, None, None]
        attend = partial(F.scaled_dot_product_attention, attn_mask=keys)
        for block in self.blocks:
            tokens = block(tokens, attend)
        return tokens.unflatten(1, (num_slots, num_patches))
