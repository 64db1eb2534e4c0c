"""The law of the fold: `flatten` is the painter's loop, written here once more in numpy."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from subjects import picture, planet

from ldm.document import Blend, Document, Sheet, flatten
from ldm.values import Layers

BLENDS = {
    Blend.NORMAL: lambda _, above: above,
    Blend.MULTIPLY: lambda below, above: below * above,
    Blend.ADD: lambda below, above: np.minimum(below + above, 1),
}


def painted(sheets: tuple[Sheet, ...]) -> np.ndarray:
    """Pixel by pixel as W3C's Compositing and Blending Level 1 says it, section 5.1."""
    pixels = [sheet.rgba[0].double().numpy() for sheet in sheets]
    height, width = pixels[0].shape[1:]
    result = np.zeros((4, height, width))
    for row, column in product(range(height), range(width)):
        colour, alpha = np.zeros(3), 0.0
        for index, sheet in enumerate(sheets):
            if sheet.clipped or not sheet.visible:
                continue
            source, own = pixels[index][:3, row, column], pixels[index][3, row, column]
            for other in range(index + 1, len(sheets)):
                if not sheets[other].clipped:
                    break
                if sheets[other].visible:
                    top = pixels[other][:3, row, column]
                    share = pixels[other][3, row, column] * sheets[other].opacity
                    mixed = BLENDS[sheets[other].blend](source, top)
                    source = (1 - share) * source + share * mixed
            own *= sheet.opacity
            below = colour / alpha if alpha else np.zeros(3)
            mixed = (1 - alpha) * source + alpha * BLENDS[sheet.blend](below, source)
            colour = own * mixed + (1 - own) * colour
            alpha = own + alpha * (1 - own)
        result[:3, row, column] = colour / alpha if alpha else 0
        result[3, row, column] = alpha
    return result


def sheet(seed: int, **how: object) -> Sheet:
    """A sheet of random colours and alphas, some of them 0 and 1."""
    generator = torch.Generator().manual_seed(seed)
    rgba = torch.rand(1, 4, 6, 7, generator=generator)
    rgba[:, 3] = (rgba[:, 3] * 1.6 - 0.3).clamp(0, 1)
    return Sheet(rgba=rgba, name=str(seed), **how)  # pyright: ignore


@pytest.mark.parametrize(("first", "second"), list(product(Blend, Blend)))
def test_flatten_is_the_painters_loop(first: Blend, second: Blend) -> None:
    sheets = (
        sheet(0),
        sheet(1, blend=first, opacity=0.7),
        sheet(2, blend=second, clipped=True, opacity=0.4),
        sheet(3, blend=first, clipped=True, visible=False),
        sheet(4, visible=False),
        sheet(5, clipped=True),
        sheet(6, blend=second),
    )
    found = flatten(Document(sheets=sheets))[0].double().numpy()
    expected = painted(sheets)
    np.testing.assert_allclose(found[3], expected[3], atol=1e-5)
    np.testing.assert_allclose(found[:3] * found[3], expected[:3] * expected[3], atol=1e-5)


def test_an_opaque_back_stays_opaque_and_white_multiplies_nothing(photographs: Layers) -> None:
    back = Sheet(rgba=photographs.rgba[:, 0], name="back")
    white = Sheet(rgba=torch.ones_like(back.rgba), name="shadow", blend=Blend.MULTIPLY)
    document = Document(sheets=(back, white))
    assert document.size == (48, 48)
    torch.testing.assert_close(flatten(document), back.rgba)


def test_a_clipped_sheet_shows_only_where_its_base_does() -> None:
    base = Sheet(rgba=planet(32)[None], name="planet")
    flood = torch.cat([picture("duck.jpg", 32), torch.ones(1, 32, 32)])[None]
    found = flatten(Document(sheets=(base, Sheet(rgba=flood, name="paint", clipped=True))))
    torch.testing.assert_close(found[:, 3], base.rgba[:, 3])
    seen = base.rgba[0, 3] > 0.01
    torch.testing.assert_close(found[0, :3][:, seen], flood[0, :3][:, seen])


def test_gradients_reach_every_sheet() -> None:
    leaves = [torch.rand(1, 4, 5, 5, requires_grad=True) for _ in range(3)]
    blends = (Blend.NORMAL, Blend.MULTIPLY, Blend.ADD)
    sheets = [Sheet(rgba=leaf, name="", blend=b) for leaf, b in zip(leaves, blends, strict=True)]
    flatten(Document(sheets=tuple(sheets))).sum().backward()
    assert all(leaf.grad is not None and leaf.grad.isfinite().all() for leaf in leaves)


def test_bands_leave_no_seam() -> None:
    """A picture larger than a band is that of its rows."""
    large = [torch.rand(1, 4, 300, 400) for _ in range(3)]
    sheets = [Sheet(rgba=rgba, name="", blend=b) for rgba, b in zip(large, Blend, strict=True)]
    rows = [
        flatten(
            Document(sheets=tuple(replace(s, rgba=s.rgba[..., r : r + 100, :]) for s in sheets))
        )
        for r in (0, 100, 200)
    ]
    found = flatten(Document(sheets=tuple(sheets)))
    torch.testing.assert_close(found, torch.cat(rows, dim=-2), atol=1e-6, rtol=0)
