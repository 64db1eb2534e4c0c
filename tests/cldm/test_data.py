"""Laws of training data: canvases, cached latents, scenes of them, masks as people draw them."""

from dataclasses import fields
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from subjects import backdrops, cutouts, planet, stored, write_data

from cldm.build import build_autoencoder
from cldm.condition import frames_of
from cldm.config import ModelConfig
from cldm.data import (
    Assets,
    CanvasDataset,
    DataError,
    backdrop_canvas,
    cutout_canvas,
    read_assets,
    scattered_canvas,
    shards_of,
    tensor_of,
)
from cldm.examples import ExampleDataset, Examples
from cldm.latents import LatentCache, cached_latents
from cldm.roughening import Roughness, rough_mask, simplified
from ldm.compositing import place_masks
from ldm.storage import Sample, write_shard
from ldm.text import Tokenizer

ASSETS = Assets(cutouts=cutouts(), backdrops=backdrops())


def random(seed: int = 0) -> np.random.Generator:
    """A source of chance."""
    return np.random.default_rng(seed)


def test_opaque_layers_are_backdrops(tmp_path: Path) -> None:
    data = write_data(tmp_path)
    found = read_assets([data / "train" / "backdrops.tar", data / "train" / "cutouts.tar"])
    assert [layer.prompt for layer in found.backdrops] == ["horses", "pyramid"]
    assert [layer.prompt for layer in found.cutouts] == ["jupiter", "a slice of duck"]


def test_layers_of_whole_pictures_are_cut_to_what_is_seen(tmp_path: Path) -> None:
    whole = np.zeros((50, 70, 4), np.uint8)
    whole[10:20, 30:65] = (9, 8, 7, 200)
    layer = stored(tensor_of(whole), "a bar")
    write_shard(tmp_path / "shard.tar", [Sample(key="a", layers=(layer,), tags=())])
    with pytest.raises(DataError, match="1 cut-outs and 0 backdrops"):
        read_assets(shards_of(tmp_path))
    write_shard(tmp_path / "more.tar", [Sample(key="b", layers=(ASSETS.backdrops[0],), tags=())])
    (found,) = read_assets(shards_of(tmp_path)).cutouts
    assert np.array_equal(found.rgba, whole[10:20, 30:65])


def test_a_folder_without_shards_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found no shards"):
        shards_of(tmp_path)


@pytest.mark.parametrize("size", [64, 160])
def test_a_cut_out_fills_its_canvas_and_is_not_cut(size: int) -> None:
    disc = np.zeros((91, 91, 4), np.uint8)
    cv2.circle(disc, (45, 45), 44, (200, 100, 50, 255), -1, cv2.LINE_AA)
    layer, chance = stored(tensor_of(disc), "disc"), random()
    for _ in range(20):
        alpha = cutout_canvas(layer, chance, size).rgba[..., 3]
        rows, columns = np.nonzero(alpha > 127)
        extent = max(np.ptp(rows), np.ptp(columns)) + 1
        assert 0.66 * size < extent <= size
        assert abs(np.ptp(rows) - np.ptp(columns)) <= 1
        assert max(alpha[[0, -1]].max(), alpha[:, [0, -1]].max()) < 128


def test_one_colour_stays_one_colour_under_soft_alpha() -> None:
    colour = torch.tensor([0.8, 0.4, 0.2])[:, None, None].expand(3, 80, 80)
    layer = stored(torch.cat([colour, planet(80)[3:]]), "tinted")
    canvas = cutout_canvas(layer, random(), 48).rgba
    seen = canvas[canvas[..., 3] > 25][:, :3].astype(int)
    assert np.abs(seen - layer.rgba[40, 40, :3].astype(int)).max() <= 3


def test_backdrops_stay_opaque_and_keep_their_colours() -> None:
    plain = np.full((50, 70, 4), (10, 20, 30, 255), np.uint8)
    canvas = backdrop_canvas(stored(tensor_of(plain), "plain"), random(), 32)
    assert canvas.opaque
    assert (canvas.rgba == plain[:32, :32]).all()


def test_backdrops_show_their_middle_and_are_never_mirrored() -> None:
    ramp = np.full((60, 100, 4), 255, np.uint8)
    ramp[..., 0] = 2 * np.arange(100)
    canvases = [
        backdrop_canvas(stored(tensor_of(ramp), "ramp"), random(seed), 32) for seed in range(9)
    ]
    for canvas in canvases:
        row = canvas.rgba[0, :, 0].astype(int)
        assert (np.diff(row) > 0).all()
        assert abs(row.mean() - 99) < 8
    assert len({canvas.rgba.tobytes() for canvas in canvases}) > 1


def test_canvases_are_endless_and_repeat_with_their_seed() -> None:
    first, again, other = (
        torch.stack(list(islice(CanvasDataset(ASSETS, size=32, seed=seed), 12)))
        for seed in (1, 1, 2)
    )
    assert first.shape == (12, 1, 4, 32, 32)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    opaque = (first[:, 0, 3] == 1).flatten(1).all(dim=1)
    assert 0 < int(opaque.sum()) < 12


@pytest.fixture
def cache(tiny_config: ModelConfig, tmp_path: Path) -> LatentCache:
    """Latents of all assets, three variations of each."""
    return made(tiny_config, tmp_path / "run" / "latents.safetensors")


