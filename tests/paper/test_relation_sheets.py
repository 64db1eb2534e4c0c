"""Laws of the sheets of test scenes."""

from pathlib import Path

import torch
from PIL import Image
from relation_scenes import LEFT, RIGHT, SIZE, boxes_on_back, scene

from cldm.relation.network import PlainStacking
from ldm.values import identity_effects
from paper.relation_sheets import reflection, row, shade, write_sheets


def test_sheets_hold_six_scenes_each_and_the_five_worst(tmp_path: Path) -> None:
    scenes = [scene(LEFT, RIGHT)] * 8
    write_sheets(tmp_path / "new", scenes, [float(gain) for gain in range(8)], PlainStacking())
    sizes = {path.name: Image.open(path).size for path in (tmp_path / "new").iterdir()}
    width, height = 7 * (SIZE + 8) + 8, SIZE + 8 + 16
    assert sizes == {
        "scenes_1.png": (width, 6 * height + 8),
        "scenes_2.png": (width, 2 * height + 8),
        "worst.png": (width, 5 * height + 8),
    }


def test_a_row_shows_the_plain_stack_beside_the_truth() -> None:
    cells = dict(row(scene(LEFT), "3: ", -1.5, PlainStacking()))
    assert "ours, -1.5 dB" in cells
    torch.testing.assert_close(cells["3: plain"], cells["ours, light given"])
    assert (cells["truth"] - cells["3: plain"]).abs().max() > 0.1


def test_neutral_effects_are_white_light_and_no_mirror() -> None:
    layers = boxes_on_back(LEFT)
    effects = identity_effects(layers)
    torch.testing.assert_close(shade(layers, effects), torch.ones(1, 3, SIZE, SIZE))
    torch.testing.assert_close(reflection(effects), torch.full((1, 3, SIZE, SIZE), 0.5))
