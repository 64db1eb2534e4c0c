"""The door from a layered picture to the same with effects, and what it says of mistakes."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from psd_tools import PSDImage
from subjects import awake, config, picture, planet
from torch import Tensor
from torchvision.transforms.functional import to_tensor

import relate_layers
from cldm.build import build_model
from cldm.config import Layout
from ldm.checkpoint import save_weights
from ldm.document import Document, Sheet, flatten
from ldm.export.ora import read_ora, write_ora
from ldm.export.png import write_png_folder
from ldm.export.psd import read_psd, write_psd
from ldm.mistake import MistakeError

SIZE = 96
WRITERS = {"stack.psd": write_psd, "stack.ora": write_ora, "stack": write_png_folder}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The YAML of a tiny model whose relation network says much, at random."""
    folder = tmp_path_factory.mktemp("model")
    plain = OmegaConf.to_container(OmegaConf.structured(config(Layout.stacked)), enum_to_str=True)
    OmegaConf.save(plain | {"weights": "tiny.safetensors"}, folder / "tiny.yaml")
    torch.manual_seed(0)
    save_weights(awake(build_model(config(Layout.stacked))), folder / "tiny.safetensors")
    return folder / "tiny.yaml"


@pytest.fixture(autouse=True)
def _tiny(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Doors of this file open on the tiny model."""
    monkeypatch.setattr(sys, "argv", ["relate_layers.py", f"--model={model}", "--device=cpu"])


def relate(stack: Path, out: Path, *words: str) -> Tensor:
    """The composite that the door writes."""
    options = sys.argv
    sys.argv = [*options, str(stack), str(out), *words]
    try:
        relate_layers.main()
    finally:
        sys.argv = options
    return seen(out)


def seen(out: Path) -> Tensor:
    """A composite on disk."""
    with Image.open(out / "composite.png") as image:
        return to_tensor(image)


def photographs() -> Document:
    """A planet and a slice of a duck in a desert."""
    back = torch.cat([picture("pyramid.jpg", SIZE), torch.ones(1, SIZE, SIZE)])
    ball, duck = torch.zeros(2, 4, SIZE, SIZE)
    ball[:, 40:80, 10:50] = planet(40)
    duck[:, 30:70, 50:80] = torch.cat([picture("duck.jpg", 40), planet(40)[3:]])[:, :, :30]
    layers = {"desert": back, "planet": ball, "鸭": duck}
    return Document(sheets=tuple(Sheet(rgba=rgba[None], name=n) for n, rgba in layers.items()))


@pytest.mark.parametrize("name", WRITERS)
def test_a_stack_is_related_and_both_documents_show_the_composite(
    name: str, tmp_path: Path
) -> None:
    document, out = photographs(), tmp_path / "out"
    WRITERS[name](document, tmp_path / name)
    composite = relate(tmp_path / name, out)
    assert (composite - flatten(document)[0]).abs().max() > 0.1
    for shown in (read_psd(out / "document.psd"), read_ora(out / "document.ora")):
        torch.testing.assert_close(flatten(shown)[0], composite, atol=2.01 / 255, rtol=0)
    assert [group.name for group in PSDImage.open(out / "document.psd")] == [
        "desert",
        "planet",
        "鸭",
    ]
    files = {path.name for path in out.iterdir()}
    assert files >= {"contact_sheet.png", "layer_00_desert.png", "layer_02_鸭.png"}


def test_relating_twice_is_relating_once(tmp_path: Path) -> None:
    write_psd(photographs(), tmp_path / "stack.psd")
    once = tmp_path / "once"
    composite = relate(tmp_path / "stack.psd", once)
    for again in (once, once / "document.ora"):
        twice = relate(again, tmp_path / "twice")
        torch.testing.assert_close(twice, composite, atol=2.01 / 255, rtol=0)
        sheets = [read_psd(out / "document.psd").sheets for out in (once, tmp_path / "twice")]
        assert [sheet.name for sheet in sheets[0]] == [sheet.name for sheet in sheets[1]]


def test_hidden_layers_stay_and_cast_nothing(tmp_path: Path) -> None:
    desert, ball, duck = photographs().sheets
    write_psd(Document(sheets=(desert, ball)), tmp_path / "two.psd")
    write_psd(Document(sheets=(desert, replace(duck, visible=False), ball)), tmp_path / "three.psd")
    composites = [relate(tmp_path / f"{n}.psd", tmp_path / n) for n in ("two", "three")]
    assert torch.equal(*composites)
    sheets = {sheet.name: sheet for sheet in read_psd(tmp_path / "three" / "document.psd").sheets}
    kept = sheets["鸭"]
    assert not kept.visible
    hidden, drawn = kept.rgba * kept.rgba[:, 3:], duck.rgba * duck.rgba[:, 3:]
    torch.testing.assert_close(hidden, drawn, atol=1.01 / 255, rtol=0)


def test_light_is_unknown_or_as_told(tmp_path: Path) -> None:
    write_psd(photographs(), tmp_path / "stack.psd")
    told = (), ("azimuth=0",), ("azimuth=180", "elevation=30"), ("colour=[1.5,1,0.5]",)
    one, two, three, four = (relate(tmp_path / "stack.psd", tmp_path / "out", *w) for w in told)
    pairs = ((one, two), (two, three), (two, four))
    assert all((first - second).abs().max() > 2 / 255 for first, second in pairs)


def test_what_stands_in_the_light_already_casts_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_psd(photographs(), tmp_path / "stack.psd")
    cast: dict[str, set[str]] = {}
    for word in ("none", "all", "planet"):
        relate(tmp_path / "stack.psd", tmp_path / "out", f"--agreed={word}")
        sheets = read_psd(tmp_path / "out" / "document.psd").sheets
        cast[word] = {each.name for each in sheets if each.rgba[:, :3].amin() < 0.99}
        cast[word] &= {"planet shadow", "鸭 shadow"}
    assert cast == {
        "none": {"planet shadow", "鸭 shadow"},
        "all": set(),
        "planet": {"鸭 shadow"},
    }
    assert "agreed estimated" not in capsys.readouterr().out
    relate(tmp_path / "stack.psd", tmp_path / "out")
    assert "agreed estimated: " in capsys.readouterr().out


def test_what_was_painted_on_effects_survives_an_edit_elsewhere(tmp_path: Path) -> None:
    write_psd(photographs(), tmp_path / "stack.psd")
    relate(tmp_path / "stack.psd", tmp_path / "once")
    document = read_psd(tmp_path / "once" / "document.psd")
    painted = [
        replace(sheet, rgba=sheet.rgba * torch.tensor([0.5, 1, 1, 1])[:, None, None])
        if sheet.name == "planet shadow"
        else sheet
        for sheet in document.sheets
    ]
    write_psd(Document(sheets=tuple(painted)), tmp_path / "painted.psd")
    by_hand = flatten(Document(sheets=tuple(painted)))[0]
    kept = relate(tmp_path / "stack.psd", tmp_path / "two", f"--before={tmp_path / 'painted.psd'}")
    torch.testing.assert_close(kept, by_hand, atol=3.01 / 255, rtol=0)
    lit = f"--before={tmp_path / 'painted.psd'}", "azimuth=180", "elevation=20"
    assert (relate(tmp_path / "stack.psd", tmp_path / "three", *lit) - kept).abs().max() > 0.05


def test_edges_are_the_artists_unless_they_are_to_be_refined(tmp_path: Path) -> None:
    write_psd(photographs(), tmp_path / "stack.psd")
    alphas: list[Tensor] = []
    for words in ([], ["--refine-edges"]):
        relate(tmp_path / "stack.psd", tmp_path / "out", *words)
        sheets = read_psd(tmp_path / "out" / "document.psd").sheets
        alphas += [sheet.rgba[:, 3] for sheet in sheets if sheet.name == "planet"]
    torch.testing.assert_close(alphas[0], photographs().sheets[1].rgba[:, 3])
    assert (alphas[1] - alphas[0]).abs().max() > 2 / 255


def several(count: int) -> Document:
    """A back and the planet again and again."""
    back, ball, _ = photographs().sheets
    return Document(sheets=(back, *[ball] * (count - 1)))


def at(folder: Path, word: str) -> str:
    """A word of the command line, its file in a folder."""
    return word.replace("--before=", f"--before={folder}/")


def smaller(document: Document) -> Document:
    """Without its last rows and columns."""
    cut = [replace(sheet, rgba=sheet.rgba[:, :, :80, :80]) for sheet in document.sheets]
    return Document(sheets=tuple(cut))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["no.psd"], "no.psd"),
        (["no"], "expected a .psd or .ora file, or a folder"),
        (["letter.txt"], "expected a .psd or .ora file, or a folder"),
        (["cut.psd"], "cut.psd"),
        (["cut.ora"], "cut.ora"),
        (["empty"], "found neither layers.json nor document.psd"),
        (["clear.psd"], "layer 'planet': found"),
        (["alone.psd"], "visible layers: found 1, expected a back and 1 to 2 before it"),
        (["many.psd"], "visible layers: found 4"),
        (["many.psd", "elevation=91"], "light.elevation: found 91"),
        (["many.psd", "azimuth=nan"], "light.azimuth: found nan"),
        (["many.psd", "azimuth=left"], "left"),
        (
            ["stack.psd", "--agreed=planet,moon"],
            "agreed: found 'moon', expected all, none, or some",
        ),
        (["many.psd", "azimut=3"], "Did you mean: 'azimuth'"),
        (["many.psd", "colour=[1,-1,1]"], "light.colour: found [1.0, -1.0, 1.0]"),
        (["many.psd", "--device=abacus"], "device: found abacus"),
        (["three.psd", "--before=no.psd"], "no.psd"),
        (["three.psd", "--before=small.psd"], "size: found 96 x 96 pixels, expected those"),
    ],
)
def test_mistakes_are_said_in_one_line_and_nothing_is_written(
    words: list[str], said: str, tmp_path: Path
) -> None:
    write_psd(several(4), tmp_path / "many.psd")
    write_psd(photographs(), tmp_path / "stack.psd")
    write_psd(several(1), tmp_path / "alone.psd")
    write_psd(Document(sheets=photographs().sheets[1:]), tmp_path / "clear.psd")
    write_psd(several(3), tmp_path / "three.psd")
    write_psd(smaller(several(3)), tmp_path / "small.psd")
    for name in ("cut.psd", "cut.ora"):
        (tmp_path / name).write_bytes((tmp_path / "many.psd").read_bytes()[:999])
    (tmp_path / "letter.txt").write_text("mine")
    (tmp_path / "empty").mkdir()
    before = set(tmp_path.iterdir())
    with pytest.raises((MistakeError, OSError)) as error:
        relate(tmp_path / words[0], tmp_path / "out", *(at(tmp_path, word) for word in words[1:]))
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert set(tmp_path.iterdir()) == before
