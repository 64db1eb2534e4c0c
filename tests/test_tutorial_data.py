"""The door from photographs to shards: what is kept, what is refused, resumed, learned from."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from subjects import FIXTURES

import tutorial_data
from annotator.record import Record
from annotator.shard import read_records, shard_paths
from cldm.build import build_model
from cldm.config import ModelConfig, RunConfig
from cldm.training.fitting import fit
from cldm.training.stage import prepare_layers
from ldm.checkpoint import save_weights
from ldm.mistake import MistakeError
from ldm.storage import Sample, read_shard

NAMES = ("duck", "horses", "sheep")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three small photographs, one with a caption, and a file that is none."""
    folder = tmp_path_factory.mktemp("photographs")
    for name in NAMES:
        Image.open(FIXTURES / f"{name}.jpg").resize((200, 150)).save(folder / f"{name}.jpg")
    (folder / "duck.txt").write_text("a duck on water\nmore", encoding="utf-8")
    (folder / "broken.jpg").write_bytes((folder / "duck.jpg").read_bytes()[:900])
    return folder


def run(photographs: Path, out: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    """The door, in this process; the work is done in others."""
    settings = ["decomposer.long_side=160", "shard_size=2", "validation=0.25", "workers=1"]
    given = [f"photographs=[{photographs}]", f"out={out}", *settings, *words]
    monkeypatch.setattr(sys, "argv", ["tutorial_data.py", *given])
    tutorial_data.main()


@pytest.fixture(scope="module")
def made(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    out = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as monkeypatch:
        run(photographs, out, monkeypatch)
    return out


def shards(out: Path) -> list[Path]:
    """Of both splits."""
    return [path for split in ("train", "validation") for path in shard_paths(out / split)]


def records(out: Path) -> dict[str, Record]:
    """What became of each photograph."""
    return {record.key: record for path in shards(out) for record in read_records(path)}


def samples(out: Path) -> dict[str, Sample]:
    """What was kept."""
    return {sample.key: sample for path in shards(out) for sample in read_shard(path)}


def test_each_photograph_is_kept_or_refused_by_name(made: Path, photographs: Path) -> None:
    found, kept = records(made), samples(made)
    assert set(found) == {*NAMES, "broken"}
    assert [refusal.name for refusal in found["broken"].refusals] == ["damaged"]
    assert set(kept) == {key for key, record in found.items() if record.kept}
    assert "duck" in kept
    assert (made / "validation" / "shard-000000.tar").exists()
    for key, sample in kept.items():
        pixels = np.asarray(Image.open(photographs / f"{key}.jpg")).astype(float)
        back, *others = sample.layers
        assert (back.rgba[..., 3] == 255).all()
        assert others
        stacked = back.rgba[..., :3].astype(float)
        for layer in others:
            alpha = layer.rgba[..., 3:] / 255
            stacked = alpha * layer.rgba[..., :3] + (1 - alpha) * stacked
        small = Image.fromarray(pixels.astype(np.uint8)).resize((160, 120), Image.Resampling.BOX)
        assert np.abs(stacked - np.asarray(small)).mean() < 5
        assert f"{key}.jpg" in back.provenance.source
        assert "classical" in back.provenance.note
    assert kept["duck"].layers[0].prompt == "a duck on water"


def test_the_report_shows_them(made: Path) -> None:
    page = (made / "report.html").read_text(encoding="utf-8")
    assert "broken.jpg" in page
    assert page.count("<img") > len(samples(made))


def test_a_second_run_does_nothing_and_others_are_refused(
    made: Path, photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in shards(made)}
    run(photographs, made, monkeypatch)
    assert before == {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in before}
    with pytest.raises((MistakeError, OSError), match="num_regions"):
        run(photographs, made, monkeypatch, "decomposer.num_regions=2")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_shards_are_learned_from(made: Path, tiny_config: ModelConfig, tmp_path: Path) -> None:
    base = tmp_path / "base.safetensors"
    save_weights(build_model(tiny_config), base)
    given = RunConfig(
        data=str(made), folder=str(tmp_path / "run"), begin=str(base), precision="32-true"
    )
    (written,) = fit(prepare_layers(tiny_config, given), given)
    assert written.is_file()


def test_categories_and_captions_of_coco_are_prompts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, annotations = tmp_path / "coco" / "some", tmp_path / "coco" / "annotations"
    images.mkdir(parents=True)
    annotations.mkdir()
    Image.open(FIXTURES / "duck.jpg").resize((200, 150)).save(images / "7.jpg")
    picture = {"id": 7, "file_name": "7.jpg", "width": 200, "height": 150}
    outline = [[50, 40, 150, 40, 150, 110, 50, 110]]
    mark = {"id": 1, "image_id": 7, "category_id": 3, "segmentation": outline, "iscrowd": 0}
    instances = {
        "images": [picture],
        "annotations": [mark | {"bbox": [50, 40, 100, 70]}],
        "categories": [{"id": 3, "name": "duck"}],
    }
    captions = {"images": [picture], "annotations": [{"image_id": 7, "caption": "a pond"}]}
    (annotations / "instances_some.json").write_text(json.dumps(instances))
    (annotations / "captions_some.json").write_text(json.dumps(captions))
    (tmp_path / "mine.yaml").write_text("decomposer: {num_regions: 2}")
    words = (str(tmp_path / "mine.yaml"), "validation=0")
    run(tmp_path / "coco", tmp_path / "out", monkeypatch, *words)
    plan = json.loads((tmp_path / "out" / "train" / "plan.json").read_text())
    assert "num_regions: 2" in plan["settings"]
    (sample,) = samples(tmp_path / "out").values()
    assert [layer.prompt for layer in sample.layers] == ["a pond", "duck"]
    covered = sample.layers[1].rgba[..., 3] > 127
    centre = np.argwhere(covered).mean(axis=0) / covered.shape
    assert np.abs(centre - 0.5).max() < 0.1


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("photographs=[nowhere]", "nowhere"),
        ("photographs=[]", "expected a folder"),
        ("workers=0", "workers: found 0, expected 1 or more"),
        ("validation=2", "validation: found 2"),
        ("engin=ray", "engin"),
        ("no.yaml", "no.yaml"),
        ("decomposer.segmenter=sam", "sam_vit_b_01ec64.pth"),
    ],
)
def test_mistakes_are_said_in_one_line(
    word: str, said: str, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises((MistakeError, OSError)) as error:
        run(photographs, tmp_path / "out", monkeypatch, word)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()
