"""PSD: what is written is read back, and other programs see the same picture."""

import errno
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from einops import rearrange
from PIL import Image
from psd_tools import PSDImage
from psd_tools.constants import BlendMode
from torch import Tensor

from ldm.document import Blend, Document, Sheet, flatten
from ldm.export import psd as psd_module
from ldm.export.psd import read_psd, write_psd
from paper.example_document import example_document
from paper.foreign_readers import GIMP, by_gimp, psd_by_psd_tools

SIZE = (48, 64)
# What 8 bits cost: half a level in each of three sheets that meet in a pixel, and in opacity.
OWN_LEVELS, FOREIGN_LEVELS = 1.5, 2.0


def picture(document: Document) -> np.ndarray:
    return rearrange(flatten(document) * 255, "1 c h w -> h w c").numpy()


def opaque(colour: float) -> Tensor:
    return torch.cat([torch.full((1, 3, *SIZE), colour), torch.ones(1, 1, *SIZE)], dim=1)


@pytest.mark.parametrize("edge", [0.0, 4.0])
def test_what_is_written_is_read_back(tmp_path: Path, edge: float) -> None:
    document = example_document(0, SIZE, edge)
    write_psd(document, tmp_path / "a.psd")
    again = read_psd(tmp_path / "a.psd")
    assert np.abs(picture(again) - picture(document)).max() <= OWN_LEVELS
    for sheet, other in zip(document.sheets, again.sheets, strict=True):
        words = ("name", "group", "blend", "clipped", "visible")
        assert [getattr(sheet, word) for word in words] == [getattr(other, word) for word in words]
        assert abs(sheet.opacity - other.opacity) <= 0.5 / 255


def test_eight_bits_survive_unchanged(tmp_path: Path) -> None:
    write_psd(example_document(1, SIZE, 4.0), tmp_path / "a.psd")
    once = read_psd(tmp_path / "a.psd")
    write_psd(once, tmp_path / "b.psd")
    for sheet, other in zip(once.sheets, read_psd(tmp_path / "b.psd").sheets, strict=True):
        assert torch.equal(sheet.rgba, other.rgba)
        assert replace(sheet, rgba=other.rgba) == other


@pytest.mark.parametrize("edge", [0.0, 4.0])
def test_psd_tools_sees_the_same_picture(tmp_path: Path, edge: float) -> None:
    document = example_document(2, SIZE, edge)
    write_psd(document, tmp_path / "a.psd")
    difference = psd_by_psd_tools(tmp_path / "a.psd") - picture(document)
    assert np.abs(difference).max() <= FOREIGN_LEVELS


@pytest.mark.skipif(GIMP is None, reason="GIMP is not installed")
def test_gimp_sees_the_same_picture(tmp_path: Path) -> None:
    document = example_document(3, SIZE, 4.0)
    write_psd(document, tmp_path / "a.psd")
    assert np.abs(by_gimp(tmp_path / "a.psd") - picture(document)).max() <= FOREIGN_LEVELS


@pytest.mark.parametrize("edge", [0.0, 4.0])
def test_pillow_sees_the_merged_preview(tmp_path: Path, edge: float) -> None:
    document = example_document(4, SIZE, edge)
    write_psd(document, tmp_path / "a.psd")
    with Image.open(tmp_path / "a.psd") as image:
        assert image.mode == "RGB"
        difference = np.asarray(image.convert("RGBA")) - picture(document)
    assert np.abs(difference).max() <= 0.51


def test_a_transparent_preview_is_matted_with_white(tmp_path: Path) -> None:
    rgba = torch.tensor([0.2, 0.4, 0.6, 0.5])[None, :, None, None].expand(1, 4, *SIZE)
    write_psd(Document(sheets=(Sheet(rgba=rgba, name="glass"),)), tmp_path / "a.psd")
    psd = PSDImage.open(tmp_path / "a.psd")
    preview = psd.topil()
    assert preview is not None
    assert preview.mode == "RGBA"
    expected = np.array([0.2, 0.4, 0.6, 0.5]) * 255
    # Half of the levels are white: what is left of the colours errs twice as much.
    assert np.abs(np.asarray(preview) - expected).max() <= 2.1


def test_sheets_are_cropped_to_their_content(tmp_path: Path) -> None:
    patch = opaque(1.0)
    patch[:, :3, 10:20, 30:50] = 0.5
    dot = torch.zeros(1, 4, *SIZE)
    dot[:, :, 5:7, 8:11] = 1
    sheets = (
        Sheet(rgba=opaque(0.3), name="ground"),
        Sheet(rgba=patch, name="shadow", blend=Blend.MULTIPLY),
        Sheet(
            rgba=1 - patch * torch.tensor([1, 1, 1, 0])[:, None, None], name="glow", blend=Blend.ADD
        ),
        Sheet(rgba=dot, name="dot"),
        Sheet(rgba=opaque(1.0), name="no shadow", blend=Blend.MULTIPLY),
        Sheet(rgba=torch.zeros(1, 4, *SIZE), name="nothing"),
    )
    write_psd(Document(sheets=sheets), tmp_path / "a.psd")
    boxes = [layer.bbox for layer in PSDImage.open(tmp_path / "a.psd")]
    patch_box = (30, 10, 50, 20)
    assert boxes == [(0, 0, 64, 48), patch_box, patch_box, (8, 5, 11, 7), *[(0, 0, 1, 1)] * 2]
    for sheet, other in zip(sheets, read_psd(tmp_path / "a.psd").sheets, strict=True):
        torch.testing.assert_close(other.rgba, sheet.rgba, atol=0.51 / 255, rtol=0)


