"""The speed of edits is measured, at each size that is asked for."""

import torch

from benchmarks.relate import dragging, figures, scene, transformed
from cldm.config import ModelConfig
from cldm.model import LayerDiffusion
from cldm.relation.learned import LearnedRelation

TIMED = ("edit", "whole", "flatten", "affine")


@torch.no_grad()
def test_every_size_and_peer_is_timed(tiny_model: LayerDiffusion, tiny_config: ModelConfig) -> None:
    found = figures(tiny_model, tiny_config, [32, 48], 2)
    timed = {f"{name}_{size}_ms" for name in TIMED for size in (32, 48)}
    assert set(found) == timed | {"diffusion_step_ms"}
    assert all(0 < each.low <= each.value <= each.high for each in found.values())
    assert all(
        found[f"flatten_{size}_ms"].low < found[f"whole_{size}_ms"].high for size in (32, 48)
    )


def test_the_peer_maps_colours_where_the_mask_is() -> None:
    rgb = torch.rand(1, 3, 6, 8)
    mask = (torch.arange(8) < 4).float().expand(1, 1, 6, 8)
    swap = [0.0, 1, 0, 1, 0, 0, 0, 0, 2, 0, 0, 0.1]  # red for green, twice the blue, and a tenth
    low = torch.tensor(swap)[None, :, None, None].expand(-1, -1, 4, 4)
    red, green, blue = rgb.unbind(1)
    swapped = torch.stack([green, red, 2 * blue + 0.1], dim=1)
    torch.testing.assert_close(transformed(rgb, mask, low), torch.where(mask > 0, swapped, rgb))


def test_a_step_of_dragging_shows_the_moved_layer(tiny_model: LayerDiffusion) -> None:
    network = tiny_model.relation
    assert isinstance(network, LearnedRelation)
    drag = dragging(network, scene(100))
    still, moved = drag().clone(), drag()
    assert not torch.equal(still, moved)
    assert torch.equal(still, drag())
