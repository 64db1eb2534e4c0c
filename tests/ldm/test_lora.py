"""Laws of merged LoRAs: they do what they do in diffusers, whichever tool wrote them."""

import json
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders import StableDiffusionLoraLoaderMixin
from loras import (
    RANK,
    Spelling,
    factors,
    kohya,
    kohya_over_ldm,
    linear_layers,
    merged,
    peft,
    processors,
    state,
    text_network,
    written,
)
from safetensors.torch import save_file
from subjects import FULL, TEXT, asked, foreign_unet, unet_like
from torch import Tensor, nn

from ldm.checkpoint import WeightsError
from ldm.layout import StackedLayout
from ldm.lora import Lora, asked_lora, merge_lora
from ldm.text import ClipTower
from ldm.unet import UNet


@torch.no_grad()
def drawn(unet: UNet | UNet2DConditionModel) -> Tensor:
    """The network's answer to fixed questions."""
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(2, 4, 12, 8, generator=generator)
    text = torch.randn(2, 7, TEXT, generator=generator)
    timestep = torch.tensor([17.0, 801.0])
    if isinstance(unet, UNet):
        return unet(latents[:, None], timestep[:, None], unet.read(asked(text[:, None])), ())[:, 0]
    return unet(latents, timestep, text).sample


@torch.no_grad()
def heard(text: nn.Module) -> Tensor:
    """A text network's vectors of fixed words."""
    return text(torch.arange(16).reshape(2, 8)).last_hidden_state


def agrees(found: Tensor, expected: Tensor) -> bool:
    """Within a ten-thousandth of the largest value."""
    return bool((found - expected).abs().max() < 1e-4 * expected.abs().max())


ATTENTION = r"attn[12]\.to_"
ALL = r"attn[12]\.to_[qo]|ff\.net|proj_(in|out)|resnets\.0\.(conv|time)|samplers\.0\.conv|^conv_"
SPELLINGS = [(kohya, ALL), (kohya_over_ldm, ATTENTION), (peft, ALL), (processors, ATTENTION)]


@pytest.mark.parametrize(("spelling", "pattern"), SPELLINGS)
def test_a_unets_lora_does_what_it_does_in_diffusers(
    spelling: Spelling, pattern: str, tmp_path: Path
) -> None:
    foreign = foreign_unet()
    tensors, plain = spelling(factors(foreign, pattern), "unet"), drawn(foreign)
    strengths = (0.0, 0.6, 1.0, -0.5)
    path, ours = written(tensors, tmp_path), {each: unet_like(foreign) for each in strengths}
    weights, alphas = StableDiffusionLoraLoaderMixin.lora_state_dict(
        dict(tensors), unet_config=foreign.config
    )
    foreign.load_lora_adapter(weights, prefix="unet", network_alphas=alphas)
    for strength, unet in ours.items():
        merged(path, strength, unet, nn.Identity())
        foreign.set_adapters("default_0", strength)
        assert agrees(drawn(unet), drawn(foreign))
        assert agrees(drawn(unet), plain) == (strength == 0)


@pytest.mark.parametrize("spelling", [kohya, peft, linear_layers])
def test_a_texts_lora_does_what_it_does_in_diffusers(spelling: Spelling, tmp_path: Path) -> None:
    text, foreign = text_network(), text_network()
    foreign.load_state_dict(text.state_dict())
    tensors, plain = spelling(factors(text, r"self_attn|mlp"), "text_encoder"), heard(text)
    merged(written(tensors, tmp_path), 0.6, unet_like(foreign_unet()), text)
    weights, alphas = StableDiffusionLoraLoaderMixin.lora_state_dict(dict(tensors))
    StableDiffusionLoraLoaderMixin.load_lora_into_text_encoder(
        weights, alphas, foreign, lora_scale=0.6
    )
    assert agrees(heard(text), heard(foreign))
    assert not agrees(heard(text), plain)


PREFIXES = [
    (kohya, "lora_te_", "lora_te1_"),
    (linear_layers, "text_encoder.text_model.", "text_encoder."),
    (linear_layers, "text_encoder.", "base_model.model."),
    (peft, "unet.", ""),
    (peft, "unet.", "base_model.model."),
    (processors, "unet.", ""),
]


