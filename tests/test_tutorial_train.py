"""One whole tiny run of the door that trains, from its words to the weights."""

import sys
from pathlib import Path

import pytest
from subjects import write_data

import tutorial_train
from cldm.build import build_relation
from cldm.config import read_config
from ldm.checkpoint import load_weights

# Lightning remarks on workers and lengths that are as they should be.
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def asked(folder: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    """Train a step of the relation stage with the words of a command line."""
    recipe = {"num_steps": 1, "rendered_steps": 0, "closed_form_batches": 1, "batch_size": 1}
    given = [f"training.relation.{key}={value}" for key, value in recipe.items()]
    folders = [f"data={folder / 'data'}", f"folder={folder / 'run'}", f"scenes={folder / 'scenes'}"]
    line = ["tutorial_train.py", "stage=relation", *folders, *given, "picture_every=1", *words]
    monkeypatch.setattr(sys, "argv", line)
    tutorial_train.main()


def test_a_relation_network_learns_from_the_scenery(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_data(tmp_path / "data")
    asked(tmp_path, monkeypatch)
    network = build_relation(read_config(Path(tutorial_train.settings.model)).relation)
    load_weights(network, tmp_path / "run" / "relation.safetensors")
    assert (tmp_path / "run" / "relation" / "pictures" / "000001.png").is_file()


def test_without_rendered_scenes_one_line_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_data(tmp_path / "data")
    with pytest.raises(ValueError, match="found no shard, expected some: make scenes"):
        asked(tmp_path, monkeypatch, "training.relation.rendered_steps=1")
