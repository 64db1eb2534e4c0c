"""Folders of PNG: what is written is read back; pictures carry their text."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from einops import rearrange
from PIL import Image

from ldm.document import Document, Sheet
from ldm.export.png import MANIFEST, read_png_folder, write_picture, write_png_folder
from paper.example_document import example_document

SIZE = (48, 64)


def edited(folder: Path, field: str, value: object) -> Path:
    """The folder with one field of its first sheet changed."""
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    manifest["sheets"][0][field] = value
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    document = example_document(0, SIZE, 4.0)
    write_png_folder(document, tmp_path / "layers")
    words = ("name", "group", "blend", "clipped", "visible", "opacity")
    again = read_png_folder(tmp_path / "layers")
    for sheet, other in zip(document.sheets, again.sheets, strict=True):
        torch.testing.assert_close(other.rgba, sheet.rgba, atol=0.51 / 255, rtol=0)
        assert [getattr(sheet, word) for word in words] == [getattr(other, word) for word in words]


def test_files_are_numbered_and_named_safely_in_any_script(tmp_path: Path) -> None:
    names = ["りんご", "تفاحة 1", "🍎", "../a/b\\c:d*?", "é" * 300, ""]
    sheets = tuple(Sheet(rgba=torch.ones(1, 4, 2, 2), name=name) for name in names)
    write_png_folder(Document(sheets=sheets), tmp_path / "layers")
    files = sorted(file.name for file in (tmp_path / "layers").glob("*.png"))
    expected = ["000_りんご", "001_تفاحة_1", "002", "003_a_b_c_d", "004_" + "é" * 60, "005"]
    assert files == [f"{stem}.png" for stem in expected]
    assert [sheet.name for sheet in read_png_folder(tmp_path / "layers").sheets] == names


def test_an_earlier_export_is_replaced_and_other_files_are_not(tmp_path: Path) -> None:
    document, folder = example_document(1, SIZE, 4.0), tmp_path / "layers"
    write_png_folder(document, folder)
    write_png_folder(Document(sheets=document.sheets[:1]), folder)
    assert len(list(folder.iterdir())) == 2
    (folder / "holiday.jpg").touch()
    with pytest.raises(ValueError, match=r"found 'holiday\.jpg', expected only an earlier export"):
        write_png_folder(document, folder)
    assert len(list(folder.iterdir())) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["layers"]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("blend", "soft light", "sheet 0: blend: found 'soft light', expected normal or multiply"),
        ("clipped", "no", "sheet 0: clipped: found 'no', expected bool"),
        ("opacity", 2, "sheet 0: opacity: found 2, expected 0 to 1"),
        ("opacity", True, "sheet 0: opacity: found True, expected int or float"),
        ("file", "../secret.png", "sheet 0: file: found '../secret.png', expected a name without"),
        ("file", MANIFEST, "found .*, expected a whole PNG"),
    ],
)
def test_a_spoilt_manifest_is_refused(
    tmp_path: Path, field: str, value: object, message: str
) -> None:
    write_png_folder(example_document(2, SIZE, 4.0), tmp_path / "layers")
    with pytest.raises(ValueError, match=message):
        read_png_folder(edited(tmp_path / "layers", field, value))


def test_pictures_of_unequal_size_are_refused(tmp_path: Path) -> None:
    write_png_folder(example_document(3, SIZE, 4.0), tmp_path / "layers")
    Image.new("RGBA", (3, 5)).save(next((tmp_path / "layers").glob("000*")))
    with pytest.raises(ValueError, match=r"found sizes \[\(5, 3\), \(48, 64\)\], expected one"):
        read_png_folder(tmp_path / "layers")


@pytest.mark.parametrize("text", ["", "[]", '{"sheets": []}', "\udcff"])
def test_no_manifest_is_no_folder(tmp_path: Path, text: str) -> None:
    with pytest.raises(FileNotFoundError):
        read_png_folder(tmp_path)
    (tmp_path / MANIFEST).write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(ValueError, match=r"layers\.json: "):
        read_png_folder(tmp_path)


@pytest.mark.parametrize("channels", [3, 4])
def test_a_picture_carries_its_text(tmp_path: Path, channels: int) -> None:
    picture = torch.rand(1, channels, 8, 8)
    text = {"parameters": "an apple\nSteps: 20, Seed: 7", "layers": '[{"prompt": "りんご 🍎"}]'}
    write_picture(picture, tmp_path / "composite.png", text)
    with Image.open(tmp_path / "composite.png") as image:
        image.load()
        assert image.text == text
        expected = rearrange(picture * 255, "1 c h w -> h w c").numpy()
        assert np.abs(np.asarray(image) - expected).max() <= 0.51
