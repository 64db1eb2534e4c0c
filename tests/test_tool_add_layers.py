"""Laws of the door: foreign weights become a layered model that says what became of each key, and
damaged files are refused in one line with nothing written."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from foreign import V15, V21, Evil, hollow, manifest, smallest_config, write_model
from safetensors.torch import load_file, save_file
from subjects import awake
from torch import Tensor

import cldm.adding
import tool_add_layers
import tool_export_layers
from cldm.build import build_model
from cldm.config import ModelConfig
from cldm.flat import base_entries, control_entries, model_shapes
from ldm.checkpoint import WeightsError, load_weights, save_weights, write_tensors

CONFIG = smallest_config()
SHAPES = model_shapes(CONFIG)
ENTRIES, CONTROL_ENTRIES = base_entries(CONFIG, SHAPES), control_entries(CONFIG, SHAPES)
SCHEDULE = {"betas": torch.zeros(9), "model_ema.decay": torch.tensor(1), "logvar": torch.zeros(9)}
PLACES = {"cond_stage_model.transformer.text_model.embeddings.position_ids": torch.zeros(1, 8)}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `model.yaml`, and in LDM's names and half precision `whole.safetensors`
    (Stable Diffusion 1 and a ControlNet) and its two parts, `base` and `control`."""
    folder = tmp_path_factory.mktemp("source")
    model = ["--model", str(write_model(CONFIG, folder / "model.yaml"))]
    ours, whole = folder / "ours.safetensors", folder / "whole.safetensors"
    save_weights(awake(build_model(CONFIG)), ours)
    tool_export_layers.main([str(ours), str(whole), "--to", "ldm", *model])
    weights = load_file(whole)
    control = {key: weights.pop(key) for key in list(weights) if key.startswith("control_model.")}
    save_file(weights | SCHEDULE | PLACES, folder / "base.safetensors")
    save_file(control, folder / "control.safetensors")
    return folder


def run(source: Path, *words: str | Path) -> None:
    """The door with the small model."""
    tool_add_layers.main([*map(str, words), "--model", str(source / "model.yaml")])


def reported(said: str) -> dict[str, int]:
    """Counts of tensors, by what became of them."""
    lines = [line.split() for line in said.splitlines() if line.endswith(" tensors")]
    return {word: int(count) for word, count, _ in lines}


def test_a_base_and_a_controlnet_become_a_layered_model(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, tuned = tmp_path / "out.safetensors", awake(build_model(CONFIG))
    write_tensors(tuned.state_dict(), tmp_path / "tuned.safetensors")
    base, control = source / "base.safetensors", source / "control.safetensors"
    run(source, base, control, out, "--relation", tmp_path / "tuned.safetensors")
    said = capsys.readouterr()
    model = build_model(CONFIG)
    load_weights(model, out)
    counts, weights = reported(said.out), model.state_dict()
    assert counts["taken"] + counts["widened"] + counts["new"] == len(weights)
    assert counts["left"] == len(SCHEDULE | PLACES)
    assert said.err == ""
    for key, tensor in tuned.state_dict().items():
        assert not key.startswith("relation.") or torch.equal(weights[key], tensor), key
    taps = load_file(control)["control_model.zero_convs.0.0.weight"].float()
    assert torch.equal(weights["control.taps.0.weight"], taps)


@pytest.mark.parametrize("precision", ["float16", "bfloat16", "float32"])
def test_without_a_controlnet_it_begins_as_a_copy_of_the_unet(
    source: Path, tmp_path: Path, precision: str
) -> None:
    out = tmp_path / "out.safetensors"
    packed = ["--layout", "packed", "--slots", "2"]
    run(source, source / "base.safetensors", out, "--precision", precision, *packed)
    weights = load_file(out)
    assert {str(weight.dtype) for weight in weights.values()} == {f"torch.{precision}"}
    assert weights["unet.encoder.conv_in.weight"].shape == (32, 8, 3, 3)
    assert not weights["unet.encoder.conv_in.weight"][:, 4:].any()
    assert not any(weight.any() for key, weight in weights.items() if ".taps." in key)
    for key in ("encoder.conv_in.weight", "middle.text.norm.bias", "layout.time.first.weight"):
        assert torch.equal(weights[f"control.{key}"], weights[f"unet.{key}"]), key


@pytest.mark.parametrize("changed", [True, False])
def test_a_whole_controlnet_file_warns_when_its_decoder_differs(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], changed: bool
) -> None:
    whole = load_file(source / "whole.safetensors")
    whole["model.diffusion_model.out.2.weight"][0] += 0.1 * changed
    torch.save({"state_dict": whole}, tmp_path / "control.pth")
    run(source, source / "base.safetensors", tmp_path / "control.pth", tmp_path / "o.safetensors")
    said = capsys.readouterr()
    assert "the base's own is used" in said.out
    warning = "carries a decoder that differs from the base, first in model.diffusion_model.out.2."
    assert (warning in said.err) is changed
    assert said.err.count("\n") == changed


