"""Laws of LoRAs that do not fit: one line says why, and no weight has changed."""

import json
import re
from pathlib import Path

import pytest
import torch
from loras import RANK, merged, state, written
from safetensors.torch import save_file
from subjects import foreign_unet, unet_like
from torch import nn

from ldm.checkpoint import WeightsError
from ldm.text import OpenClipTower
from ldm.unet import UNet

QUERY = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
KEY = "lora_unet_" + QUERY.replace(".", "_")
VALUE = KEY.replace("to_q", "to_v")
DOWN, UP = torch.ones(RANK, 64), torch.ones(64, RANK)
WHOLE = {f"{KEY}.lora_down.weight": DOWN, f"{KEY}.lora_up.weight": UP}
WRONG = {
    "SDXL's second tower": ({"lora_te2_text_model_x.lora_up.weight": UP}, "Stable Diffusion XL"),
    "SDXL's depth": ({f"{VALUE.replace('s_0_a', 's_1_a')}.alpha": UP}, "Stable Diffusion XL"),
    "SDXL's key": ({f"unet.{QUERY[:-4]}add_k_proj.lora_A.weight": UP}, "Stable Diffusion XL"),
    "LoHa": ({f"{VALUE}.hada_w1_a": UP}, f"{VALUE}.hada_w1_a looks like a LoHa (LyCORIS)"),
    "LoKr": ({f"{VALUE}.lokr_w1": UP}, "looks like a LoKr"),
    "DoRA": ({f"{KEY}.dora_scale": UP}, "looks like a DoRA"),
    "Tucker": ({f"{KEY}.lora_mid.weight": UP}, "one without lora_mid"),
    "no such block": ({"lora_unet_x.lora_up.weight": UP}, "lora_unet_x.lora_up.weight is not part"),
    "a whole model": ({"model.diffusion_model.out.0.bias": UP[0]}, "out.0.bias is not part of a"),
    "a broken name": ({f"{KEY}.lora\nup.weight": UP}, "to_q.lora up.weight is not part of"),
    "a norm": ({"lora_unet_conv_norm_out.lora_up.weight": UP}, "is not part of a LoRA"),
    "text for another": (
        {"lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_up.weight": UP},
        "is for Stable Diffusion 1's text tower, this model has another",
    ),
    "down alone": ({f"{VALUE}.lora_down.weight": DOWN}, "to_v.lora_down.weight has no up beside"),
    "up alone": ({f"{VALUE}.lora_up.weight": UP}, "to_v.lora_up.weight has no down beside it"),
    "alpha alone": ({f"{VALUE}.alpha": UP[0, 0]}, "to_v.alpha has no down beside it"),
    "twice": ({f"unet.{QUERY}.lora_A.weight": DOWN}, "to_q.lora_A.weight says again what lora_"),
    "a wide down": (
        {f"{KEY}.lora_down.weight": torch.zeros(RANK, 320)},
        "to_q.lora_down.weight has shape (3, 320), expected (3, 64)",
    ),
    "another rank": (
        {f"{KEY}.lora_up.weight": torch.zeros(64, 5)},
        "to_q.lora_up.weight has shape (64, 5), expected (64, 3)",
    ),
    "no rank": ({f"{KEY}.lora_down.weight": torch.zeros(0, 64)}, "(0, 64), expected (1, 64)"),
    "a number for a table": ({f"{KEY}.lora_down.weight": torch.tensor(1.0)}, "has shape ()"),
    "whole numbers": ({f"{KEY}.lora_up.weight": UP.int()}, "expected floating point"),
    "two alphas": ({f"{KEY}.alpha": UP[:2, 0]}, "to_q.alpha: expected one number"),
    "alpha NaN": ({f"{KEY}.alpha": torch.tensor(torch.nan)}, "to_q.alpha: expected one number"),
}


@pytest.fixture(scope="module")
def unet() -> UNet:
    """One that every wrong LoRA leaves as it is."""
    return unet_like(foreign_unet())


def other_text() -> nn.Module:
    """A network that no LoRA of Stable Diffusion 1 fits."""
    return OpenClipTower(width=16, depth=1, num_heads=2, length=9).network


def refused(path: Path, said: str, unet: UNet) -> None:
    """One line that names the file, and nothing has changed."""
    before = state(unet)
    with pytest.raises(WeightsError, match=re.escape(said)) as refusal:
        merged(path, 1.0, unet, other_text())
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert all(torch.equal(weight, before[key]) for key, weight in unet.state_dict().items())


@pytest.mark.parametrize("case", WRONG)
def test_a_lora_that_does_not_fit_is_refused(case: str, unet: UNet, tmp_path: Path) -> None:
    tensors, said = WRONG[case]
    refused(
        written({key: each.clone() for key, each in (WHOLE | tensors).items()}, tmp_path),
        said,
        unet,
    )


@pytest.mark.parametrize(
    "config",
    [
        {"lora_alpha": "much"},
        {"lora_alpha": 1e999},
        {"alpha_pattern": 3},
        {"alpha_pattern": {"(": 1}},
    ],
)
def test_a_config_that_makes_no_sense_is_refused(
    config: dict[str, object], unet: UNet, tmp_path: Path
) -> None:
    metadata = {"lora_adapter_metadata": json.dumps({"r": RANK, "lora_alpha": 1} | config)}
    save_file(WHOLE, tmp_path / "lora.safetensors", metadata=metadata)
    refused(tmp_path / "lora.safetensors", "lora_alpha: expected one number for unet.mid_", unet)


class _Malice:
    """What a pickle would do to us."""

    def __reduce__(self) -> tuple[object, ...]:
        return exec, ("raise SystemExit",)


def test_what_is_no_lora_is_refused(unet: UNet, tmp_path: Path) -> None:
    refused(tmp_path / "none.safetensors", "no such file", unet)
    refused(written({}, tmp_path), "there is nothing in it", unet)
    path = written(WHOLE, tmp_path)
    path.write_bytes(path.read_bytes()[:-9])
    refused(path, "not a whole safetensors file", unet)
    wrong = {
        "list.pt": ([UP], "found a list, expected tensors"),
        "number.pt": ({"lora": 3}, "lora is a int, expected a tensor"),
        "malice.pt": (_Malice(), "the pickle would run code"),
    }
    for name, (content, said) in wrong.items():
        torch.save(content, tmp_path / name)
        refused(tmp_path / name, said, unet)
    (tmp_path / "adapter_config.json").write_text("[1]")
    written(WHOLE, tmp_path).rename(tmp_path / "adapter_model.safetensors")
    refused(tmp_path / "adapter_model.safetensors", "its config is no table", unet)
