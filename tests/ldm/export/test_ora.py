"""OpenRaster: what is written is read back, and pyora sees the same picture."""

import zipfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from einops import rearrange
from PIL import Image

from ldm.document import Document, Sheet, flatten
from ldm.export.ora import read_ora, write_ora
from paper.example_document import NAMES, example_document
from paper.foreign_readers import ora_by_pyora

SIZE = (48, 300)


def picture(document: Document) -> np.ndarray:
    return rearrange(flatten(document) * 255, "1 c h w -> h w c").numpy()


def stack_xml(text: str, file: Path) -> Path:
    """A file of one white pixel with the given layers."""
    png = BytesIO()
    Image.new("RGBA", (1, 1), "white").save(png, format="PNG")
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("stack.xml", f'<image w="2" h="2"><stack>{text}</stack></image>')
        archive.writestr("data/a.png", png.getvalue())
    return file


@pytest.mark.parametrize("edge", [0.0, 4.0])
def test_the_picture_is_read_back(tmp_path: Path, edge: float) -> None:
    document = example_document(0, SIZE, edge)
    write_ora(document, tmp_path / "a.ora")
    difference = picture(read_ora(tmp_path / "a.ora")) - picture(document)
    assert np.abs(difference).max() <= 2


def test_pyora_sees_the_same_picture(tmp_path: Path) -> None:
    document = example_document(1, SIZE, 4.0)
    write_ora(document, tmp_path / "a.ora")
    assert np.abs(ora_by_pyora(tmp_path / "a.ora") - picture(document)).max() <= 2


def test_light_is_baked_and_nothing_is_lost(tmp_path: Path) -> None:
    document = example_document(2, SIZE, 4.0)
    write_ora(document, tmp_path / "a.ora")
    again = read_ora(tmp_path / "a.ora").sheets
    shown = [sheet.name for sheet in again if sheet.visible]
    assert shown == [sheet.name for sheet in document.sheets if not sheet.clipped]
    kept = {(sheet.name, sheet.group): sheet for sheet in again}
    for sheet in document.sheets:
        lit = sheet.name in NAMES
        other = kept[f"{sheet.name} (unlit)" if lit else sheet.name, sheet.group]
        assert other.visible == (sheet.visible and not (lit or sheet.clipped))
        assert (other.blend, other.opacity) == (sheet.blend, sheet.opacity)
        alpha = sheet.rgba[:, 3:].clamp(max=1)
        difference = (other.rgba - sheet.rgba) * torch.cat([alpha.expand(-1, 3, -1, -1), alpha], 1)
        assert difference.abs().max() <= 0.51 / 255


def test_the_file_is_laid_out_as_the_format_asks(tmp_path: Path) -> None:
    document = example_document(3, SIZE, 4.0)
    write_ora(document, tmp_path / "a.ora")
    with zipfile.ZipFile(tmp_path / "a.ora") as archive:
        first = archive.infolist()[0]
        assert (first.filename, first.compress_type) == ("mimetype", zipfile.ZIP_STORED)
        assert archive.read("mimetype") == b"image/openraster"
        merged = Image.open(BytesIO(archive.read("mergedimage.png")))
        thumbnail = Image.open(BytesIO(archive.read("Thumbnails/thumbnail.png")))
        root = ElementTree.fromstring(archive.read("stack.xml"))
    assert np.abs(np.asarray(merged) - picture(document)).max() <= 0.51
    assert max(thumbnail.size) == 256
    groups = [stack.get("name") for stack in root.iterfind("stack/stack")]
    assert groups == [*reversed(NAMES), document.sheets[0].group]


def test_names_that_xml_cannot_hold_are_mended(tmp_path: Path) -> None:
    bell = Sheet(rgba=torch.ones(1, 4, 4, 4), name='<bell> \x07 & "ring"\n')
    write_ora(Document(sheets=(bell,)), tmp_path / "a.ora")
    assert read_ora(tmp_path / "a.ora").sheets[0].name == '<bell> \ufffd & "ring"\n'


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ('<layer src="data/a.png" composite-op="svg:screen"/>', "composite-op: found 'svg:screen'"),
        ('<layer src="data/a.png" opacity="dim"/>', "opacity: found 'dim', expected 0 to 1"),
        ('<layer src="data/a.png" x="left"/>', "x: found 'left', expected a whole number"),
        ('<layer src="data/b.png"/>', "no item named 'data/b.png'"),
        ('<layer src="stack.xml"/>', "stack.xml: found .*, expected a whole PNG"),
        ('<stack name="g" isolation="isolate"/>', "stack 'g': isolation: found 'isolate'"),
        ('<stack opacity="0.5"/>', "opacity: found '0.5', expected 1"),
        ("", "found no layers, expected at least one"),
        ("<layer", "not well-formed"),
    ],
)
def test_what_a_document_cannot_hold_is_refused(tmp_path: Path, layers: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_ora(stack_xml(layers, tmp_path / "a.ora"))


def test_foreign_offsets_may_reach_beyond_the_canvas(tmp_path: Path) -> None:
    layers = '<layer src="data/a.png" x="-5" y="9"/><layer src="data/a.png" x="1" y="1"/>'
    first, second = read_ora(stack_xml(layers, tmp_path / "a.ora")).sheets
    assert first.rgba[0, 3].tolist() == [[0, 0], [0, 1]]
    assert second.rgba.sum() == 0


def test_no_zip_is_refused_and_a_missing_folder_named(tmp_path: Path) -> None:
    (tmp_path / "a.ora").write_bytes(b"no zip")
    with pytest.raises(ValueError, match=r"a\.ora: File is not a zip file"):
        read_ora(tmp_path / "a.ora")
    document = example_document(4, SIZE, 4.0)
    with pytest.raises(FileNotFoundError, match=r"'.*nowhere/a\.ora'"):
        write_ora(replace(document), tmp_path / "nowhere" / "a.ora")
