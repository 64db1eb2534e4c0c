"""Laws of revisions: effects are read as they are shown, moves are those of the alphas."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from subjects import picture, planet
from torch import Tensor

from cldm.relation.artwork import Artwork, ArtworkError, artwork_of, related
from cldm.relation.revision import effects_of, moves_between
from ldm.carrying import carried
from ldm.document import Document, Sheet
from ldm.export.ora import read_ora, write_ora
from ldm.export.psd import read_psd, write_psd
from ldm.values import Effects, identity_effects

SIZE = 48


def artwork(*places: tuple[int, int, int], size: int = SIZE) -> Artwork:
    """Planets of some size before a photograph, each at a column and a row."""
    back = torch.cat([picture("pyramid.jpg", size), torch.ones(1, size, size)])[None]
    sheets = [Sheet(rgba=back, name="desert")]
    for number, (x, y, side) in enumerate(places):
        sheets.append(Sheet(rgba=_planet(x, y, side, size), name=f"planet {number}"))
    return artwork_of(Document(sheets=tuple(sheets)), 8)


def _planet(x: int, y: int, side: int, size: int) -> Tensor:
    """What lies beyond the picture is not seen."""
    wide = torch.zeros(1, 4, size + 2 * side, size + 2 * side)
    wide[0, :, y + side : y + 2 * side, x + side : x + 2 * side] = planet(side)
    return wide[:, :, side:-side, side:-side]


def strong(found: Artwork) -> Effects:
    """Effects that nobody can overlook, within the layers' own extents."""
    plain, alpha = identity_effects(found.layers), found.layers.alpha
    above = torch.tensor([0.0, 1.0])[:, None, None, None]
    return replace(
        plain,
        multiply=1 - 0.5 * alpha * above + 0 * plain.multiply,
        add=0.2 * alpha * above + plain.add,
        shadow=1 - 0.4 * alpha * above + 0 * plain.shadow,
        reflection=torch.cat([found.layers.rgb, 0.5 * alpha], dim=2) * above,
    )


@pytest.mark.parametrize("name", ["psd", "ora"])
def test_effects_come_back_from_files(name: str, tmp_path: Path) -> None:
    found = artwork((4, 8, 20))
    effects = strong(found)
    write, read = {"psd": (write_psd, read_psd), "ora": (write_ora, read_ora)}[name]
    write(related(found, effects), tmp_path / "document")
    document = read(tmp_path / "document")
    again = effects_of(document, artwork_of(document, 8))
    for part in ("multiply", "add", "shadow"):
        told, true = getattr(again, part), getattr(effects, part)
        torch.testing.assert_close(told, true, atol=1.01 / 255, rtol=0)
    torch.testing.assert_close(
        again.reflection[:, :, 3], effects.reflection[:, :, 3], atol=1.01 / 255, rtol=0
    )


def test_a_hidden_sheet_does_nothing_and_a_faint_one_little() -> None:
    found = artwork((4, 8, 20))
    sheets = related(found, strong(found)).sheets
    changed = [
        replace(sheet, visible=not sheet.name.endswith(" shade"), opacity=opacity)
        for sheet in sheets
        for opacity in (0.5 if sheet.name.endswith(" shadow") else 1.0,)
    ]
    effects = effects_of(Document(sheets=tuple(changed)), found)
    assert (effects.multiply == 1).all()
    torch.testing.assert_close(effects.shadow, (1 + strong(found).shadow) / 2)


def test_effects_go_where_their_layer_went() -> None:
    before = artwork((4, 8, 20))
    for place in ((17, 21, 20), (4, 8, 10), (10, 20, 26)):
        after = artwork(place)
        moved = carried(strong(before), moves_between(before, after), after.layers)
        torch.testing.assert_close(moved.shadow, strong(after).shadow, atol=0.12, rtol=0)
        assert (moved.shadow - strong(after).shadow).abs().mean() < 0.005


def test_what_is_cut_by_the_rim_keeps_its_size() -> None:
    before, after = artwork((14, 8, 20)), artwork((-6, 12, 20))
    moved = carried(strong(before), moves_between(before, after), after.layers)
    torch.testing.assert_close(moved.shadow, strong(after).shadow, atol=1e-4, rtol=0)


def test_layers_are_known_by_their_names() -> None:
    before, after = artwork((4, 8, 20), (30, 8, 10)), artwork((4, 8, 20), (30, 8, 10))
    turned = Artwork(
        layers=after.layers.take(torch.tensor([0, 2, 1])),
        names=("ground", "planet 1", "a new one"),
        kept=after.kept,
    )
    assert moves_between(before, turned).origin == (0, 2, -1)


def test_another_size_is_refused() -> None:
    with pytest.raises(ArtworkError, match=r"size: found 32 x 32 pixels, expected .* 48 x 48"):
        moves_between(artwork((4, 8, 20)), artwork((4, 8, 20), size=32))
