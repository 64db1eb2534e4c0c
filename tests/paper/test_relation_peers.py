"""Laws of the relation network's peers, on two layers whose colours and places are known."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from skimage.exposure import cumulative_distribution
from subjects import picture
from torch import Tensor

from ldm.compositing import stack
from ldm.effects import shown
from ldm.scene import Scene
from ldm.values import Effects, Layers, Light
from paper.relation_peers import (
    DROP_SHADOWS,
    DropShadow,
    best_drop_shadow,
    histogram_matching,
    plain,
    reinhard,
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
