"""Laws of our own weights: a round trip keeps them, bad files are refused."""

from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ldm.checkpoint import (
    WeightsError,
    load_weights,
    overlay_weights,
    require_new,
    save_weights,
    write_tensors,
)


def module() -> nn.Module:
    """Two linear parts and a buffer of whole numbers."""
    whole = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    whole.register_buffer("count", torch.tensor([7]))
    return whole


def state(whole: nn.Module) -> dict[str, Tensor]:
    """A copy of the weights."""
    return {key: weight.clone() for key, weight in whole.state_dict().items()}


def test_round_trip_keeps_weights_to_half_precision(tmp_path: Path) -> None:
    written, path = module(), tmp_path / "new" / "part.safetensors"
    save_weights(written, path)
    found = module()
    load_weights(found, path)
    for key, weight in found.state_dict().items():
        assert torch.equal(weight, written.state_dict()[key].half().to(weight.dtype)), key
    assert found[0].weight.dtype is torch.float32  # pyright: ignore
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "part.safetensors"
    save_weights(module(), path)
    before = path.read_bytes()
    shared = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    shared[1].weight = shared[0].weight  # pyright: ignore
    shared.half()
    with pytest.raises(RuntimeError, match="share memory"):
        save_weights(shared, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def spoiled(path: Path, how: str) -> str:
    """Write a bad file; what the refusal says."""
    weights = {key: weight.contiguous() for key, weight in module().state_dict().items()}
    match how:
        case "absent":
            return "no such file"
        case "empty" | "cut" | "text":
            save_file(weights, path)
            whole = path.read_bytes()
            path.write_bytes({"empty": b"", "cut": whole[:-9], "text": b"not weights" * 9}[how])
            return "not a whole safetensors file"
        case "key":
            del weights["1.bias"]
            said = "1.bias is missing"
        case "shape":
            weights["1.bias"] = torch.zeros(3)
            said = r"1.bias has shape \(3,\), expected \(2,\)"
        case _:
            weights["2.bias"] = torch.zeros(3)
            said = "2.bias is not part of this model"
    save_file(weights, path)
    return said


DAMAGES = ["absent", "empty", "cut", "text", "shape", "unknown"]


@pytest.mark.parametrize(
    ("how", "fill"),
    # An overlay may lack keys.
    [("key", load_weights), *product(DAMAGES, [load_weights, overlay_weights])],
)
def test_bad_weights_are_refused_in_one_line_and_nothing_changes(
    tmp_path: Path, how: str, fill: Callable[[nn.Module, Path], None]
) -> None:
    path, found = tmp_path / "part.safetensors", module()
    said, before = spoiled(path, how), state(found)
    with pytest.raises(WeightsError, match=said) as refusal:
        fill(found, path)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert all(torch.equal(weight, before[key]) for key, weight in found.state_dict().items())


def test_an_overlay_replaces_what_it_holds_in_the_modules_precision(tmp_path: Path) -> None:
    path, found = tmp_path / "part.safetensors", module()
    before, given = state(found), {"1.weight": torch.randn(2, 4).half()}
    write_tensors(given, path)
    overlay_weights(found, path)
    expected = before | {"1.weight": given["1.weight"].float()}
    for key, weight in found.state_dict().items():
        assert weight.dtype is before[key].dtype
        assert torch.equal(weight, expected[key]), key


def test_a_folder_is_not_weights(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such file"):
        load_weights(module(), tmp_path)


def test_tensors_are_written_as_they_are(tmp_path: Path) -> None:
    weights = {"a": torch.arange(6.0).reshape(2, 3).T, "b": torch.ones(2, dtype=torch.bfloat16)}
    write_tensors(weights, tmp_path / "out.safetensors")
    found = load_file(tmp_path / "out.safetensors")
    assert all(torch.equal(found[key], weight) for key, weight in weights.items())
    assert {key: weight.dtype for key, weight in found.items()} == {
        key: weight.dtype for key, weight in weights.items()
    }


def test_an_output_must_be_new_and_have_a_folder(tmp_path: Path) -> None:
    (old := tmp_path / "old.safetensors").touch()
    require_new(tmp_path / "new.safetensors", ".safetensors")
    for path, said in (
        (old, "exists already"),
        (tmp_path / "none" / "new.safetensors", "its folder does not exist"),
        (tmp_path / "new.ckpt", r"expected \.safetensors"),
    ):
        with pytest.raises(WeightsError, match=f"^output {path}: {said}"):
            require_new(path, ".safetensors")
    with pytest.raises(WeightsError, match="cannot be written"):
        write_tensors({"a": torch.ones(1)}, tmp_path / "none" / "new.safetensors")
    assert list(tmp_path.iterdir()) == [old]
