"""Laws of reading foreign files: tensors come out as they are, nothing runs, bad files are refused
in one line."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from foreign import Evil
from pytorch_lightning.callbacks import ModelCheckpoint
from safetensors.torch import save_file
from torch import Tensor

from ldm.checkpoint import WeightsError
from ldm.foreign import Foreign, read_foreign
from ldm.weights import Naming

WEIGHTS = {
    "model.diffusion_model.out.2.bias": torch.arange(4.0),
    "first_stage_model.quant_conv.bias": torch.arange(8).half(),
    "model_ema.decay": torch.tensor(7),
}


def refused(path: Path) -> str:
    """The one line with which a file is refused."""
    with pytest.raises(WeightsError) as refusal:
        read_foreign(path)
    said = str(refusal.value)
    assert said.startswith(f"weights {path}: ")
    assert "\n" not in said
    assert len(said) < 300 + len(str(path))
    return said.removeprefix(f"weights {path}: ")


def holds(path: Path, expected: dict[str, Tensor], naming: Naming = Naming.LDM) -> None:
    """The file gives these tensors, in their own types."""
    found = read_foreign(path)
    assert found.naming is naming
    assert found.weights.keys() == expected.keys()
    for key, tensor in expected.items():
        assert found.weights[key].dtype is tensor.dtype
        assert torch.equal(found.weights[key], tensor)


def lightning(path: Path) -> None:
    """What Lightning wrote beside Stable Diffusion 1: its callbacks' state, NumPy's numbers."""
    callbacks = {ModelCheckpoint: {"best_model_score": np.float64(0.5), "monitor": None}}
    state = {"epoch": 3, "global_step": 840000, "callbacks": callbacks, "state_dict": WEIGHTS}
    torch.save(state, path)


def legacy(path: Path) -> None:
    """PyTorch's format before 1.6."""
    torch.save({"state_dict": WEIGHTS}, path, _use_new_zipfile_serialization=False)


WRITERS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "safetensors": ("base.safetensors", lambda path: save_file(WEIGHTS, path)),
    "plain": ("base.pth", lambda path: torch.save(WEIGHTS, path)),
    "nested": ("base.ckpt", lambda path: torch.save({"state_dict": WEIGHTS}, path)),
    "legacy": ("base.ckpt", legacy),
    "lightning": ("base.ckpt", lightning),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_each_kind_of_file_gives_its_tensors(tmp_path: Path, kind: str) -> None:
    name, write = WRITERS[kind]
    write(tmp_path / name)
    holds(tmp_path / name, WEIGHTS)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.fp16.bin"])
def test_a_diffusers_folder_gives_its_parts(tmp_path: Path, name: str) -> None:
    for part in ("unet", "vae", "text_encoder", "safety_checker"):
        (tmp_path / part).mkdir()
    bias = torch.arange(4.0)
    save_file({"conv_out.bias": bias}, tmp_path / "unet" / "diffusion_pytorch_model.safetensors")
    old = {"decoder.mid_block.attentions.0.proj_attn.bias": bias}
    torch.save(old, tmp_path / "vae" / "diffusion_pytorch_model.bin")
    write = save_file if name.endswith("safetensors") else torch.save
    write({"text_model.final_layer_norm.bias": bias}, tmp_path / "text_encoder" / name)
    expected = {
        "unet.conv_out.bias": bias,
        "vae.decoder.mid_block.attentions.0.to_out.0.bias": bias,
        "text_encoder.final_layer_norm.bias": bias,
    }
    holds(tmp_path, expected, Naming.DIFFUSERS)


@pytest.mark.parametrize("alone", [True, False], ids=["a file", "a folder"])
def test_a_controlnet_of_diffusers_is_known_by_its_keys(tmp_path: Path, alone: bool) -> None:
    path = tmp_path / "diffusion_pytorch_model.safetensors"
    key = "controlnet_cond_embedding.conv_in.weight"
    save_file({key: torch.ones(2)}, path)
    expected = {f"controlnet.{key}": torch.ones(2)}
    holds(path if alone else tmp_path, expected, Naming.DIFFUSERS)


@pytest.mark.parametrize("kind", ["zip", "legacy", "bare"])
def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(
    tmp_path: Path, kind: str
) -> None:
    path, effect = tmp_path / "evil.ckpt", tmp_path / "effect"
    state = {"state_dict": WEIGHTS, "callbacks": Evil(effect)}
    match kind:
        case "bare":
            path.write_bytes(pickle.dumps(state["callbacks"], protocol=2))
        case _:
            torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")
    assert refused(path) == "refused, the pickle would run code: it asks for exec"
    assert not effect.exists()


