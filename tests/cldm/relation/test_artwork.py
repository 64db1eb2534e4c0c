"""Laws of artwork: an artist's sheets stay in the picture; effects come and go without trace."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from subjects import picture, planet
from torch import Tensor

from cldm.relation.artwork import Artwork, ArtworkError, artwork_of, related
from ldm.document import Blend, Document, Sheet, flatten
from ldm.export.ora import read_ora, write_ora
from ldm.export.psd import read_psd, write_psd
from ldm.values import Effects, identity_effects

SIZE = 48
CAST = "planet shadow"  # painted by hand, and named as a sheet of ours


def opaque(name: str) -> Tensor:
    """A photograph."""
    return torch.cat([picture(name, SIZE), torch.ones(1, SIZE, SIZE)])[None]


def planet_at(x: int, y: int) -> Tensor:
    """The planet, 20 pixels wide."""
    rgba = torch.zeros(1, 4, SIZE, SIZE)
    rgba[0, :, y : y + 20, x : x + 20] = planet(20)
    return rgba


def painted() -> Document:
    """All that an artist may have: groups, namesakes, hidden, clipped and multiplied sheets."""
    grey = torch.full((1, 4, SIZE, SIZE), 0.7)
    planet_sheet = Sheet(rgba=planet_at(4, 8), name="planet", group="sky / planets")
    sheets = (
        Sheet(rgba=opaque("pyramid.jpg"), name="desert"),
        Sheet(rgba=opaque("duck.jpg"), name="sketch", visible=False),
        replace(planet_sheet, opacity=0.8),
        Sheet(rgba=opaque("sheep.jpg"), name="fur", clipped=True, group="sky / planets"),
        replace(planet_sheet, rgba=planet_at(24, 20)),
        Sheet(rgba=grey, name="try", clipped=True, visible=False, group="sky / planets"),
        Sheet(rgba=grey, name=CAST, blend=Blend.MULTIPLY, opacity=0.5),
    )
    return Document(sheets=sheets)


def strong(artwork: Artwork) -> Effects:
    """Effects that nobody can overlook."""
    plain = identity_effects(artwork.layers)
    return replace(
        plain,
        multiply=plain.multiply * 0.5,
        add=plain.add + 0.2,
        shadow=plain.shadow * 0.6,
        reflection=artwork.layers.rgba.flip(-2) * 0.5,
    )


def test_without_effects_the_picture_is_the_artists() -> None:
    document = painted()
    artwork = artwork_of(document, 3)
    shown = flatten(related(artwork, identity_effects(artwork.layers)))
    torch.testing.assert_close(shown, flatten(document), atol=1e-5, rtol=0)


def test_layers_are_the_visible_normal_sheets_under_names_of_their_own() -> None:
    artwork = artwork_of(painted(), 3)
    assert artwork.names == ("desert", "planet", "planet 2")
    kept = [[sheet.name for sheet in above] for above in artwork.kept]
    assert kept == [[], ["sketch"], [], ["try", CAST]]
    alpha = artwork.layers.alpha[:, 1]
    torch.testing.assert_close(alpha, planet_at(4, 8)[:, 3:] * 0.8)
    fur = artwork.layers.rgb[:, 1] * (alpha > 0)
    torch.testing.assert_close(fur, opaque("sheep.jpg")[:, :3] * (alpha > 0))


@pytest.mark.parametrize("suffix", ["psd", "ora"])
def test_effects_come_off_again(suffix: str, tmp_path: Path) -> None:
    write, read = {"psd": (write_psd, read_psd), "ora": (write_ora, read_ora)}[suffix]
    artwork = artwork_of(painted(), 3)
    path = tmp_path / f"painted.{suffix}"
    write(related(artwork, strong(artwork)), path)
    again = artwork_of(read(path), 3)
    assert again.names == artwork.names
    assert [each.name for above in again.kept for each in above] == ["sketch", "try", CAST]
    seen, known = again.layers.rgba * again.layers.alpha, artwork.layers.rgba * artwork.layers.alpha
    torch.testing.assert_close(seen, known, atol=1.01 / 255, rtol=0)


def test_a_hidden_related_layer_loses_its_effects_and_stays_hidden() -> None:
    artwork = artwork_of(painted(), 3)
    document = related(artwork, strong(artwork))
    sheets = (
        replace(sheet, visible=sheet.visible and sheet.group != "planet")
        for sheet in document.sheets
    )
    again = artwork_of(Document(sheets=tuple(sheets)), 3)
    assert again.names == ("desert", "planet 2")
    assert [sheet.name for sheet in again.kept[1]] == ["sketch", "planet"]
    assert not any(sheet.visible for sheet in again.kept[1])


BALL = Sheet(rgba=planet_at(0, 0), name="ball")


@pytest.mark.parametrize(
    ("sheets", "said"),
    [
        (painted().sheets[:2], "found 1, expected a back and 1 to 2 before it"),
        ((*painted().sheets, BALL), "found 4, expected a back and 1 to 2 before it"),
        ((BALL, BALL), r"layer 'ball': found 8\d\.\d% of it not opaque"),
    ],
)
def test_what_cannot_be_related_is_said_in_one_line(sheets: tuple[Sheet, ...], said: str) -> None:
    with pytest.raises(ArtworkError, match=said) as error:
        artwork_of(Document(sheets=sheets), 3)
    assert "\n" not in str(error.value)
