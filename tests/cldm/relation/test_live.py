"""Laws of the live picture: whatever is done to layers, it shows what relating all anew shows."""

import random

import pytest
import torch
from subjects import awake, picture, planet
from torch import Tensor

from cldm.relation.guides import LightHint
from cldm.relation.live import LivePicture
from cldm.relation.placed import Placed, placed
from cldm.relation.transformer import RelationTransformer
from ldm.compositing import resize
from ldm.document import flatten
from ldm.effects import effects_document
from ldm.projection import lowest_row, mirrored
from ldm.values import Effects, Layers, Light

SIZE = (240, 288)
TILE = 128


def hint(azimuth: float) -> LightHint:
    """A given light."""
    one = torch.ones(1)
    light = Light(
        azimuth=azimuth * one,
        elevation=0.8 * one,
        colour=one.expand(1, 3),
        softness=0.2 * one,
        ambient=0.3 * one,
    )
    return LightHint(light=light, given=one.bool())


def network() -> RelationTransformer:
    """A small one that changes much."""
    return awake(RelationTransformer(width=32, depth=1, num_heads=2, working_size=64, patch=8))


def bitmaps() -> list[Placed]:
    """A desert, two planets and a duck."""
    back = torch.cat([picture("pyramid.jpg", max(SIZE)), torch.ones(1, max(SIZE), max(SIZE))])
    duck = torch.cat([picture("duck.jpg", 60), torch.ones(1, 60, 60)])
    objects = [(planet(90), 100, 20), (duck, 120, 180), (planet(50), 60, 100)]
    layers = [on_canvas(rgba, top, left) for rgba, top, left in objects]
    return [placed(rgba) for rgba in (back[:, : SIZE[0], : SIZE[1]], *layers)]


def on_canvas(rgba: Tensor, top: int, left: int) -> Tensor:
    """A bitmap on a transparent picture; what lies beyond is cut off."""
    height, width = rgba.shape[1:]
    canvas = torch.zeros(4, SIZE[0] + 2 * height, SIZE[1] + 2 * width)
    canvas[:, height + top : 2 * height + top, width + left : 2 * width + left] = rgba
    return canvas[:, height : height + SIZE[0], width : width + SIZE[1]]


def in_full(layers: list[Placed]) -> Layers:
    """Placed layers as a value."""
    rgba = torch.stack([on_canvas(layer.rgba, layer.top, layer.left) for layer in layers])[None]
    return Layers(rgba=rgba, present=torch.ones(rgba.shape[:2], dtype=torch.bool))


def flat(layers: Layers, effects: Effects) -> Tensor:
    """The definition."""
    names = [str(slot) for slot in range(layers.rgba.shape[1])]
    return flatten(effects_document(layers, effects, names))


def anew(made: RelationTransformer, layers: list[Placed], light: LightHint) -> Tensor:
    """What relating shows of layers of which nothing was known."""
    with torch.no_grad():
        return flat(in_full(layers), made(in_full(layers), light))


@pytest.mark.parametrize("seed", range(3))
def test_random_edits_show_the_document_of_their_effects(seed: int) -> None:
    torch.manual_seed(seed)
    generator, made, layers, azimuth = random.Random(seed), network(), bitmaps(), 0.5
    live = LivePicture(made, SIZE, tile=TILE)
    for edit in ("none", "move", "reorder", "turn", "hide", "move", "turn", "move"):
        back, *objects = layers
        if edit == "move":
            objects[0] = objects[0].at(generator.randrange(-20, 200), generator.randrange(-20, 250))
        elif edit == "reorder":
            generator.shuffle(objects)
        elif edit == "hide":
            objects.pop(generator.randrange(3))
        elif edit == "turn":
            azimuth = generator.uniform(-3, 3)
        layers = [back, *objects]
        found = live.show(layers, hint(azimuth))
        expected = flat(in_full(layers), live.effects(in_full(layers)))
        assert (found - expected).abs().amax() < 0.5 / 255, edit
        if edit in ("none", "turn"):
            error = (found - anew(made, layers, hint(azimuth))).abs().amax()
            assert error < 0.5 / 255, edit


def test_where_nothing_changes_nothing_is_drawn() -> None:
    live, layers = LivePicture(network(), SIZE, tile=TILE), bitmaps()
    live.show(layers, hint(0.5)).fill_(7)
    assert (live.show(layers, hint(0.5)) == 7).all()


def test_a_back_alone_is_shown_as_it_is() -> None:
    back = bitmaps()[0]
    torch.testing.assert_close(
        LivePicture(network(), SIZE, tile=TILE).show([back], hint(0.5))[0], back.rgba
    )


def test_a_moved_layer_leaves_what_is_far_away() -> None:
    torch.manual_seed(0)
    made = RelationTransformer(width=32, depth=1, num_heads=2, working_size=64, patch=8)
    live, layers = LivePicture(made, SIZE, tile=TILE), bitmaps()
    live.show(layers, hint(0.5)).fill_(7)
    layers[2] = layers[2].at(layers[2].top, layers[2].left + 5)
    found = live.show(layers, hint(0.5))
    assert (found[..., :100, :100] == 7).all()
    assert (found[..., 120:180, 185:245] != 7).any()


def test_a_placed_bitmap_is_the_layer() -> None:
    rgba = on_canvas(planet(90), 100, 20)
    layer = placed(rgba)
    whole = rgba[None, None]
    small = layer.small(SIZE, (56, 64))
    torch.testing.assert_close(small, resize(whole, (56, 64))[0, 0], atol=1e-4, rtol=0)
    image = on_canvas(layer.image, layer.foot, layer.left)
    expected = mirrored(whole, lowest_row(whole[:, :, 3:]))[0, 0]
    assert torch.equal(image * (image[3:] > 0), expected * (expected[3:] > 0))
