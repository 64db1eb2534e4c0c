"""The door `generate_layers.py`: whole runs, and one clear line for whatever can be wrong."""

import math
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from psd_tools import PSDImage
from safetensors.torch import save_file
from subjects import awake, config

import generate_layers
from cldm.brief import read_brief, sampling_of, task_of
from cldm.build import build_model
from cldm.config import Layout, ModelConfig
from ldm.checkpoint import WeightsError, save_weights
from ldm.text import Tokenizer

ROOT = Path(__file__).parent.parent
BRIEF = {
    "seed": 3,
    "steps": 2,
    "layers": [
        {"name": "草原", "prompt": "a lawn"},
        {"name": "ball", "prompt": "a ball", "mask": {"ellipse": [0.2, 0.2, 0.7, 0.7]}},
    ],
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The YAML of a tiny model with random weights beside it."""
    folder = tmp_path_factory.mktemp("model")
    plain = OmegaConf.to_container(OmegaConf.structured(config(Layout.stacked)), enum_to_str=True)
    tiny = OmegaConf.create(plain)
    tiny.weights = "tiny.safetensors"
    OmegaConf.save(tiny, folder / "tiny.yaml")
    torch.manual_seed(0)
    save_weights(awake(build_model(config(Layout.stacked))), folder / "tiny.safetensors")
    return folder / "tiny.yaml"


def run(
    model: Path, folder: Path, brief: object, *, out: str = "out", under: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """The door on a brief, writing to `folder/out`; `under` is a command that runs it."""
    OmegaConf.save(OmegaConf.create(brief), folder / "brief.yaml")
    command = [sys.executable, str(ROOT / "generate_layers.py"), str(folder / "brief.yaml")]
    return subprocess.run(
        [*under, *command, str(folder / out), "--model", str(model)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def test_a_brief_becomes_layers_and_documents_the_same_twice(model: Path, tmp_path: Path) -> None:
    first = run(model, tmp_path, BRIEF)
    assert first.returncode == 0, first.stderr
    out = tmp_path / "out"
    names = {path.name for path in out.iterdir()}
    assert {"document.psd", "document.ora", "composite.png", "contact_sheet.png"} <= names
    groups = [layer.name for layer in PSDImage.open(out / "document.psd")]
    assert groups == ["草原", "ball"]
    with Image.open(out / "composite.png") as picture:
        assert "Seed: 3" in picture.text["parameters"]
        assert "ellipse" in picture.text["layers"]
    pixels = {path.name: path.read_bytes() for path in out.glob("layer_*.png")}
    assert len(pixels) == 2
    assert run(model, tmp_path, BRIEF).returncode == 0
    assert pixels == {path.name: path.read_bytes() for path in out.glob("layer_*.png")}


def test_loras_are_merged_each_at_its_strength(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    OmegaConf.save(OmegaConf.create(BRIEF), tmp_path / "brief.yaml")
    name, wide = "lora_unet_mid_block_attentions_0_proj_in", torch.randn(64, 2)
    lora = {f"{name}.lora_down.weight": wide.mT.contiguous(), f"{name}.lora_up.weight": wide}
    save_file(lora, tmp_path / "lora.safetensors")

    def painted(*loras: str) -> bytes:
        words = [str(tmp_path / "brief.yaml"), str(tmp_path / "out"), f"--model={model}"]
        words += [f"--lora={tmp_path}/lora.safetensors{strength}" for strength in loras]
        monkeypatch.setattr(sys, "argv", ["generate_layers.py", *words])
        generate_layers.main()
        return (tmp_path / "out" / "composite.png").read_bytes()

    plain, once = painted(), painted("")
    assert plain == painted(":0")
    assert once == painted(":1.0") not in (plain, painted("", ""))
    for strength, said in ((":strong", "found strength 'strong'"), (".pt", "no such file")):
        with pytest.raises(WeightsError, match=said):
            painted(strength)


def with_layer(**changes: object) -> dict[str, object]:
    """The brief with its second layer changed."""
    return BRIEF | {"layers": [BRIEF["layers"][0], BRIEF["layers"][1] | changes]}


CROWD = BRIEF | {"layers": [BRIEF["layers"][0]] + [BRIEF["layers"][1]] * 40}
WRONG = {
    "mask of another size": (with_layer(mask={"file": "small.png"}), "8 x 8"),
    "empty mask": (with_layer(mask={"box": [0.5, 0.5, 0.5, 0.5]}), "nothing in it"),
    "two shapes": (with_layer(mask={"box": [0, 0, 1, 1], "ellipse": [0, 0, 1, 1]}), "2 shapes"),
    "more layers than slots": (CROWD, "at most"),
    "neither prompt nor picture": (with_layer(prompt=""), "neither prompt nor picture"),
    "unreadable picture": (with_layer(prompt=None, picture="broken.png"), "not a readable"),
    "missing picture": (with_layer(prompt=None, picture="none.png"), "does not exist"),
    "unknown scheduler": (BRIEF | {"sampler": "magic"}, "found magic"),
    "steps 0": (BRIEF | {"steps": 0}, "steps: found 0"),
    "guidance NaN": (BRIEF | {"guidance_scale": math.nan}, "guidance_scale: found nan"),
    "typo": (BRIEF | {"sede": 3}, "Did you mean: 'seed'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_brief_is_one_line(case: str, tmp_path: Path) -> None:
    brief, said = WRONG[case]
    Image.new("L", (8, 8), 255).save(tmp_path / "small.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    OmegaConf.save(OmegaConf.create(brief), tmp_path / "brief.yaml")
    tiny = config(Layout.stacked)
    with pytest.raises(ValueError, match=re.escape(said)) as error:
        follow(tmp_path / "brief.yaml", tiny)
    assert "\n" not in str(error.value)


def follow(path: Path, tiny: ModelConfig) -> None:
    """Read a brief as the door does, without drawing."""
    brief = read_brief(path, [])
    sampling_of(brief)
    task_of(brief, tiny, Tokenizer(tiny.text.length), path.parent)


def test_wrong_surroundings_are_one_line_and_nothing_is_written(
    model: Path, tmp_path: Path
) -> None:
    (tmp_path / "cut.safetensors").write_bytes(
        (model.parent / "tiny.safetensors").read_bytes()[:999]
    )
    tiny = OmegaConf.load(model)
    wrong = {"none.safetensors": "no such file", "cut.safetensors": "not a whole safetensors file"}
    for weights, said in wrong.items():
        tiny.weights = weights
        OmegaConf.save(tiny, tmp_path / "model.yaml")
        done = run(tmp_path / "model.yaml", tmp_path, BRIEF)
        refused(done, said, tmp_path)
    tiny.canvass = 3
    OmegaConf.save(tiny, tmp_path / "model.yaml")
    refused(run(tmp_path / "model.yaml", tmp_path, BRIEF), "Did you mean: 'canvas'", tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").write_text("mine")
    done = run(model, tmp_path, BRIEF)
    assert done.returncode == 1
    assert "holds other files" in done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["letter.txt"]


def test_a_folder_that_cannot_be_written_is_refused_before_drawing(
    model: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    refused(run(model, tmp_path, BRIEF, out="file/out"), "cannot be written", tmp_path)
    assert (tmp_path / "file").read_text() == "mine"
    refused(run(model, tmp_path, BRIEF, out="/proc/out"), "/proc cannot be written", tmp_path)


def test_a_disk_that_fills_while_writing_leaves_nothing(model: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for the end of a disk: the same error of writing."""
    small = ["sh", "-c", 'ulimit -f 16; exec "$@"', "sh"]
    done = run(model, tmp_path, BRIEF, under=small)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"brief.yaml"}


def refused(done: subprocess.CompletedProcess[str], said: str, folder: Path) -> None:
    """One line, a non-zero exit, nothing written."""
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (folder / "out").exists()