def test_base_and_controlnet_in_each_others_place_are_refused(source: Path, tmp_path: Path) -> None:
    base, control = source / "base.safetensors", source / "control.safetensors"
    first = r"model\.diffusion_model\.time_embed\.0\.weight is missing: looks like a ControlNet$"
    with pytest.raises(WeightsError, match=first):
        run(source, control, tmp_path / "out.safetensors")
    with pytest.raises(WeightsError, match=r"control_model\.time_embed\.0\.weight is missing"):
        run(source, base, base, tmp_path / "out.safetensors")
    with pytest.raises(WeightsError, match="exists already, expected a new name"):
        run(source, base, base)
    assert not list(tmp_path.iterdir())


UNET = "model.diffusion_model"
TO_KEY = f"{UNET}.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
CONV = f"{UNET}.input_blocks.0.0.weight"
CONTROL_KEY = TO_KEY.replace(UNET, "control_model")
WRONG: dict[str, tuple[str, dict[str, tuple[int, ...]], ModelConfig, str]] = {
    "SD 2 for 1": (
        "sd21",
        {},
        V15,
        f"{TO_KEY} has shape (320, 1024), expected (320, 768): looks like Stable Diffusion 2",
    ),
    "SD 1 for 2": (
        "sd15",
        {},
        V21,
        f"{TO_KEY} has shape (320, 768), expected (320, 1024): looks like Stable Diffusion 1",
    ),
    "inpainting": (
        "sd15",
        {CONV: (320, 9, 3, 3)},
        V15,
        f"{CONV} has shape (320, 9, 3, 3), expected (320, 4, 3, 3): looks like an inpainting model",
    ),
    "pix2pix": (
        "sd15",
        {CONV: (320, 8, 3, 3)},
        V15,
        f"{CONV} has shape (320, 8, 3, 3), expected (320, 4, 3, 3): "
        "looks like an instruct-pix2pix model",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_another_base_is_refused_by_the_first_thing_that_differs(
    tmp_path: Path, wrong: str
) -> None:
    """In full size: the weights are hollow."""
    name, changed, config, said = WRONG[wrong]
    path, model = tmp_path / "base.ckpt", write_model(config, tmp_path / "model.yaml")
    torch.save({"state_dict": hollow(manifest(name) | changed)}, path)
    with pytest.raises(WeightsError) as refusal:
        tool_add_layers.main([str(path), str(tmp_path / "out.safetensors"), "--model", str(model)])
    assert str(refusal.value) == f"weights {path}: {said}"


def test_another_bases_controlnet_is_refused(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("base.ckpt", "control.pth", "out.safetensors")]
    model = write_model(V15, tmp_path / "model.yaml")
    for path, name, part in zip(paths, ("sd15", "sd21"), ("", "control_model."), strict=False):
        shapes = {key: shape for key, shape in manifest(name).items() if key.startswith(part)}
        torch.save(hollow(shapes), path)
    said = f"{CONTROL_KEY} has shape (320, 1024), expected (320, 768)"
    with pytest.raises(WeightsError) as refusal:
        tool_add_layers.main([*map(str, paths), "--model", str(model)])
    origin = "looks like a ControlNet for Stable Diffusion 2"
    assert str(refusal.value) == f"weights {paths[1]}: {said}: {origin}"


Weights = dict[str, Tensor]
Chance = np.random.Generator


def picked(weights: Weights, chance: Chance) -> str:
    """A key that the model needs."""
    needed = [key for key in weights if key not in SCHEDULE | PLACES]
    return needed[chance.integers(len(needed))]


def misshapen(weights: Weights, chance: Chance) -> Weights:
    """One tensor one row too long."""
    key = picked(weights, chance)
    return weights | {key: torch.cat([weights[key], weights[key][:1]])}


def mistyped(weights: Weights, chance: Chance) -> Weights:
    """One tensor in a type that is no half or single precision."""
    key, types = picked(weights, chance), (torch.float64, torch.int8, torch.int64)
    return weights | {key: weights[key].to(types[chance.integers(3)])}


def lacking(weights: Weights, chance: Chance) -> Weights:
    """One tensor missing."""
    key = picked(weights, chance)
    return {name: weight for name, weight in weights.items() if name != key}


def surplus(weights: Weights, chance: Chance) -> Weights:
    """One tensor too many."""
    key = picked(weights, chance).replace("weight", "gain").replace("bias", "offset")
    return weights | {key: torch.zeros(2)}


def cut(data: bytes, chance: Chance) -> bytes:
    """The beginning of a file."""
    return data[: chance.integers(1, len(data))]


def garbled(data: bytes, chance: Chance) -> bytes:
    """A file whose beginning is noise."""
    size = int(chance.integers(16, 64))
    return chance.bytes(size) + data[size:]


CONTENTS: dict[str, Callable[[Weights, Chance], Weights]] = {
    "shape": misshapen,
    "dtype": mistyped,
    "missing": lacking,
    "extra": surplus,
}
BYTES: dict[str, Callable[[bytes, Chance], bytes]] = {
    "truncated": cut,
    "header": garbled,
    "text": lambda _, chance: b"not weights\n" * int(chance.integers(1, 99)),
    "empty": lambda *_: b"",
    "noise": lambda _, chance: chance.bytes(int(chance.integers(1, 999))),
}


def damage(kind: str, good: Path, bad: Path, chance: Chance) -> None:
    """Write a damaged copy of good weights; an evil one would make the file `effect`."""
    weights = load_file(good)
    save = save_file if bad.suffix == ".safetensors" else torch.save
    if kind == "evil":
        weights[picked(weights, chance)] = Evil(bad.parent / "effect")  # pyright: ignore
        torch.save({"state_dict": weights}, bad)
    elif kind in CONTENTS:
        save(CONTENTS[kind](weights, chance), bad)
    else:
        save(weights, bad)
        bad.write_bytes(BYTES[kind](bad.read_bytes(), chance))


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
@pytest.mark.parametrize("part", ["base", "control"])
@pytest.mark.parametrize("kind", [*CONTENTS, *BYTES, "evil"])
def test_damaged_weights_are_refused_in_one_line_and_nothing_is_written(
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    part: str,
    suffix: str,
) -> None:
    """Two hundred files in all; what the model is made of is worked out once."""
    monkeypatch.setattr(tool_add_layers, "config_of", lambda *_: CONFIG)
    monkeypatch.setattr(cldm.adding, "base_entries", lambda *_: ENTRIES)
    monkeypatch.setattr(cldm.adding, "control_entries", lambda *_: CONTROL_ENTRIES)
    monkeypatch.setattr(cldm.adding, "model_shapes", lambda _: SHAPES)
    (out := tmp_path / "out").mkdir()
    bad, chance = tmp_path / f"bad{suffix}", np.random.default_rng([*f"{kind}{part}".encode()])
    files = {name: source / f"{name}.safetensors" for name in ("base", "control")}
    for _ in range(5):
        damage(kind, files[part], bad, chance)
        with pytest.raises(WeightsError) as refusal:
            run(source, *(files | {part: bad}).values(), out / "out.safetensors")
        assert str(refusal.value).startswith(f"weights {bad}: ")
        assert "\n" not in str(refusal.value)
        assert not list(out.iterdir())
        assert [path.name for path in tmp_path.iterdir() if path.name == "effect"] == []
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")
