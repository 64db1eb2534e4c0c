"""The door from a photograph to layers, and what it says of mistakes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from subjects import FIXTURES

import decompose_layers
from ldm.document import flatten
from ldm.export.ora import read_ora
from ldm.export.psd import read_psd
from ldm.mistake import MistakeError

ROOT = Path(__file__).parent.parent


def test_a_photograph_becomes_a_folder_that_flattens_to_it(tmp_path: Path) -> None:
    photograph, out = FIXTURES / "duck.jpg", tmp_path / "out"
    command = [sys.executable, "decompose_layers.py", photograph, out, "long_side=192"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    names = {path.name for path in out.iterdir()}
    assert {"document.psd", "document.ora", "composite.png", "contact_sheet.png"} <= names
    assert {"layer_00_back.png", "layer_01_object_1.png"} <= names
    picture = np.asarray(Image.open(out / "composite.png").convert("RGB")).astype(int)
    seen = Image.open(photograph).convert("RGB").resize(picture.shape[1::-1], Image.Resampling.BOX)
    assert np.abs(picture - np.asarray(seen)).mean() < 3
    for document in (read_psd(out / "document.psd"), read_ora(out / "document.ora")):
        flat = flatten(document)[0, :3].movedim(0, -1).numpy() * 255
        assert np.abs(flat - picture).max() < 2.01


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["missing.jpg"], "missing.jpg"),
        (["LICENCES.md"], "LICENCES.md"),
        (["duck.jpg", "segmentor=sam"], "segment"),
        (["duck.jpg", "segmenter=sam", "sam.checkpoint=no.pth"], "sam_vit_b_01ec64.pth"),
        (["duck.jpg", "completion=lama", "lama=no.pt"], "big-lama.pt"),
        (["duck.jpg", "ordering=depth", "depth.folder=nowhere"], "ordering=cues"),
        (["duck.jpg", "completion=diffusion", "model=no.yaml"], "no.yaml"),
    ],
)
def test_mistakes_are_said_in_one_line_and_nothing_is_written(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    photograph, *settings = words
    arguments = ["decompose_layers.py", str(FIXTURES / photograph), str(out), *settings]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises((MistakeError, OSError)) as error:
        decompose_layers.main()
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert not out.exists()
