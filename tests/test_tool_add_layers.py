"""Laws of the door: foreign weights become a layered model that says what became of each key, and
damaged files are refused in one line with nothing written."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from foreign import Evil, flat_config, networks, write_model, write_networks
from safetensors.torch import load_file, save_file
from subjects import awake
from torch import Tensor

import cldm.adding
import tool_add_layers
import tool_export_layers
from cldm.build import build_model
from cldm.config import Layout
from cldm.flat import model_shapes
from ldm.checkpoint import WeightsError, load_weights, write_tensors
from ldm.text import TextFamily

CONFIG = flat_config(Layout.stacked, TextFamily.clip)
SCHEDULE = {"betas": torch.zeros(9), "model_ema.decay": torch.tensor(1), "logvar": torch.zeros(9)}
PLACES = {"cond_stage_model.transformer.text_model.embeddings.position_ids": torch.zeros(1, 8)}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `model.yaml`, `base.safetensors` (Stable Diffusion 1 in LDM's names, half
    precision) and `control.safetensors` (the ControlNet alone)."""
    folder = tmp_path_factory.mktemp("source")
    model = ["--model", str(write_model(CONFIG, folder / "model.yaml"))]
    found = write_networks(networks(TextFamily.clip), folder / "folder")
    ours, whole = str(folder / "ours.safetensors"), folder / "whole.safetensors"
    tool_add_layers.main([str(found), ours, "--precision", "float16", *model])
    tool_export_layers.main([ours, str(whole), "--to", "ldm", *model])
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
    """Two hundred files in all."""
    shapes = model_shapes(CONFIG)
    monkeypatch.setattr(cldm.adding, "model_shapes", lambda _: shapes)
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
