"""Laws of merged LoRAs: they do what they do in diffusers, and one that does not fit is refused."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders import StableDiffusionLoraLoaderMixin
from open_clip.transformer import TextTransformer
from safetensors.torch import save_file
from subjects import TEXT, WIDTHS, asked, foreign_unet, unet_like
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from ldm.checkpoint import WeightsError
from ldm.lora import Lora, asked_lora, merge_lora
from ldm.unet import UNet
from ldm.weights import unet_table

RANK, ALPHA = 3, 2.0
Factors = dict[str, tuple[Tensor, Tensor]]
Spelling = Callable[[Factors, str], dict[str, Tensor]]


def text_network() -> CLIPTextModel:
    """Stable Diffusion 1's text network in small."""
    sizes = {"hidden_size": 16, "intermediate_size": 32, "vocab_size": 40}
    depth = {"num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 9}
    return CLIPTextModel(CLIPTextConfig(**sizes, **depth, hidden_act="quick_gelu")).eval()


def factors(module: nn.Module, pattern: str) -> Factors:
    """Down and up for each block of a name, in the rank and shape that kohya's scripts have."""
    found: Factors = {}
    for name, block in module.named_modules():
        if re.search(pattern, name) and isinstance(block, nn.Linear | nn.Conv2d):
            outputs, inputs, *kernel = block.weight.shape
            up = torch.randn(outputs, RANK, *(1 for _ in kernel)) * 0.3
            found[name] = torch.randn(RANK, inputs, *kernel) * 0.3, up
    return found


def kohya(found: Factors, part: str) -> dict[str, Tensor]:
    """Dots are underscores, alpha lies beside."""
    prefix = {"unet": "lora_unet_", "text_encoder": "lora_te_text_model_"}[part]
    named = {prefix + name.replace(".", "_"): each for name, each in found.items()}
    return {
        f"{name}.{key}": tensor
        for name, (down, up) in named.items()
        for key, tensor in (
            ("lora_down.weight", down),
            ("lora_up.weight", up),
            ("alpha", torch.tensor(ALPHA)),
        )
    }


def kohya_over_ldm(found: Factors, part: str) -> dict[str, Tensor]:
    """The same over the original's names of blocks."""
    assert part == "unet"
    names = {row.diffusers: row.ldm for row in unet_table(WIDTHS)}
    return kohya({names[name]: each for name, each in found.items()}, part)


def peft(found: Factors, part: str) -> dict[str, Tensor]:
    """Today's diffusers."""
    prefix = {"unet": "unet.", "text_encoder": "text_encoder.text_model."}[part]
    return {
        f"{prefix}{name}.lora_{key}.weight": tensor
        for name, (down, up) in found.items()
        for key, tensor in (("A", down), ("B", up))
    }


def processors(found: Factors, part: str) -> dict[str, Tensor]:
    """Yesterday's diffusers, attention only."""
    assert part == "unet"
    named = {re.sub(r"\.(to_\w+)(\.0)?$", r".processor.\1_lora", name): name for name in found}
    return {
        f"unet.{old}.{key}.weight": tensor
        for old, name in named.items()
        for key, tensor in zip(("down", "up"), found[name], strict=True)
    }


def linear_layers(found: Factors, part: str) -> dict[str, Tensor]:
    """Diffusers' words between yesterday and today; only text was ever spelled so."""
    assert part == "text_encoder"
    return {
        f"text_encoder.text_model.{name}.lora_linear_layer.{key}.weight": tensor
        for name, pair in found.items()
        for key, tensor in zip(("down", "up"), pair, strict=True)
    }


def written(tensors: dict[str, Tensor], folder: Path) -> Path:
    """A file of them."""
    save_file(tensors, folder / "lora.safetensors")
    return folder / "lora.safetensors"


def merged(path: Path, strength: float, unet: UNet, text: nn.Module) -> None:
    """The file merged into both."""
    merge_lora(Lora(path=path, strength=strength), unet=unet, text=text, widths=WIDTHS)


@torch.no_grad()
def drawn(unet: UNet | UNet2DConditionModel) -> Tensor:
    """The network's answer to fixed questions."""
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(2, 4, 12, 8, generator=generator)
    text = torch.randn(2, 7, TEXT, generator=generator)
    timestep = torch.tensor([17.0, 801.0])
    if isinstance(unet, UNet):
        return unet(latents[:, None], timestep[:, None], asked(text[:, None]), ())[:, 0]
    return unet(latents, timestep, text).sample


@torch.no_grad()
def heard(text: nn.Module) -> Tensor:
    """A text network's vectors of fixed words."""
    return text(torch.arange(16).reshape(2, 8)).last_hidden_state


def agrees(found: Tensor, expected: Tensor) -> bool:
    """Within a ten-thousandth of the largest value."""
    return bool((found - expected).abs().max() < 1e-4 * expected.abs().max())


@torch.no_grad()
def state(module: nn.Module) -> dict[str, Tensor]:
    """A copy of the weights."""
    return {key: weight.clone() for key, weight in module.state_dict().items()}


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
        foreign.fuse_lora(lora_scale=strength)
        assert agrees(drawn(unet), drawn(foreign))
        assert agrees(drawn(unet), plain) == (strength == 0)
        foreign.unfuse_lora()


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
    merged(written(plain, tmp_path), 1.0, beside, nn.Identity())
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


QUERY = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
KEY = "lora_unet_" + QUERY.replace(".", "_")
VALUE = KEY.replace("to_q", "to_v")
DOWN, UP = torch.zeros(RANK, 64), torch.zeros(64, RANK)
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


def refused(path: Path, said: str, unet: UNet) -> None:
    """One line that names the file, and nothing has changed."""
    before = state(unet)
    with pytest.raises(WeightsError, match=re.escape(said)) as refusal:
        merged(path, 1.0, unet, TextTransformer(width=16, heads=2, layers=1))
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


class _Malice:
    """What a pickle would do to us."""

    def __reduce__(self) -> tuple[object, ...]:
        return exec, ("raise SystemExit",)


def test_what_is_no_lora_is_refused(unet: UNet, tmp_path: Path) -> None:
    refused(tmp_path / "none.safetensors", "no such file", unet)
    refused(written({}, tmp_path), "there is nothing in it", unet)
    path = written(WHOLE, tmp_path)
    path.write_bytes(path.read_bytes()[:-9])
    refused(path, "not a whole file of weights", unet)
    for name, content in (("list.pt", [UP]), ("malice.pt", _Malice())):
        torch.save(content, tmp_path / name)
        refused(tmp_path / name, "not a whole file of weights", unet)
    (tmp_path / "words.bin").write_text("not weights" * 9)
    refused(tmp_path / "words.bin", "not a whole file of weights", unet)
    (tmp_path / "adapter_config.json").write_text("[]")
    refused(written(WHOLE, tmp_path), "not a whole file of weights", unet)


def test_a_lora_is_asked_for_with_or_without_a_strength(tmp_path: Path) -> None:
    assert asked_lora("a/b.pt") == Lora(path=Path("a/b.pt"))
    assert asked_lora("a/b.pt:-0.5") == Lora(path=Path("a/b.pt"), strength=-0.5)
    (tmp_path / "odd:name").touch()
    assert asked_lora(f"{tmp_path}/odd:name") == Lora(path=tmp_path / "odd:name")
    assert asked_lora(f"{tmp_path}/odd:name:2") == Lora(path=tmp_path / "odd:name", strength=2)


@pytest.mark.parametrize("strength", ["strong", "nan", "inf", ""])
def test_a_strength_that_is_no_number_is_refused(strength: str) -> None:
    with pytest.raises(WeightsError, match=f"b.pt: found strength '{strength}', expected a number"):
        asked_lora(f"a/b.pt:{strength}")
