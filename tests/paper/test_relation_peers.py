"""Laws of the relation network's peers, on two layers whose colours and places are known."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage.exposure import cumulative_distribution
from subjects import picture
from torch import Generator, Tensor

from ldm.compositing import stack
from ldm.effects import shown
from ldm.scene import Scene
from ldm.values import Effects, Layers, Light, identity_effects
from paper.relation_edits import Move, random_move, recoloured, slid
from paper.relation_peers import (
    DROP_SHADOWS,
    DropShadow,
    best_drop_shadow,
    histogram_matching,
    left_behind,
    plain,
    reinhard,
    rigid,
)

SIZE = 32
BOX = (slice(8, 24), slice(4, 16))


@pytest.fixture
def layers() -> Layers:
    """A sheep's box on greyish horses, 32 px; a third slot is absent."""
    rgba = torch.zeros(1, 3, 4, SIZE, SIZE)
    rgba[0, 0, :3], rgba[0, 0, 3] = 0.3 + 0.4 * picture("horses.jpg", SIZE), 1
    rgba[0, 1, :3] = picture("sheep.jpg", SIZE)
    rgba[0, 1, 3, *BOX] = 1
    return Layers(rgba=rgba, present=torch.tensor([[True, True, False]]))


def lit(layers: Layers) -> Effects:
    """Effects that all differ from the identity, of the box alone."""
    alpha = layers.alpha[:, 1:2]
    light = 1 - 0.4 * alpha
    below = 0.7 * slid(alpha, torch.tensor([[[0.25, 0.125]]]), outside=0.0)
    mirror = torch.cat([layers.rgb[:, 1:2], below * 0.5], dim=2)
    above = (0, 0, 0, 0, 0, 0, 1, 1)
    return Effects(
        multiply=F.pad(light.expand(-1, -1, 3, -1, -1), above, value=1.0),
        add=F.pad((0.1 * alpha).expand(-1, -1, 3, -1, -1), above),
        shadow=F.pad((1 - below).expand(-1, -1, 3, -1, -1), above, value=1.0),
        reflection=F.pad(mirror, above),
        alpha=layers.alpha,
    )


def in_box(rgb: Tensor) -> np.ndarray:
    """The pixels `[k 3]` of the first picture in the box."""
    return rgb[0][:, *BOX].flatten(1).T.contiguous().numpy()


