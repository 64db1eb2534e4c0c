"""What `render_scenes.py` refuses, in one line each."""

import json
from pathlib import Path

import pytest

pytest.importorskip("mitsuba", reason="the extra `rendered` is not installed")

from ldm.settings import ConfigError
from render_scenes import RenderConfig, keep_to, listed, read_settings


@pytest.fixture
def split(tmp_path: Path) -> str:
    """A folder that looks like a split."""
    for name in ("cutouts.tar", "backdrops.tar"):
        (tmp_path / name).touch()
    return str(tmp_path)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], "OUT"),
        (["nowhere", "out", "scenes=1"], "cutouts.tar"),
        (["SPLIT", "out"], "scenes="),
        (["SPLIT", "out", "scenes=-1"], "scenes: found -1"),
        (["SPLIT", "out", "scenes=1", "size=4"], "size: found 4"),
        (["SPLIT", "out", "scenes=1", "workers=0"], "workers: found 0"),
        (["SPLIT", "out", "scnes=1"], "Did you mean: 'scenes'"),
        (["SPLIT", "out", "scenes=many"], "many"),
    ],
)
def test_wrong_arguments_are_one_line(split: str, words: list[str], named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_settings([split if word == "SPLIT" else word for word in words])
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_keeps_to_what_it_was_made_from(tmp_path: Path) -> None:
    path = tmp_path / "out" / "rendering.json"
    keep_to(path, RenderConfig(scenes=3), "abc")
    keep_to(path, RenderConfig(scenes=3, workers=5), "abc")
    with pytest.raises(ConfigError, match="size: found 128, expected 256"):
        keep_to(path, RenderConfig(scenes=3, size=256), "abc")
    with pytest.raises(ConfigError, match="supply: found abc, expected def"):
        keep_to(path, RenderConfig(scenes=3), "def")
    older = json.loads(path.read_text())
    del older["edition"]
    path.write_text(json.dumps(older))
    with pytest.raises(ConfigError, match="edition: found None, expected"):
        keep_to(path, RenderConfig(scenes=3), "abc")


def test_shards_hold_every_number_once(tmp_path: Path) -> None:
    shards = listed(tmp_path, tmp_path, RenderConfig(scenes=130, edits=40))
    numbers = {content: [] for content in {shard.content for shard in shards}}
    for shard in shards:
        numbers[shard.content] += list(shard.numbers)
    assert sorted(map(len, numbers.values())) == [40, 130]
    assert all(found == list(range(len(found))) for found in numbers.values())
    assert len({shard.path for shard in shards}) == len(shards) == 5
