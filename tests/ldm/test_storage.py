"""Laws of storage: what goes in comes out, bytes are reproducible, damage is skipped and named."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from ldm.storage import (
    DamagedShardWarning,
    Provenance,
    Sample,
    StoredLayer,
    read_shard,
    write_shard,
)

PROVENANCE = Provenance(source="a source", licence="CC0-1.0", author="Ä. Nonymous", note="")


def layer(seed: int, prompt: str) -> StoredLayer:
    rgba = np.random.default_rng(seed).integers(0, 256, (5, 7, 4), dtype=np.uint8)
    rgba[:, :3, 3] = 0
    return StoredLayer(rgba=rgba, prompt=prompt, provenance=PROVENANCE)


def sample(key: str) -> Sample:
    return Sample(key=key, layers=(layer(0, "a lawn"), layer(1, "a cat")), tags=("ground", "x:y"))


def test_round_trip_keeps_everything_even_colour_under_alpha_zero(tmp_path: Path):
    shard = tmp_path / "new" / "shard.tar"
    assert write_shard(shard, [sample("a"), sample("b")]) == 2
    for read, written in zip(read_shard(shard), [sample("a"), sample("b")], strict=True):
        assert (read.key, read.tags) == (written.key, written.tags)
        for got, put in zip(read.layers, written.layers, strict=True):
            assert np.array_equal(got.rgba, put.rgba)
            assert (got.prompt, got.provenance) == (put.prompt, put.provenance)


def test_equal_samples_give_equal_bytes(tmp_path: Path):
    for name in ("one.tar", "two.tar"):
        write_shard(tmp_path / name, [sample("a")])
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


def test_a_failed_write_leaves_the_old_shard_and_nothing_else(tmp_path: Path):
    shard = tmp_path / "shard.tar"
    write_shard(shard, [sample("a")])
    before = shard.read_bytes()
    with pytest.raises(ValueError, match="used twice"):
        write_shard(shard, [sample("b"), sample("b")])
    with pytest.raises(ValueError, match="only letters"):
        write_shard(shard, [sample("../up.json")])
    assert shard.read_bytes() == before
    assert list(tmp_path.iterdir()) == [shard]


@pytest.mark.parametrize("damaged", ["b.json", "b.layer01.png"])
@pytest.mark.parametrize("content", [b"", b"not what it says", None])
def test_a_damaged_member_costs_one_sample(tmp_path: Path, damaged: str, content: bytes | None):
    shard, spoiled = tmp_path / "shard.tar", tmp_path / "spoiled.tar"
    write_shard(shard, [sample("a"), sample("b"), sample("c")])
    with tarfile.open(shard) as good, tarfile.open(spoiled, "w") as bad:
        for member in good.getmembers():
            add_member(good, bad, member, content if member.name == damaged else b"keep")
    with pytest.warns(DamagedShardWarning, match=r"skipped 1 damaged: b \("):
        assert [s.key for s in read_shard(spoiled)] == ["a", "c"]


def add_member(
    good: tarfile.TarFile, bad: tarfile.TarFile, member: tarfile.TarInfo, content: bytes | None
) -> None:
    """Copy a member; with `None` leave it out, with anything but b"keep" put that in its place."""
    source = good.extractfile(member)
    if content is None or source is None:
        return
    payload = source.read() if content == b"keep" else content
    member.size = len(payload)
    bad.addfile(member, io.BytesIO(payload))


def test_a_tar_cut_short_gives_what_stands_before_the_cut(tmp_path: Path):
    shard = tmp_path / "shard.tar"
    write_shard(shard, [sample("a"), sample("b"), sample("c")])
    with tarfile.open(shard) as tar:
        cut = tar.getmember("c.layer01.png").offset_data + 9
    shard.write_bytes(shard.read_bytes()[:cut])
    with pytest.warns(DamagedShardWarning, match="the tar itself"):
        assert [s.key for s in read_shard(shard)][:2] == ["a", "b"]
