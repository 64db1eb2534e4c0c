"""Laws of moved layers: the topmost solid one is pulled; the picture is that of the document."""

from dataclasses import replace

import pytest
import torch
from subjects import awake, picture, planet
from torch import Tensor

from cldm.brief import Brief, LightBrief, light_of
from cldm.build import build_model
from cldm.config import ModelConfig, RelationKind
from ldm.document import flatten
from ldm.effects import effects_document
from ldm.values import Layers
from studio_arrangement import Pull, Viewport, arranged, read_pull

SIDE = 96
HINT = light_of(Brief(light=LightBrief(azimuth=70.0)))


def layers() -> Layers:
    """A desert, a planet on the left and one half as opaque before its right part."""
    rgba = torch.zeros(1, 3, 4, SIDE, SIDE)
    rgba[0, 0] = torch.cat([picture("pyramid.jpg", SIDE), torch.ones(1, SIDE, SIDE)])
    rgba[0, 1, :, 30:70, 10:50] = planet(40)
    rgba[0, 2, :, 30:70, 40:80] = planet(40)
    rgba[0, 2, 3] *= 0.4
    return Layers(rgba=rgba, present=torch.ones(1, 3, dtype=torch.bool))


def pull(column: int, row: int, right: int = 0, down: int = 0) -> Pull:
    """From the middle of a pixel, so many pixels far."""
    start = ((column + 0.5) / SIDE, (row + 0.5) / SIDE)
    return Pull(start=start, right=right / SIDE, down=down / SIDE)


def shifted(rgba: Tensor, right: int, down: int) -> Tensor:
    """A layer that does not reach the margin, moved."""
    return rgba.roll((down, right), (-2, -1))


def test_a_pulled_layer_lies_elsewhere_and_nothing_else_moves() -> None:
    before = layers()
    after = arranged(before).pulled(pull(30, 50, right=9, down=-13)).layers
    expected = before.rgba.clone()
    expected[0, 1] = shifted(before.rgba[0, 1], 9, -13)
    torch.testing.assert_close(after.rgba, expected)


def test_the_topmost_solid_layer_is_pulled() -> None:
    solid = layers()
    solid.rgba[0, 2, 3] *= 2.5
    for given, column, slot in ((solid, 45, 2), (layers(), 45, 1), (layers(), 60, None)):
        moved = arranged(given).pulled(pull(column, 50, right=1))
        assert (moved.picked if moved else None) == slot
    assert arranged(layers()).pulled(pull(90, 5)) is None


def test_arrow_keys_move_the_layer_that_was_pulled_last() -> None:
    nudge = Pull(start=None, right=1 / SIDE, down=0)
    assert arranged(layers()).pulled(nudge) is None
    moved = arranged(layers()).pulled(pull(30, 50, right=20)).pulled(nudge)
    assert (moved.picked, moved.placed[1].left - arranged(layers()).placed[1].left) == (1, 21)


def test_a_layer_never_leaves_the_picture_and_comes_back_whole() -> None:
    there = arranged(layers()).pulled(pull(30, 50, right=SIDE, down=-SIDE))
    box = there.placed[1].box
    assert box.columns.start < SIDE
    assert box.rows.stop > 0
    left, top = box.columns.start - 10, box.rows.start - 30
    back = there.pulled(Pull(start=None, right=-left / SIDE, down=-top / SIDE))
    torch.testing.assert_close(back.layers.rgba, layers().rgba)


@pytest.mark.parametrize("kind", RelationKind)
def test_the_picture_of_a_drag_is_that_of_the_document_of_its_effects(
    tiny_config: ModelConfig, kind: RelationKind
) -> None:
    relation = replace(tiny_config.relation, network=kind)
    model = awake(build_model(replace(tiny_config, relation=relation))).eval()
    there, viewport = arranged(layers()).pulled(pull(30, 50)), Viewport(model, (SIDE, SIDE))
    for right, down in ((7, 0), (11, 5), (-20, 30)):
        there = there.pulled(Pull(start=None, right=right / SIDE, down=down / SIDE))
        shown = viewport.show(there, HINT)
        effects = viewport.effects(there, HINT)
        expected = flatten(effects_document(there.layers, effects, ("back", "left", "right")))
        torch.testing.assert_close(shown[:, :3], expected[:, :3], atol=1 / 255, rtol=0)


@pytest.mark.parametrize(
    "told",
    [
        *(None, "a", {}, [], [0.1], [0.1] * 3, [0.1] * 5, [True, 0.1], ["0", 0.1], [None, 0.1]),
        *([float("nan"), 0.1], [0.1, float("inf")], [2, 0], [[0.1], 0.1]),
    ],
)
def test_nonsense_is_no_pull(told: object) -> None:
    assert read_pull(told) is None


def test_two_or_four_numbers_are_a_pull() -> None:
    assert read_pull([0.5, 0.25, -0.1, 1]) == Pull(start=(0.5, 0.25), right=-0.1, down=1)
    assert read_pull([0, -0.5]) == Pull(start=None, right=0, down=-0.5)
