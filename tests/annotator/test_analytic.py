"""Laws of analytic scenes: known truth within its ranges, objects on the ground, repeatable."""

from pathlib import Path

import numpy as np
import torch
from torch import Generator
from torch.utils.data import DataLoader

from annotator.scenes.analytic import scenes
from annotator.scenes.dataset import AnalyticScenes, read_backdrops, read_cutouts
from ldm.projection import lowest_row
from ldm.scene import Scene
from ldm.storage import Provenance, Sample, StoredLayer, write_shard

SIZE = 48


def cutouts(count: int) -> torch.Tensor:
    """Soft discs in random colours, `[count 4 32 32]`."""
    grid = (torch.arange(32) + 0.5) / 16 - 1
    disc = ((0.9 - (grid[:, None].square() + grid.square()).sqrt()) * 8).clamp(0, 1)
    colour = torch.rand(count, 3, 1, 1, generator=Generator().manual_seed(1)).expand(-1, -1, 32, 32)
    return torch.cat([colour, disc.expand(count, 1, -1, -1)], dim=1)


def some_scenes(batch: int = 6) -> Scene:
    """A batch of scenes with up to three discs."""
    generator = Generator().manual_seed(0)
    backdrops = torch.rand(batch, 3, SIZE, SIZE, generator=generator)
    return scenes(cutouts(3 * batch).unflatten(0, (batch, 3)), backdrops, generator)


def supply(num_batches: int = 4) -> AnalyticScenes:
    """A small supply of scenes."""
    return AnalyticScenes(
        cutouts=cutouts(5),
        backdrops=[torch.rand(3, 60, 80, generator=Generator().manual_seed(2))],
        size=SIZE,
        batch_size=2,
        num_objects=2,
        num_batches=num_batches,
        seed=3,
    )


def test_effects_keep_their_ranges() -> None:
    effects = some_scenes().effects
    for effect in (effects.multiply, effects.add, effects.shadow, effects.reflection):
        assert effect.amin() >= 0
        assert effect.amax() <= 1


def test_back_and_absent_slots_stay_as_they_are() -> None:
    scene = some_scenes()
    still = ~scene.layers.present
    still[:, 0] = True
    assert bool(still[:, 1:].any())
    assert (scene.effects.multiply[still] == 1).all()
    assert (scene.effects.add[still] == 0).all()
    assert (scene.effects.shadow[still] == 1).all()
    assert (scene.effects.reflection[still].split([3, 1], dim=1)[1] == 0).all()


def test_objects_stand_on_the_ground_the_near_ones_last() -> None:
    layers = some_scenes(24).layers
    bottom = lowest_row(layers.alpha)[:, 1:]
    seen = layers.present[:, 1:] & (layers.alpha[:, 1:] > 0.5).flatten(2).any(dim=-1)
    assert (bottom[seen] > 0.5).all()
    both = seen[:, 0] & seen[:, 1]
    assert (bottom[both, 1] >= bottom[both, 0] - 1 / SIZE).all()


def test_every_scene_has_an_object_and_its_shadow() -> None:
    scene = some_scenes()
    assert scene.layers.present[:, 1].all()
    assert (scene.effects.shadow.amin(dim=(1, 2, 3, 4)) < 0.9).all()


def test_some_floors_mirror_and_most_do_not() -> None:
    coverage = some_scenes(48).effects.reflection.split([3, 1], dim=2)[1]
    mirrors = coverage.amax(dim=(1, 2, 3, 4)) > 0.1
    assert 0.15 < mirrors.float().mean() < 0.5


def test_batches_depend_on_seed_and_number_not_on_workers() -> None:
    alone = list(supply())
    shared = list(DataLoader(supply(), batch_size=None, num_workers=2))
    for one, other in zip(alone, shared, strict=True):
        assert torch.equal(one.layers.rgba, other.layers.rgba)
        assert torch.equal(one.effects.shadow, other.effects.shadow)
    assert not torch.equal(alone[0].layers.rgba, alone[1].layers.rgba)


def stored(key: str, tags: tuple[str, ...]) -> Sample:
    """A wide box on a larger canvas as it lies in a shard."""
    rgba = np.full((10, 20, 4), 255, dtype=np.uint8)
    provenance = Provenance(source="test", licence="CC0", author="test", note="")
    layer = StoredLayer(rgba=rgba, prompt="a box", provenance=provenance)
    return Sample(key=key, layers=(layer,), tags=tags)


def test_cutouts_that_can_stand_stand_on_their_canvas(tmp_path: Path) -> None:
    shard = tmp_path / "cutouts.tar"
    write_shard(shard, [stored("box", ("cutout",)), stored("fish", ("category:animals/fish",))])
    found = read_cutouts(shard, side=32)
    assert found.shape == (1, 4, 32, 32)
    assert (found[0, 3, 16:] == 1).all()
    assert (found[0, 3, :15] == 0).all()


def test_backdrops_are_those_with_a_ground(tmp_path: Path) -> None:
    shard = tmp_path / "backdrops.tar"
    write_shard(shard, [stored("meadow", ("backdrop", "ground")), stored("sky", ("backdrop",))])
    assert [tuple(backdrop.shape) for backdrop in read_backdrops(shard)] == [(3, 10, 20)]