def spoiled(path: Path, how: str) -> str:
    """Write a bad file under a name that fits, and what the refusal says."""
    whole = path.with_name("whole")
    save_file(WEIGHTS, whole) if path.suffix == ".safetensors" else torch.save(WEIGHTS, whole)
    data = whole.read_bytes()
    kind = "safetensors" if path.suffix == ".safetensors" else "PyTorch"
    match how:
        case "absent":
            return "no such file"
        case "empty" | "cut" | "text" | "noise":
            noise = np.random.default_rng(0).bytes(500)
            bad = {"empty": b"", "cut": data[:-90], "text": b"hello\n" * 40, "noise": noise}
            path.write_bytes(bad[how])
            return f"not a whole {kind} file"
        case "list":
            torch.save([1, 2], path.with_suffix(".ckpt"))
            return "found a list, expected tensors"
        case _:
            torch.save({"state_dict": {"model.x": 3.0}}, path.with_suffix(".ckpt"))
            return "model.x is a float, expected a tensor"


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
@pytest.mark.parametrize("how", ["absent", "empty", "cut", "text", "noise"])
def test_a_damaged_file_is_refused(tmp_path: Path, suffix: str, how: str) -> None:
    path = tmp_path / f"bad{suffix}"
    assert spoiled(path, how) in refused(path)


@pytest.mark.parametrize("how", ["list", "number"])
def test_what_is_no_tensor_is_refused(tmp_path: Path, how: str) -> None:
    path = tmp_path / "bad.ckpt"
    said = spoiled(path, how)
    assert said in refused(path)


def test_other_suffixes_and_empty_folders_are_refused(tmp_path: Path) -> None:
    assert "found a folder without weights" in refused(tmp_path)
    (tmp_path / "weights.txt").write_text("hello")
    assert "found .txt, expected .safetensors" in refused(tmp_path / "weights.txt")


TO_KEY = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
CONTROL_KEY = "control_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
FIRST = "model.diffusion_model.input_blocks.0.0.weight"
ORIGINS: dict[str, dict[str, tuple[int, ...]]] = {
    "Stable Diffusion 1": {FIRST: (320, 4, 3, 3), TO_KEY: (320, 768)},
    "Stable Diffusion 2": {FIRST: (320, 4, 3, 3), TO_KEY: (320, 1024)},
    "Stable Diffusion XL": {
        FIRST: (320, 4, 3, 3),
        "model.diffusion_model.label_emb.0.0.bias": (9,),
    },
    "an inpainting model": {FIRST: (320, 9, 3, 3), TO_KEY: (320, 768)},
    "an instruct-pix2pix model": {"unet.conv_in.weight": (320, 8, 3, 3)},
    "a ControlNet": {"control_model.time_embed.0.bias": (1280,)},
    "a ControlNet for Stable Diffusion 2": {CONTROL_KEY: (320, 1024)},
    "a LoRA": {"lora_unet_mid_block_attentions_0_proj_in.lora_down.weight": (4, 1280)},
    "an autoencoder": {"encoder.conv_in.bias": (128,), "quant_conv.bias": (8,)},
    "a textual inversion": {"<cat-toy>": (768,)},
    "a layered model of ours": {"unet.encoder.levels.0.0.residual.time.bias": (320,)},
}


@pytest.mark.parametrize("origin", ORIGINS)
def test_a_refusal_says_what_the_weights_look_like(origin: str) -> None:
    weights = {key: torch.empty(shape, device="meta") for key, shape in ORIGINS[origin].items()}
    foreign = Foreign(path=Path("x.ckpt"), naming=Naming.LDM, weights=weights)
    with pytest.raises(WeightsError) as refusal:
        foreign.tensor("model.diffusion_model.time_embed.0.weight", (1280, 320))
    missing = "weights x.ckpt: model.diffusion_model.time_embed.0.weight is missing"
    assert str(refusal.value) == f"{missing}: looks like {origin}"


def test_stable_diffusion_2_is_refused_for_1_as_the_first_thing_that_differs() -> None:
    weights = {TO_KEY: torch.empty(320, 1024), FIRST: torch.empty(320, 4, 3, 3)}
    foreign = Foreign(path=Path("v2-1.safetensors"), naming=Naming.LDM, weights=weights)
    with pytest.raises(WeightsError) as refusal:
        foreign.tensor(TO_KEY, (320, 768))
    shapes = "has shape (320, 1024), expected (320, 768)"
    expected = f"weights v2-1.safetensors: {TO_KEY} {shapes}: looks like Stable Diffusion 2"
    assert str(refusal.value) == expected


@pytest.mark.parametrize("dtype", [torch.int8, torch.float64, torch.float8_e4m3fn])
def test_other_precisions_are_refused(dtype: torch.dtype) -> None:
    foreign = Foreign(
        path=Path("x.ckpt"), naming=Naming.LDM, weights={"a": torch.zeros(2, dtype=dtype)}
    )
    with pytest.raises(WeightsError, match="expected float16, bfloat16 or float32"):
        foreign.tensor("a", (2,))