def made(config: ModelConfig, path: Path, framed: bool = True) -> LatentCache:
    """The cache at a path, by an autoencoder made anew."""
    torch.manual_seed(0)
    return cached_latents(
        path,
        ASSETS,
        build_autoencoder(config).eval(),
        Tokenizer(config.text.length),
        size=config.canvas,
        variations=3,
        framed=framed,
    )


def test_latents_are_made_once(
    tiny_config: ModelConfig, cache: LatentCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cache.cutouts.latents.shape == (6, 4, 8, 8)
    assert cache.backdrops.alpha.shape == (6, 32, 32)
    assert (cache.backdrops.alpha == 255).all()
    expected = Tokenizer(8)(["jupiter"])[0]
    assert torch.equal(cache.cutouts.tokens[0], expected)
    monkeypatch.setattr("cldm.latents._encoded", None)
    again = made(tiny_config, tmp_path / "run" / "latents.safetensors")
    for part in ("cutouts", "backdrops"):
        for field in fields(again.cutouts):
            first, second = (getattr(getattr(c, part), field.name) for c in (cache, again))
            assert torch.equal(first, second)


def examples(cache: LatentCache, seed: int = 0) -> list[Examples]:
    """Some batches."""
    dataset = ExampleDataset(cache, batch_size=8, num_slots=3, picture=64, seed=seed)
    return list(islice(dataset, 3))


def test_scenes_are_one_backdrop_and_cut_outs_before_it(cache: LatentCache) -> None:
    for batch in examples(cache):
        present, area = batch.condition.masks.present, batch.condition.masks.area
        assert batch.latents.shape == (8, 3, 4, 8, 8)
        assert present[:, 0].all()
        assert (area[:, 0] == 1).all()
        assert not area[~present].any()
        assert not batch.weight[~present].any()
        assert (batch.weight[present] > 0).all()
        box = batch.condition.frames.box
        assert torch.equal(box[:, 0], torch.tensor([0.0, 0, 1, 1]).expand(8, 4))
        side = box[:, 1:, 2:] - box[:, 1:, :2]
        torch.testing.assert_close(side[..., 0], side[..., 1])
        assert (side > 0.19).all()
        assert (side < 0.96).all()


def test_without_frames_scenes_are_of_whole_pictures(
    packed_config: ModelConfig, tmp_path: Path
) -> None:
    whole = made(packed_config, tmp_path / "whole.safetensors", packed_config.has_frames)
    for batch in examples(whole):
        masks = batch.condition.masks
        assert torch.equal(batch.condition.frames.box, frames_of(masks, packed_config).box)
    solid = whole.cutouts.alpha > 127
    assert solid.flatten(1).float().mean(dim=1).max() < 0.9
    same_size = ExampleDataset(whole, batch_size=8, num_slots=3, picture=32, seed=0).first()
    asked = same_size.condition.masks.area[:, 1:].flatten(0, 1)
    exact = (asked[:, None] == solid).flatten(2).all(dim=2).any(dim=1)
    assert exact.sum() > 2


def test_a_scattered_cut_out_stands_anywhere() -> None:
    chance = random()
    alphas = [scattered_canvas(ASSETS.cutouts[0], chance, 64).rgba[..., 3] for _ in range(40)]
    centres = np.array([np.argwhere(alpha > 127).mean(axis=0) for alpha in alphas])
    shares = np.array([(alpha > 127).mean() for alpha in alphas])
    assert (np.ptp(centres, axis=0) > 30).all()
    assert shares.max() > 6 * shares.min() > 0


def test_masks_lie_inside_their_frames(cache: LatentCache) -> None:
    for batch in examples(cache):
        full = place_masks(torch.ones(8, 3, 32, 32), batch.condition.frames, (64, 64))
        assert (batch.condition.masks.area <= full + 1e-6).all()


def test_scenes_repeat_with_their_seed(cache: LatentCache) -> None:
    first, again, other = (examples(cache, seed)[-1] for seed in (1, 1, 2))
    assert torch.equal(first.latents, again.latents)
    assert torch.equal(first.condition.masks.area, again.condition.masks.area)
    assert not torch.equal(first.latents, other.latents)


@pytest.mark.parametrize("kind", Roughness)
def test_rough_masks_cover_what_they_should(kind: Roughness) -> None:
    solid = np.pad(planet(44)[3].numpy() > 0.5, 10)
    solid[:, 40:] &= np.arange(64)[:, None] > 30
    found = simplified(solid, kind, random())
    covered = (found[solid] == 1).mean()
    assert set(np.unique(found)) == {0, 1}
    assert covered > 0.9
    if kind is Roughness.EXACT:
        assert np.array_equal(found, solid)
    if kind in (Roughness.DILATED, Roughness.HULL, Roughness.BOX):
        assert covered == 1
    if kind is Roughness.BOX:
        rows, columns = np.nonzero(solid)
        assert found.sum() == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
    if kind is Roughness.HULL:
        assert simplified(found > 0, kind, random()).sum() < 1.03 * found.sum()


@pytest.mark.parametrize("kind", Roughness)
def test_nothing_stays_nothing(kind: Roughness) -> None:
    assert not simplified(np.zeros((9, 9), bool), kind, random()).any()


def test_a_faint_cut_out_has_a_mask_too() -> None:
    faint = np.zeros((16, 16), np.uint8)
    faint[4:9, 4:9] = 30
    chance = random()
    assert all(rough_mask(faint, chance)[4:9, 4:9].mean() > 0.5 for _ in range(20))
