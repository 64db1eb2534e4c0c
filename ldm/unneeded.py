"""What foreign files hold beside the weights that a layered model takes, and why it is left."""

import re
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Unneeded:
    """Keys that are left: a pattern for their beginning, and the reason."""

    pattern: str
    reason: str

    def holds(self, key: str) -> bool:
        """Whether a key is such."""
        return re.match(self.pattern, key) is not None


def unneeded(text_depth: int) -> tuple[Unneeded, ...]:
    """What is left of a base's file; `text_depth` is the number of the tower's blocks."""
    last = rf"cond_stage_model\.model\.transformer\.resblocks\.{text_depth}\."
    return (*_ALWAYS, Unneeded(pattern=last, reason="the tower is heard one block before its last"))


BASE_PARTS = Unneeded(
    pattern=r"(model\.diffusion_model|first_stage_model|cond_stage_model|unet|vae|text_encoder)\.",
    reason="the base's own is used",
)
"""A base inside a ControlNet's file."""

CONTROL_PART = Unneeded(pattern=r"(control_model|controlnet)\.", reason="CONTROL's own is used")
"""A ControlNet inside a base's file, when another is given."""

_SCHEDULE = (
    r"(betas|(alphas|sqrt_alphas|sqrt_one_minus_alphas|log_one_minus_alphas|sqrt_recip_alphas"
    r"|sqrt_recipm1_alphas)_cumprod|alphas_cumprod_prev|posterior_(variance"
    r"|log_variance_clipped|mean_coef1|mean_coef2))$"
)
_ALWAYS = (
    Unneeded(pattern=_SCHEDULE, reason="the noise schedule is computed"),
    Unneeded(pattern=r"logvar$", reason="the loss is not weighted by it"),
    Unneeded(pattern=r"model_ema\.", reason="a moving average beside the weights in use"),
    Unneeded(pattern=r".*\.position_ids$", reason="positions are counted"),
    Unneeded(
        pattern=r"cond_stage_model\.model\.(text_projection|logit_scale|attn_mask)$",
        reason="the text is not compared with pictures",
    ),
    Unneeded(
        pattern=r"text_encoder\.text_projection\.weight$",
        reason="the text is not compared with pictures",
    ),
    Unneeded(pattern=r"first_stage_model\.loss\.", reason="the autoencoder's training is over"),
)
