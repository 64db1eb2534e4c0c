"""The speed of edits is measured, at each size that is asked for."""

import pytest
import torch

from benchmarks.relate import figures, scene, transformed
from cldm.config import ModelConfig
from cldm.model import LayerDiffusion


@torch.no_grad()
def test_every_size_and_peer_is_timed(tiny_model: LayerDiffusion, tiny_config: ModelConfig) -> None:
    found = figures(tiny_model, tiny_config, [32, 48], 2)
    timed = {f"{name}_{size}_ms" for name in ("edit", "flatten", "affine") for size in (32, 48)}
    assert set(found) == timed | {"diffusion_step_ms"}
    assert all(0 < each.low <= each.value <= each.high for each in found.values())
    assert all(found[f"flatten_{size}_ms"].low < found[f"edit_{size}_ms"].high for size in (32, 48))


def test_the_peer_maps_colours_where_the_mask_is() -> None:
    rgb = torch.rand(1, 3, 6, 8)
    mask = (torch.arange(8) < 4).float().expand(1, 1, 6, 8)
    swap = [0.0, 1, 0, 1, 0, 0, 0, 0, 2, 0, 0, 0.1]  # red for green, twice the blue, and a tenth
    low = torch.tensor(swap)[None, :, None, None].expand(-1, -1, 4, 4)
    red, green, blue = rgb.unbind(1)
    swapped = torch.stack([green, red, 2 * blue + 0.1], dim=1)
    torch.testing.assert_close(transformed(rgb, mask, low), torch.where(mask > 0, swapped, rgb))


def test_a_moved_layer_moves_and_the_others_stay() -> None:
    still, moved = scene(40, 0.0), scene(40, 0.1)
    assert torch.equal(moved.rgba[:, :3], still.rgba[:, :3])
    torch.testing.assert_close(moved.alpha[:, 3], still.alpha[:, 3].roll(4, -1))
    assert still.alpha[:, 1:].amax(dim=(0, 2, 3, 4)).tolist() == pytest.approx([1, 1, 1])
