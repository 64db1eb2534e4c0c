"""A run gives the same bytes however it is worked, and says what became of every entry."""

import sys
from pathlib import Path

import pytest
from stand_ins import BrokenFactory, Deed, DrawingFactory

from annotator.cluster import Cluster
from annotator.local import Local
from annotator.pipeline import run, summary
from annotator.plan import PlanError, occupied, plan
from annotator.shard import Tally, read_records
from annotator.worker import WorkError
from ldm.storage import read_shard

DEEDS = [
    Deed(key=f"p{i}", befalls=what)
    for i, what in enumerate(["", "", "error", "", "", "refusal", "", "", ""])
]
SETTINGS = "side: 512\nsegmenter: classical\n"


def made(out: Path, deeds: list[Deed] = DEEDS, *, workers: int = 1, **changed: object) -> Tally:
    """A run of drawings."""
    settings = {"settings": SETTINGS, "shard_size": 2} | changed
    return run(deeds, DrawingFactory(), out, engine=Local(workers=workers), **settings)


def contents(out: Path) -> dict[str, bytes]:
    """All files of a run."""
    return {path.name: path.read_bytes() for path in out.iterdir()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run by one worker."""
    out = tmp_path_factory.mktemp("undisturbed")
    made(out)
    return out


def test_every_entry_is_kept_or_refused_by_name(undisturbed: Path) -> None:
    """In their order, in shards of the size asked for; an error is a refusal with its place."""
    shards = [undisturbed / f"shard-{index:06d}.tar" for index in range(5)]
    assert sorted(undisturbed.glob("shard-*.tar")) == shards
    kept = [[sample.key for sample in read_shard(path)] for path in shards]
    assert kept == [["p0", "p1"], ["p3"], ["p4"], ["p6", "p7"], ["p8"]]
    records = [record for path in shards for record in read_records(path)]
    assert [record.key for record in records] == [deed.key for deed in DEEDS]
    refused = {record.key: record.refusals[0] for record in records if record.refusals}
    assert {key: refusal.name for key, refusal in refused.items()} == {
        "p2": "failed",
        "p5": "blurred",
    }
    assert refused["p2"].text.startswith("ValueError: not a picture (stand_ins.py:")
    assert records[5].figures == {"sharpness": 3.0}
    total = summary(undisturbed)
    assert (total.photographs, total.kept, total.refused) == (9, 7, 2)
    assert total.refusals == {"failed": 1, "blurred": 1}


def test_the_number_of_workers_leaves_no_trace(undisturbed: Path, tmp_path: Path) -> None:
    """Two workers write the bytes of one."""
    assert made(tmp_path, workers=2) == summary(undisturbed)
    assert contents(tmp_path) == contents(undisturbed)


def test_a_run_goes_on_where_it_was_stopped(undisturbed: Path, tmp_path: Path) -> None:
    """Shards that are there stay untouched, the others are made, leftovers of ours go."""
    made(tmp_path)
    for name in ("shard-000001.tar", "shard-000003.tar", "shard-000003.jsonl"):
        (tmp_path / name).unlink()
    leftover, foreign = tmp_path / ".shard-000003.tar.17.tmp", tmp_path / "notes.tmp"
    leftover.touch()
    foreign.touch()
    before = (tmp_path / "shard-000000.tar").stat()
    made(tmp_path)
    after = (tmp_path / "shard-000000.tar").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    foreign.unlink()
    assert contents(tmp_path) == contents(undisturbed)


def test_an_entry_that_kills_its_process_is_found(tmp_path: Path) -> None:
    """It is refused and named; its neighbours in the shard are kept."""
    deeds = [Deed(key="a"), Deed(key="b", befalls="death"), Deed(key="c")]
    total = made(tmp_path, deeds, shard_size=3)
    assert (total.kept, total.refusals) == (2, {"crashed": 1})
    (shard,) = tmp_path.glob("*.tar")
    assert [sample.key for sample in read_shard(shard)] == ["a", "c"]
    refusal = read_records(shard)[1].refusals[0]
    assert refusal.text == "its process died: SIGKILL"
    assert not list(tmp_path.glob(".*.tmp"))


def test_another_plan_is_refused(undisturbed: Path) -> None:
    """One line that names the difference; nothing is touched."""
    before = contents(undisturbed)
    others = [*DEEDS[:-1], Deed(key="q")]
    with pytest.raises(PlanError, match=r"settings - side: 512, \+ side: 256") as refusal:
        made(undisturbed, settings=SETTINGS.replace("512", "256"))
    assert "\n" not in str(refusal.value)
    with pytest.raises(PlanError, match="a list of 9 photographs, now 9 others"):
        made(undisturbed, others)
    with pytest.raises(PlanError, match="shard_size 2, now 3"):
        made(undisturbed, shard_size=3)
    with pytest.raises(PlanError, match="threads 1, now 2"):
        made(undisturbed, threads=2)
    assert contents(undisturbed) == before


def test_a_folder_belongs_to_one_run_at_a_time(tmp_path: Path) -> None:
    """A second run is refused while the first goes on."""
    intended = plan(DEEDS, settings=SETTINGS, shard_size=2, threads=1)
    with (
        occupied(tmp_path, intended),
        pytest.raises(PlanError, match="another run is writing here now"),
    ):
        made(tmp_path)


def test_a_maker_that_cannot_be_built_ends_the_run(tmp_path: Path) -> None:
    """It is no fault of the entries: none is refused for it."""
    with pytest.raises(WorkError, match=r"^ValueError: no checkpoint sam\.pth$"):
        run(
            DEEDS,
            BrokenFactory(),
            tmp_path,
            engine=Local(workers=2),
            settings="",
            shard_size=2,
        )
    assert not list(tmp_path.glob("shard-*"))


def test_ray_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, the line to install it."""
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(WorkError, match=r"pip install -e '\.\[cluster\]'"):
        Cluster(actors=1)