def test_effect_sheets_stay_whole_over_a_transparent_ground(tmp_path: Path) -> None:
    shadow = Sheet(rgba=opaque(1.0), name="shadow", blend=Blend.MULTIPLY)
    ground = Sheet(rgba=opaque(0.5), name="ground", visible=False)
    write_psd(Document(sheets=(ground, shadow)), tmp_path / "a.psd")
    assert PSDImage.open(tmp_path / "a.psd")[1].size == (64, 48)


def test_batches_and_lone_clipped_sheets_are_refused(tmp_path: Path) -> None:
    two = Document(sheets=(Sheet(rgba=torch.zeros(2, 4, 8, 8), name="a"),))
    with pytest.raises(ValueError, match="found a batch of 2 pictures, expected 1"):
        write_psd(two, tmp_path / "a.psd")
    base = Sheet(rgba=opaque(0.5), name="base", group="one")
    lone = Sheet(rgba=opaque(0.5), name="light", clipped=True, group="two")
    with pytest.raises(ValueError, match="sheet 'light': found clipped with no base"):
        write_psd(Document(sheets=(base, lone)), tmp_path / "a.psd")
    assert not list(tmp_path.iterdir())


def test_what_a_document_cannot_hold_is_refused(tmp_path: Path) -> None:
    write_psd(example_document(6, SIZE, 4.0), tmp_path / "a.psd")
    psd = PSDImage.open(tmp_path / "a.psd")
    psd[1].blend_mode = BlendMode.NORMAL
    psd.save(tmp_path / "isolated.psd")
    psd[1].blend_mode = BlendMode.PASS_THROUGH
    psd[1][0].blend_mode = BlendMode.SOFT_LIGHT
    psd.save(tmp_path / "soft_light.psd")
    psd[1][0].blend_mode = BlendMode.NORMAL
    psd[1].create_mask(Image.new("L", (4, 4), 128), top=0, left=0)
    psd.save(tmp_path / "masked.psd")
    with pytest.raises(ValueError, match="mask: found True, expected False"):
        read_psd(tmp_path / "masked.psd")
    with pytest.raises(ValueError, match="blend mode: found NORMAL, expected PASS_THROUGH"):
        read_psd(tmp_path / "isolated.psd")
    with pytest.raises(ValueError, match="found SOFT_LIGHT, expected NORMAL or MULTIPLY"):
        read_psd(tmp_path / "soft_light.psd")


def test_a_layer_mask_is_read_into_alpha(tmp_path: Path) -> None:
    """Whatever its place: beyond the mask's own box its background colour holds."""
    psd = PSDImage.new("RGB", (8, 6))
    pixels = np.full((4, 6, 4), 200, dtype=np.uint8)
    layer = psd.create_pixel_layer_from_array(pixels, top=1, left=1)
    layer.create_mask(Image.new("L", (3, 8), 128), top=-1, left=3)
    psd.save(tmp_path / "a.psd")
    expected = torch.zeros(6, 8)
    expected[1:5, 3:6] = round(200 * 128 / 255) / 255
    alpha = read_psd(tmp_path / "a.psd").sheets[0].rgba[0, 3]
    torch.testing.assert_close(alpha, expected, atol=1e-6, rtol=0)
    layer.mask.disabled = True
    psd.save(tmp_path / "b.psd")
    with pytest.raises(ValueError, match="mask: found disabled"):
        read_psd(tmp_path / "b.psd")


@pytest.mark.parametrize("length", [0, 10, 1000])
def test_broken_files_are_refused(tmp_path: Path, length: int) -> None:
    write_psd(example_document(7, SIZE, 4.0), tmp_path / "a.psd")
    (tmp_path / "b.psd").write_bytes((tmp_path / "a.psd").read_bytes()[:length])
    with pytest.raises(ValueError, match=r"b\.psd: found .*, expected a whole PSD"):
        read_psd(tmp_path / "b.psd")


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save = psd_module._save

    def fill_the_disk(psd: PSDImage, preview: Image.Image, path: Path) -> None:
        save(psd, preview, path)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(psd_module, "_save", fill_the_disk)
    with pytest.raises(OSError, match=r"No space left on device: '.*a\.psd'"):
        write_psd(example_document(8, SIZE, 4.0), tmp_path / "a.psd")
    assert not list(tmp_path.iterdir())
