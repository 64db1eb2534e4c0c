"""Tables from diffusers' key names to ours."""

import re

from torch import Tensor


def unet_from_diffusers(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our names for the weights of diffusers' UNet2DConditionModel (text attention on every level
    that has any); parts that only ours has are not among them."""
    return {_renamed(key): tensor for key, tensor in weights.items()}


# Pairs of a pattern over diffusers' names and ours, applied in order.
_TABLE = (
    (r"^time_embedding\.linear_1\.", "layout.time.first."),
    (r"^time_embedding\.linear_2\.", "layout.time.second."),
    (r"^conv_in\.", "encoder.conv_in."),
    (r"^conv_norm_out\.", "decoder.norm_out."),
    (r"^conv_out\.", "decoder.conv_out."),
    (r"^mid_block\.resnets\.0\.", "middle.residual_in."),
    (r"^mid_block\.resnets\.1\.", "middle.residual_out."),
    (r"^mid_block\.attentions\.0\.", "middle.text."),
    (r"^down_blocks\.(\d+)\.resnets\.(\d+)\.", r"encoder.levels.\1.\2.residual."),
    (r"^down_blocks\.(\d+)\.attentions\.(\d+)\.", r"encoder.levels.\1.\2.text.0."),
    (r"^down_blocks\.(\d+)\.downsamplers\.0\.conv\.", r"encoder.downsamples.\1."),
    (r"^up_blocks\.(\d+)\.resnets\.(\d+)\.", r"decoder.levels.\1.\2.residual."),
    (r"^up_blocks\.(\d+)\.attentions\.(\d+)\.", r"decoder.levels.\1.\2.text.0."),
    (r"^up_blocks\.(\d+)\.upsamplers\.0\.conv\.", r"decoder.upsamples.\1."),
    (r"\.residual(\w*)\.norm1\.", r".residual\1.norm_in."),
    (r"\.residual(\w*)\.conv1\.", r".residual\1.conv_in."),
    (r"\.residual(\w*)\.time_emb_proj\.", r".residual\1.time."),
    (r"\.residual(\w*)\.norm2\.", r".residual\1.norm_out."),
    (r"\.residual(\w*)\.conv2\.", r".residual\1.conv_out."),
    (r"\.residual(\w*)\.conv_shortcut\.", r".residual\1.straight."),
    (r"\.proj_in\.", ".project_in."),
    (r"\.proj_out\.", ".project_out."),
    (r"\.transformer_blocks\.0\.norm1\.", ".norm_self."),
    (r"\.transformer_blocks\.0\.norm2\.", ".norm_text."),
    (r"\.transformer_blocks\.0\.norm3\.", ".norm_forward."),
    (r"\.transformer_blocks\.0\.attn1\.", ".attend_self."),
    (r"\.transformer_blocks\.0\.attn2\.", ".attend_text."),
    (r"\.transformer_blocks\.0\.ff\.net\.0\.proj\.", ".forward_block.first."),
    (r"\.transformer_blocks\.0\.ff\.net\.2\.", ".forward_block.second."),
    (r"\.to_q\.", ".query."),
    (r"\.to_k\.", ".key."),
    (r"\.to_v\.", ".value."),
    (r"\.to_out\.0\.", ".out."),
)


def _renamed(key: str) -> str:
    for pattern, ours in _TABLE:
        key = re.sub(pattern, ours, key)
    return key
