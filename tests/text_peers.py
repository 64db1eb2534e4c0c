"""transformers' text model with the weights of one of our towers, in plain attention."""

import re

from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from ldm.text import ClipTower, OpenClipTower, TextTower

# Patterns over open_clip's names, and transformers'.
_NAMES = (
    (r"^token_embedding\.", "embeddings.token_embedding."),
    (r"^positional_embedding$", "embeddings.position_embedding.weight"),
    (r"^ln_final\.", "final_layer_norm."),
    (r"^transformer\.resblocks\.", "encoder.layers."),
    (r"\.ln_(\d)\.", r".layer_norm\1."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
    (r"\.attn\.", ".self_attn."),
)


def peer_of(tower: TextTower, *, heard: int) -> CLIPTextModel:
    """A text model that ends after the tower's first `heard` blocks."""
    weights = tower.network.state_dict()
    if isinstance(tower, OpenClipTower):
        weights = _translated(weights)
    length, width = weights["embeddings.position_embedding.weight"].shape
    peer = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=49408,
            hidden_size=width,
            intermediate_size=weights["encoder.layers.0.mlp.fc1.bias"].shape[0],
            num_hidden_layers=heard,
            num_attention_heads=_num_heads(tower),
            max_position_embeddings=length,
            hidden_act="quick_gelu" if isinstance(tower, ClipTower) else "gelu",
            eos_token_id=49407,
            attn_implementation="eager",
        )
    )
    peer.load_state_dict({key: weights[key] for key in peer.state_dict()})
    return peer.eval()


def _num_heads(tower: TextTower) -> int:
    """A number that no weight tells."""
    if isinstance(tower, ClipTower):
        return tower.network.config.num_attention_heads
    return tower.network.heads


def _translated(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """open_clip's names to transformers', queries, keys and values apart."""
    found: dict[str, Tensor] = {}
    for key, tensor in weights.items():
        for pattern, name in _NAMES:
            key = re.sub(pattern, name, key)
        if ".in_proj_" in key:
            for part, rows in zip("qkv", tensor.chunk(3), strict=True):
                found[key.replace("in_proj_", f"{part}_proj.")] = rows
        else:
            found[key] = tensor
    return found
