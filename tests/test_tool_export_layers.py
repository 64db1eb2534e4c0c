"""Laws of the door back: what it writes is what went in, and bad input is refused."""

from pathlib import Path

import pytest
from foreign import flat_config, networks, same, write_model, write_networks
from safetensors.torch import load_file

import tool_add_layers
import tool_export_layers
from cldm.config import Layout
from ldm.checkpoint import WeightsError
from ldm.settings import ConfigError
from ldm.text import TextFamily

CONFIG = flat_config(Layout.stacked, TextFamily.open_clip)


def test_there_and_back_through_both_doors(tmp_path: Path) -> None:
    model = str(write_model(CONFIG, tmp_path / "model.yaml"))
    source = str(write_networks(networks(TextFamily.open_clip), tmp_path / "in"))
    packed = ["--model", model, "--layout", "packed", "--slots", "2"]
    paths = [
        str(tmp_path / name)
        for name in ("a.safetensors", "b.safetensors", "folder", "c.safetensors")
    ]
    first, original, folder, again = paths
    tool_add_layers.main([source, first, *packed])
    tool_export_layers.main([first, original, "--to", "ldm", *packed])
    tool_export_layers.main([first, folder, "--to", "diffusers", *packed])
    assert sorted(path.name for path in Path(folder).iterdir()) == sorted(
        ["unet", "vae", "text_encoder", "controlnet"]
    )
    tool_add_layers.main([folder, original, again, "--model", model])
    last = tmp_path / "d.safetensors"
    tool_export_layers.main([again, str(last), "--to", "ldm", "--model", model])
    assert same(load_file(last), load_file(original))


def test_bad_input_is_refused_and_nothing_written(tmp_path: Path) -> None:
    model = ["--model", str(write_model(CONFIG, tmp_path / "model.yaml")), "--to", "ldm"]
    tiny = ["--model", "models/layers_tiny.yaml", "--to", "ldm"]
    weights, out = "models/layers_tiny.safetensors", str(tmp_path / "out.safetensors")
    with pytest.raises(WeightsError, match=r"has shape .*: looks like a layered model of ours"):
        tool_export_layers.main([weights, out, *model])
    with pytest.raises(WeightsError, match="exists already"):
        tool_export_layers.main([weights, weights, *model])
    with pytest.raises(WeightsError, match=r"out: expected \.safetensors"):
        tool_export_layers.main([weights, str(tmp_path / "out"), *model])
    with pytest.raises(ConfigError, match=r"autoencoder\.patch: found 2, expected 1"):
        tool_export_layers.main([weights, out, *tiny])
    assert [path.name for path in tmp_path.iterdir()] == ["model.yaml"]
