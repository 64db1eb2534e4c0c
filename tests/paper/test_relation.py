"""Laws of the relation network's figures."""

import math
from pathlib import Path

import pytest
import torch

from annotator.scenes.supply import Supply
from cldm.relation.learned import LearnedRelation
from ldm.mistake import MistakeError
from paper import relation
from paper.relation import figures, networks, rendered_scenes
from paper.result import ratio


def test_figures_compare_edits_with_rigid_ones_of_the_same_kind() -> None:
    found = figures(
        {
            "edit_error": [1.0, 2.0],
            "edit_error_moved": [1.0],
            "edit_error_added": [2.0],
            "left_behind.edit_error": [4.0, 4.0],
            "rigid.edit_error": [2.0, 8.0],
            "rigid.edit_error_moved": [2.0],
            "rigid.edit_error_added": [8.0],
            "light.azimuth_error_deg": [10.0],
        }
    )
    assert {name: figure.value for name, figure in found.items()} == {
        "edit_error": 1.5,
        "edit_error_vs_rigid": 0.3,
        "edit_error_vs_rigid_moved": 0.5,
        "edit_error_vs_rigid_added": 0.25,
        "left_behind.edit_error": 4.0,
        "left_behind.edit_error_vs_rigid": 0.8,
        "rigid.edit_error": 5.0,
        "light.azimuth_error_deg": 10.0,
    }
    assert found["light.azimuth_error_deg"].unit == "degrees"


def test_nothing_is_compared_with_no_error_at_all() -> None:
    found = figures({"edit_error_removed": [1.0], "rigid.edit_error_removed": [0.0]})
    assert found == {}


def test_a_ratio_is_sure_where_all_scenes_agree() -> None:
    sure = ratio([1.0, 2.0, 3.0], [2.0, 4.0, 6.0])
    assert (sure.value, sure.low, sure.high) == (0.5, 0.5, 0.5)
    # By hand: residuals -1, 1; deviation root 2; over the mean 2 and root 2.
    unsure = ratio([1.0, 3.0], [2.0, 2.0])
    assert unsure.value == 1
    assert math.isclose(unsure.high - 1, 1.96 / 2)


def test_without_test_scenes_one_line_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(relation, "TEST", tmp_path / "none")
    with pytest.raises(MistakeError, match="found no such folder, expected that of make"):
        rendered_scenes(Supply(cutouts=torch.zeros(1, 4, 8, 8), backdrops=()))


def test_networks_are_measured_as_they_answer() -> None:
    found = networks(Path("models/relation_graph.safetensors"))
    assert found.keys() == {"", "graph."}
    for network in found.values():
        assert isinstance(network, LearnedRelation)
        assert not network.training