def lab(pixels: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(pixels[None], cv2.COLOR_RGB2LAB)[0]


def test_plain_is_the_stack(layers: Layers) -> None:
    torch.testing.assert_close(shown(layers, plain(layers)), stack(layers))


def test_reinhard_gives_mean_and_deviation_of_what_lies_behind(layers: Layers) -> None:
    found = lab(in_box(shown(layers, reinhard(layers))))
    behind = lab(layers.rgb[0, 0].flatten(1).T.contiguous().numpy())
    np.testing.assert_allclose(found.mean(axis=0), behind.mean(axis=0), atol=0.5)
    np.testing.assert_allclose(found.std(axis=0), behind.std(axis=0), atol=0.5)


def test_histogram_matching_gives_the_distribution_of_what_lies_behind(layers: Layers) -> None:
    found = (in_box(shown(layers, histogram_matching(layers))) * 255).round().astype(np.uint8)
    behind = (layers.rgb[0, 0].flatten(1).T.numpy() * 255).round().astype(np.uint8)
    for channel in range(3):
        below, levels = cumulative_distribution(behind[:, channel])
        shares = [(found[:, channel] <= level).mean() for level in levels]
        np.testing.assert_allclose(shares, below, atol=0.05)


@pytest.mark.parametrize("peer", [reinhard, histogram_matching])
def test_recolouring_leaves_all_else_alone(
    layers: Layers, peer: Callable[[Layers], Effects]
) -> None:
    outside = layers.alpha[:, 1] == 0
    changed = shown(layers, peer(layers)) - stack(layers)
    assert (changed.abs() * outside).max() < 1e-6
    assert (changed.abs() * ~outside).max() > 0.05


def test_a_drop_shadow_is_the_alpha_moved_and_blurred_behind_its_layer(layers: Layers) -> None:
    peer = DropShadow(across=0.25, down=0.125, softness=0.001, strength=0.5)
    darkened = shown(layers, peer(layers)) / stack(layers)
    expected = torch.ones(SIZE, SIZE)
    expected[12:28, 12:24] = 0.5
    expected[BOX] = 1
    torch.testing.assert_close(darkened[0], expected.expand(3, -1, -1))
    soft = DropShadow(across=0.25, down=0.125, softness=0.05, strength=0.5)(layers).shadow
    assert soft[:, 1].unique().numel() > 20
    assert (soft[:, [0, 2]] == 1).all()


def test_the_best_drop_shadow_is_the_one_that_made_the_scenes(layers: Layers) -> None:
    one = torch.ones(1)
    light = Light(azimuth=one, elevation=one, colour=torch.ones(1, 3), softness=one, ambient=one)
    for made in DROP_SHADOWS[4::60]:
        assert best_drop_shadow([Scene(layers=layers, light=light, effects=made(layers))]) == made


def test_a_slide_is_a_roll_that_loses_what_leaves() -> None:
    values = torch.rand(2, 3, 2, 8, 8)
    offset = torch.tensor([[0.25, -0.125], [0.0, 0.5]])[:, None].expand(-1, 3, -1)
    found = slid(values, offset, outside=1.0)
    expected = values.clone()
    expected[0] = values[0].roll((-1, 2), dims=(-2, -1))
    expected[0, ..., -1, :], expected[0, ..., :2] = 1, 1
    expected[1] = values[1].roll(4, dims=-2)
    expected[1, ..., :4, :] = 1
    torch.testing.assert_close(found, expected)


def test_rigid_effects_go_with_their_layer(layers: Layers) -> None:
    move = Move(slot=torch.tensor([1]), offset=torch.tensor([[0.25, 0.0]]))
    # On an even back the whole picture slides.
    even = layers.rgba.clone()
    even[:, 0, :3] = 0.5
    layers = Layers(rgba=even, present=layers.present)
    before = shown(layers, lit(layers))
    after = shown(move.layers(layers), rigid(lit(layers), move))
    torch.testing.assert_close(after[..., 8:], before[..., :-8])
    assert (after[..., :8] == 0.5).all()


def test_what_is_left_behind_stays(layers: Layers) -> None:
    move = Move(slot=torch.tensor([1]), offset=torch.tensor([[0.5, 0.0]]))
    effects, moved = lit(layers), move.layers(layers)
    found = shown(moved, left_behind(effects, move))
    free = ((moved.alpha[:, 1] == 0) & (layers.alpha[:, 1] == 0)).expand(-1, 3, -1, -1)
    torch.testing.assert_close(found[free], shown(layers, effects)[free])
    there = (moved.alpha[:, 1] > 0).expand(-1, 3, -1, -1)
    torch.testing.assert_close(found[there], shown(moved, rigid(effects, move))[there])


def test_a_random_move_keeps_the_object_in_the_picture(layers: Layers) -> None:
    for seed in range(5):
        move = random_move(layers, Generator().manual_seed(seed))
        assert move.slot.tolist() == [1]
        assert move.offset[0, 0] > 0.1  # the box stands left of the middle
        moved = move.layers(layers)
        assert moved.alpha[:, 1].sum() == layers.alpha[:, 1].sum()


def test_recolouring_spoils_the_colours_of_one_layer_only(layers: Layers) -> None:
    wrong = recoloured(layers, torch.tensor([1]), Generator().manual_seed(0))
    torch.testing.assert_close(wrong.alpha, layers.alpha)
    torch.testing.assert_close(wrong.rgb[:, [0, 2]], layers.rgb[:, [0, 2]])
    assert (wrong.rgb - layers.rgb)[:, 1].abs().mean() > 0.01
    assert 0 <= wrong.rgb.min() <= wrong.rgb.max() <= 1
    identity = identity_effects(wrong)
    torch.testing.assert_close(shown(wrong, identity), stack(wrong))
