"""Laws of ordering: the whole lies before the bitten, whatever the numbering; depth is obeyed."""

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    DPTImageProcessorPil,
)

from annotator.depth import DepthFolderError, DepthOrdering, Scale, by_nearness, scale_of
from annotator.depth_cues import Cue, cues
from annotator.ordering import CueOrdering, most_probable

SIDE = 96
ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE]
PIXELS = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)


def disc(row: float, column: float, radius: float) -> np.ndarray:
    """A disc's mask."""
    return np.hypot(ROWS - row, COLUMNS - column) < radius


def bitten_pair(angle: float) -> list[np.ndarray]:
    """A whole disc that bites into another from the direction `angle`, clockwise from the right."""
    down, right = np.sin(angle), np.cos(angle)
    whole = disc(48 + 22 * down, 48 + 22 * right, 18)
    return [whole, disc(48 - 10 * down, 48 - 10 * right, 28) & ~whole]


@pytest.mark.parametrize("eighth", range(8))
def test_every_cue_of_occlusion_speaks_for_the_whole_disc(eighth: int) -> None:
    found = cues(bitten_pair(eighth * np.pi / 4))
    assert all(found[cue][0, 1] > 0 for cue in (Cue.bulge, Cue.junction, Cue.whole))


@pytest.mark.parametrize("eighth", [0, 1, 2, 3, 4, 5, 7])  # 6: it floats right above the other
def test_the_whole_disc_lies_before_the_bitten_one(eighth: int) -> None:
    assert CueOrdering()(PIXELS, bitten_pair(eighth * np.pi / 4)) == [1, 0]


def test_of_two_equal_posts_the_one_that_stands_lower_is_nearer() -> None:
    far, near = (ROWS > 20) & (ROWS < 50), (ROWS > 50) & (ROWS < 80)
    masks = [near & (COLUMNS > 70) & (COLUMNS < 80), far & (COLUMNS > 10) & (COLUMNS < 20)]
    assert CueOrdering()(PIXELS, masks) == [1, 0]


def test_a_pile_of_three_is_ordered_however_it_is_numbered() -> None:
    top, middle = disc(60, 48, 16), disc(46, 32, 22) & ~disc(60, 48, 16)
    bottom = disc(38, 58, 26) & ~disc(46, 32, 22) & ~disc(60, 48, 16)
    pile = [bottom, middle, top]
    for numbering in permutations(range(3)):
        order = CueOrdering()(PIXELS, [pile[index] for index in numbering])
        assert [numbering[index] for index in order] == [0, 1, 2]


@pytest.mark.parametrize("count", [5, 9])
def test_permuting_the_masks_permutes_the_answer(count: int) -> None:
    random = np.random.default_rng(count)
    owner = random.integers(0, count, (12, 12)).repeat(8, axis=0).repeat(8, axis=1)
    masks = [owner == index for index in range(count)]
    order = CueOrdering()(PIXELS, masks)
    assert sorted(order) == list(range(count))
    for _ in range(4):
        numbering = random.permutation(count).tolist()
        renumbered = CueOrdering()(PIXELS, [masks[index] for index in numbering])
        assert [numbering[index] for index in renumbered] == order


def test_regions_that_cannot_be_told_apart_keep_an_order_of_their_own() -> None:
    left, right = (ROWS > 40) & (COLUMNS < 20), (ROWS > 40) & (COLUMNS >= SIDE - 20)
    blank = np.zeros_like(PIXELS)
    assert CueOrdering()(blank, [left, right]) == [0, 1]
    assert CueOrdering()(blank, [right, left]) == [1, 0]


def test_cues_are_antisymmetric_and_finite_down_to_single_pixels() -> None:
    dot = np.zeros((SIDE * 4, SIDE * 4), bool)
    dot[3, 5] = True
    large = np.zeros_like(dot)
    large[4:, :] = True
    found = cues([dot, large])
    assert set(found) == set(Cue)
    for values in found.values():
        assert np.isfinite(values).all()
        np.testing.assert_array_equal(values, -values.T)


def test_the_most_probable_order_beats_all_others() -> None:
    random = np.random.default_rng(1).normal(size=(5, 5))
    logits = random - random.T

    def score(order: tuple[int, ...]) -> float:
        return sum(logits[order[b], order[a]] for b in range(5) for a in range(b))

    best = max(permutations(range(5)), key=score)
    assert most_probable(logits) == list(best)


@pytest.mark.parametrize("count", [7, 8, 12])
def test_consistent_judgements_give_their_order(count: int) -> None:
    nearness = np.random.default_rng(count).permutation(count).astype(float)
    found = most_probable(nearness[:, None] - nearness)
    assert found == np.argsort(nearness).tolist()


def test_nothing_and_one_region_are_in_order() -> None:
    assert CueOrdering()(PIXELS, []) == []
    assert CueOrdering()(PIXELS, [disc(40, 40, 9)]) == [0]


def test_median_depth_orders_in_spite_of_outliers() -> None:
    nearness = np.zeros((SIDE, SIDE), np.float32)
    nearness[:48] = 1
    nearness[90:, :20] = 1000
    assert by_nearness(nearness, [ROWS < 40, ROWS > 50]) == [1, 0]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Depth Anything of random weights, saved as a user would have it."""
    folder = tmp_path_factory.mktemp("depth")
    torch.manual_seed(0)
    backbone = Dinov2Config(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
        out_features=["stage1", "stage2"],
        reshape_hidden_states=False,
        apply_layernorm=True,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=16,
        neck_hidden_sizes=[8, 8],
        reassemble_factors=[1, 0.5],
        fusion_hidden_size=8,
        head_hidden_size=8,
    )
    model = DepthAnythingForDepthEstimation(config)
    # A last bias, so that the rectified answer is not flat.
    torch.nn.init.constant_(model.head.conv3.bias, 1.0)
    model.save_pretrained(folder)
    size = {"height": 56, "width": 56}
    DPTImageProcessorPil(size=size, ensure_multiple_of=14).save_pretrained(folder)
    return folder


def test_a_depth_network_from_a_folder_orders(network: Path) -> None:
    masks = [disc(20, 20, 12), disc(70, 30, 12), disc(50, 76, 12)]
    device = torch.device("cpu")
    order = DepthOrdering(network, device=device)(PIXELS, masks)
    contrary = DepthOrdering(network, device=device, scale=Scale.distance)(PIXELS, masks)
    assert sorted(order) == [0, 1, 2]
    assert contrary == order[::-1]


def test_the_config_says_what_large_values_mean() -> None:
    assert scale_of(DepthAnythingConfig(depth_estimation_type="relative")) is Scale.disparity
    assert scale_of(DepthAnythingConfig(depth_estimation_type="metric")) is Scale.distance


def test_a_folder_without_a_network_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DepthFolderError, match=r"model\.safetensors.*ordering=cues") as refusal:
        DepthOrdering(tmp_path / "none", device=torch.device("cpu"))
    assert "\n" not in str(refusal.value)