@pytest.mark.parametrize(("spelling", "old", "new"), PREFIXES)
def test_a_lora_is_the_same_under_other_prefixes(
    spelling: Spelling, old: str, new: str, tmp_path: Path
) -> None:
    foreign, text = foreign_unet(), text_network()
    part = "unet" if old == "unet." else "text_encoder"
    tensors = spelling(factors(foreign if part == "unet" else text, r"attn1|self_attn"), part)
    results: list[dict[str, Tensor]] = []
    for prefix in (old, new):
        both = nn.ModuleList([unet_like(foreign), deepcopy(text)])
        named = {prefix + key.removeprefix(old): tensor for key, tensor in tensors.items()}
        merged(written(named, tmp_path), 1.0, both[0], both[1])
        results.append(state(both))
    first, second = results
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("linear", [False, True], ids=["convolutions", "linear projections"])
def test_a_lora_of_full_size_fits(linear: bool, tmp_path: Path) -> None:
    """As kohya's scripts count them: 192 blocks in the U-Net, 72 in the text tower."""
    with torch.device("meta"):
        foreign = UNet2DConditionModel(
            cross_attention_dim=FULL.text, use_linear_projection=linear, attention_head_dim=8
        )
        unet = UNet(FULL, StackedLayout(320, FULL.text))
        text = ClipTower(width=768, depth=12, num_heads=12, length=77).network
    blocks = factors(foreign, r"attn[12]\.to_|ff\.net|proj_(in|out)"), factors(text, "attn|mlp")
    assert [len(each) for each in blocks] == [192, 72]
    tensors = kohya(blocks[0], "unet") | kohya(blocks[1], "text_encoder")
    lora = Lora(path=written(tensors, tmp_path))
    merge_lora(lora, unet=unet, text=text, widths=FULL)


CONFIG = {"r": RANK, "lora_alpha": 6, "target_modules": ["to_q"], "use_rslora": True}


@pytest.mark.parametrize("own", [{}, {"alpha_pattern": {"attn1.to_q": 1.5}}])
def test_alpha_is_what_a_files_config_declares(own: dict[str, object], tmp_path: Path) -> None:
    """Diffusers keeps peft's config inside the file, peft itself beside it."""
    foreign = foreign_unet()
    tensors = peft(factors(foreign, r"to_q"), "unet")
    inside, beside = unet_like(foreign), unet_like(foreign)
    declared = {f"unet.{key}": value for key, value in (CONFIG | own).items()}
    path, metadata = tmp_path / "lora.safetensors", {"lora_adapter_metadata": json.dumps(declared)}
    save_file(tensors, path, metadata=metadata | {"format": "pt"})
    merged(path, 1.0, inside, nn.Identity())
    weights, _, config = StableDiffusionLoraLoaderMixin.lora_state_dict(
        str(tmp_path), weight_name=path.name, local_files_only=True, return_lora_metadata=True
    )
    foreign.load_lora_adapter(weights, prefix="unet", metadata=config)
    assert agrees(drawn(inside), drawn(foreign))
    plain = {key.replace("unet.", "base_model.model."): value for key, value in tensors.items()}
    (tmp_path / "adapter_config.json").write_text(json.dumps(CONFIG | own))
    written(plain, tmp_path).rename(tmp_path / "adapter_model.safetensors")
    merged(tmp_path / "adapter_model.safetensors", 1.0, beside, nn.Identity())
    assert agrees(drawn(beside), drawn(foreign))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_merging_and_its_opposite_return_the_weights(dtype: torch.dtype, tmp_path: Path) -> None:
    foreign = foreign_unet()
    unet = unet_like(foreign).to(dtype)
    before, path = state(unet), written(kohya(factors(foreign, ALL), "unet"), tmp_path)
    merged(path, 0.7, unet, nn.Identity())
    changed = state(unet)
    merged(path, -0.7, unet, nn.Identity())
    assert any(not torch.equal(changed[key], weight) for key, weight in before.items())
    for key, weight in unet.state_dict().items():
        assert weight.dtype is dtype
        largest = max(float(before[key].abs().max()), float(changed[key].abs().max()))
        rounding = 2 * torch.finfo(dtype).eps * largest
        assert (weight.float() - before[key].float()).abs().max() <= rounding, key


def test_older_files_are_pickles_of_tensors_alone(tmp_path: Path) -> None:
    foreign = foreign_unet()
    tensors = peft(factors(foreign, r"attn1"), "unet")
    torch.save(tensors, tmp_path / "lora.bin")
    first, second = unet_like(foreign), unet_like(foreign)
    merged(written(tensors, tmp_path), 1.0, first, nn.Identity())
    merged(tmp_path / "lora.bin", 1.0, second, nn.Identity())
    assert torch.equal(drawn(first), drawn(second))


def test_a_lora_is_asked_for_with_or_without_a_strength(tmp_path: Path) -> None:
    assert asked_lora("a/b.pt") == Lora(path=Path("a/b.pt"))
    assert asked_lora("a/b.pt:-0.5") == Lora(path=Path("a/b.pt"), strength=-0.5)
    (tmp_path / "odd:name").touch()
    assert asked_lora(f"{tmp_path}/odd:name") == Lora(path=tmp_path / "odd:name")
    assert asked_lora(f"{tmp_path}/odd:name:2") == Lora(path=tmp_path / "odd:name", strength=2.0)


@pytest.mark.parametrize("strength", ["strong", "nan", "inf", ""])
def test_a_strength_that_is_no_number_is_refused(strength: str) -> None:
    with pytest.raises(WeightsError, match=f"b.pt: found strength '{strength}', expected a number"):
        asked_lora(f"a/b.pt:{strength}")
