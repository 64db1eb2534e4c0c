"""Laws of adapters: silent when new, they alone learn, and their file says what they learned."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file
from subjects import TEXT, WIDTHS, asked, awake, foreign_unet, unet_like
from torch import Tensor, nn

from ldm.adapters import add_lora, save_lora
from ldm.layout import StackedLayout
from ldm.lora import Lora, merge_lora
from ldm.unet import UNet

RANK = 4
GENERATOR = torch.Generator().manual_seed(1)
LATENTS = torch.randn(2, 4, 8, 8, generator=GENERATOR)
WORDS = torch.randn(2, 7, TEXT, generator=GENERATOR)
TIMESTEP = torch.tensor([17.0, 801.0])


def drawn(unet: UNet) -> Tensor:
    """The network's answer to fixed questions."""
    return unet(LATENTS[:, None], TIMESTEP[:, None], unet.read(asked(WORDS[:, None])), ())[:, 0]


def trained(unet: UNet) -> UNet:
    """The network with adapters that took a step; down learns nothing before up is something."""
    add_lora(unet, RANK)
    for name, weight in unet.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight, std=0.1)
    return unet


@pytest.fixture(scope="module")
def foreign() -> UNet2DConditionModel:
    """Whose weights ours has."""
    return foreign_unet()


@torch.no_grad()
def test_new_adapters_change_nothing(foreign: UNet2DConditionModel) -> None:
    unet = unet_like(foreign)
    before = drawn(unet)
    add_lora(unet, RANK)
    assert torch.equal(drawn(unet), before)


def test_only_adapters_on_attention_to_cells_and_text_learn() -> None:
    unet = UNet(replace(WIDTHS, across=(True, False)), StackedLayout(32, TEXT))
    add_lora(awake(unet), RANK)
    learning = {name for name, weight in unet.named_parameters() if weight.requires_grad}
    # Six blocks, twice attention, four projections, down and up.
    assert len(learning) == (2 + 1 + 3) * 2 * 4 * 2
    assert all(".attend_" in name and ".lora_" in name for name in learning)


def test_every_adapter_learns(foreign: UNet2DConditionModel) -> None:
    unet = trained(unet_like(foreign))
    drawn(unet).square().sum().backward()
    for name, weight in unet.named_parameters():
        assert (weight.grad is not None and weight.grad.any()) == weight.requires_grad, name


@torch.no_grad()
def test_what_was_learned_is_what_is_merged(foreign: UNet2DConditionModel, tmp_path: Path) -> None:
    unet, fresh = trained(unet_like(foreign)), unet_like(foreign)
    plain, path = drawn(fresh), tmp_path / "new" / "lora.safetensors"
    save_lora(unet, WIDTHS, path)
    merge_lora(Lora(path=path), unet=fresh, text=nn.Identity(), widths=WIDTHS)
    expected = drawn(unet)
    assert (drawn(fresh) - expected).abs().max() < 1e-4 * expected.abs().max()
    assert (expected - plain).abs().max() > 1e-2 * expected.abs().max()
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@torch.no_grad()
def test_diffusers_reads_what_was_learned(tmp_path: Path) -> None:
    other = foreign_unet()
    unet = trained(unet_like(other))
    save_lora(unet, WIDTHS, tmp_path / "lora.safetensors")
    key = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight"
    assert load_file(tmp_path / "lora.safetensors")[key].shape == (RANK, 32)
    other.load_lora_adapter(
        str(tmp_path), prefix="unet", weight_name="lora.safetensors", local_files_only=True
    )
    expected = other(LATENTS, TIMESTEP, WORDS).sample
    assert (drawn(unet) - expected).abs().max() < 1e-4 * expected.abs().max()
