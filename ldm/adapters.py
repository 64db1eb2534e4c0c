"""LoRA trained here (Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021):
adapters on the attention to cells and text, written alone in the names that other tools read.

Files of others are merged by `ldm.lora`, which needs no peft.
"""

from pathlib import Path

from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model

from ldm.checkpoint import write_tensors
from ldm.unet import UNet, Widths
from ldm.weights import unet_table

# Attention across slots is new: it is trained whole.
_PROJECTIONS = r".*\.attend_(self|text)\.(query|key|value|out)"


def add_lora(unet: UNet, rank: int) -> None:
    """Put adapters of a rank (1 or more) on a U-Net's attention; they change nothing when new.

    All else in the U-Net is frozen. Load weights first: names change (`query.base_layer.weight`).
    """
    # Alpha is the rank, a scale of one: what readers take for granted that find no alpha.
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=_PROJECTIONS)
    inject_adapter_in_model(config, unet)


def save_lora(unet: UNet, widths: Widths, path: Path) -> None:
    """Write only the adapters of a U-Net of these widths, as diffusers and peft name them.

    Strength 1 is what was trained. The file is replaced whole or not at all.
    """
    names = {row.ours: row.diffusers for row in unet_table(widths)}
    found = {}
    for key, tensor in get_peft_model_state_dict(unet).items():
        ours, _, factor = key.partition(".lora_")
        found[f"unet.{names[ours]}.lora_{factor}"] = tensor.detach().cpu()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(found, path)
