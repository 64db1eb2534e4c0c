"""Laws of the supply: what stands, where its foot is, which tint a backdrop has."""

from pathlib import Path

import numpy as np
import torch

from annotator.scenes.supply import Supply, read_supply
from ldm.storage import Provenance, Sample, StoredLayer, write_shard


def stored(key: str, tags: tuple[str, ...]) -> Sample:
    """A wide box as it lies in a shard."""
    rgba = np.full((10, 20, 4), 255, dtype=np.uint8)
    provenance = Provenance(source="test", licence="CC0", author="test", note="")
    layer = StoredLayer(rgba=rgba, prompt="a box", provenance=provenance)
    return Sample(key=key, layers=(layer,), tags=tags)


def test_supply_is_what_can_stand_and_what_has_a_ground(tmp_path: Path) -> None:
    cutouts = [stored("box", ("cutout",)), stored("fish", ("category:animals/fish",))]
    write_shard(tmp_path / "cutouts.tar", cutouts)
    backdrops = [stored("meadow", ("backdrop", "ground")), stored("sky", ("backdrop",))]
    write_shard(tmp_path / "backdrops.tar", backdrops)
    supply = read_supply(tmp_path, side=32)
    assert [tuple(backdrop.shape) for backdrop in supply.backdrops] == [(3, 10, 20)]
    assert supply.cutouts.shape == (1, 4, 32, 32)
    assert (supply.cutouts[0, 3, 16:] == 1).all()
    assert (supply.cutouts[0, 3, :15] == 0).all()
    assert supply.outlines == ((0.0, 0.5, 1.0, 1.0),)


def test_tint_is_that_of_the_bright_parts() -> None:
    backdrop = torch.zeros(3, 8, 8)
    backdrop[2] = 0.1
    backdrop[0, :, :4] = 0.9
    supply = Supply(cutouts=torch.zeros(1, 4, 4, 4), backdrops=(backdrop,))
    red, green, blue = supply.tints[0]
    assert red > blue >= green
    assert abs(red + green + blue - 3) < 1e-5
