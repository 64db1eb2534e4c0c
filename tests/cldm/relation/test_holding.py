"""Laws of holding: what was not edited keeps still, what was is as if it were said anew."""

from dataclasses import replace

import torch

from cldm.relation.holding import Said
from cldm.relation.placed import Placed, placed
from cldm.relation.tones import Tones

SIDE = 64


def body(top: int, left: int) -> Placed:
    """A white square of 8 pixels."""
    rgba = torch.zeros(4, SIDE, SIDE)
    rgba[:, top : top + 8, left : left + 8] = 1
    return placed(rgba)


BACK = placed(torch.ones(4, SIDE, SIDE))
LEFT, RIGHT = body(30, 4), body(30, 50)


def said(level: float, *layers: Placed) -> Said:
    """What a network that thinks of `level` everywhere says of layers before a back; each casts a
    shadow of 8 pixels on the ground below it, alone."""
    alpha = torch.zeros(len(layers), 1, SIDE, SIDE)
    shadow = torch.zeros(len(layers), 3, SIDE, SIDE)
    for slot, layer in enumerate(layers):
        rows, columns = layer.box.rows, slice(layer.box.columns.start, layer.box.columns.stop)
        alpha[slot, 0, rows.start : rows.stop, columns] = 1
        shadow[slot, :, rows.stop : rows.stop + 8, columns] = -0.5
    maps = torch.zeros(len(layers), 9, SIDE, SIDE)
    maps[:, :6] = level
    return Said(
        layers=(BACK, *layers),
        alpha=alpha,
        mirror=torch.zeros_like(alpha),
        light=torch.zeros(1, 9),
        tones=Tones(maps=maps, shadow=shadow),
    )


def levels(told: Said) -> list[tuple[float, float]]:
    """The least and greatest level of each layer."""
    return [(float(one[:6].amin()), float(one[:6].amax())) for one in told.tones.maps]


def test_without_an_edit_what_was_said_is_said() -> None:
    before = said(0.1, LEFT, RIGHT)
    assert levels(said(0.3, LEFT, RIGHT).after(before)) == levels(before)


def test_a_moved_layer_changes_its_neighbours_only() -> None:
    before, moved = said(0.1, LEFT, RIGHT), LEFT.at(30, 12)
    told = said(0.3, moved, RIGHT)
    found = told.after(before)
    assert torch.equal(found.tones.maps[0], told.tones.maps[0])
    changed = found.tones.maps[1, 0] > 0.2
    assert changed[30:46, 4:20].all()
    assert not changed[:, 24:].any()
    assert not changed[:26].any()


def test_a_layer_that_is_gone_lets_go_where_it_was() -> None:
    found = said(0.3, RIGHT).after(said(0.1, LEFT, RIGHT))
    changed = found.tones.maps[0, 0] > 0.2
    assert changed[30:46, 4:12].all()
    assert not changed[:, 16:].any()


def test_layers_that_change_places_are_edited() -> None:
    far = body(2, 28)
    before, told = said(0.1, LEFT, RIGHT, far), said(0.3, RIGHT, LEFT, far)
    found = told.after(before)
    assert levels(found)[:2] == levels(told)[:2]
    assert not (found.tones.maps[2, 0, :20] > 0.2).any()


def test_in_another_light_or_before_another_back_nothing_is_held() -> None:
    before, told = said(0.1, LEFT, RIGHT), said(0.3, LEFT, RIGHT)
    evening = replace(told, light=torch.ones(1, 9))
    assert evening.after(before) is evening
    elsewhere = replace(told, layers=(placed(torch.ones(4, SIDE, SIDE)), LEFT, RIGHT))
    assert elsewhere.after(before) is elsewhere
