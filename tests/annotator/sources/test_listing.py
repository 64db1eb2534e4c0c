"""Laws of listings: what is there is listed once, in order, and opens to what it was."""

import csv
import gzip
import re
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from photographs import HEIGHT, LIMITS, WIDTH, check_opens, pack, png, store
from pyarrow import parquet

from annotator.opening import photograph
from annotator.refusal import PhotographError, Reason
from annotator.sources.entry import SourceError, unique_keys
from annotator.sources.folder import folder_entries
from annotator.sources.named import named_entries
from annotator.sources.shard import shard_entries
from annotator.sources.table import list_entries
from ldm.storage import DamagedShardWarning


def test_keys_are_plain_unique_and_know_nothing_of_other_pictures():
    names = ["a/b.jpg", "a_b.jpg", "c d.png", "x/é.jpg", "x/è.jpg", "", "last.tar.jpg"]
    keys = unique_keys(names)
    assert len(set(keys)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", key) for key in keys if key)
    assert (keys[2], keys[6]) == ("c_d", "last_tar")
    assert unique_keys(names[::-1]) == keys[::-1]


def test_a_folder_lists_its_pictures_in_order(tmp_path: Path):
    store(
        tmp_path,
        {
            "b.png": png(1),
            "b.txt": "  A boat  \nand more",
            "a/z.PNG": png(2),
            "a/deep/c.jpg": png(3),
            "notes.txt": "no picture",
            "table.csv": "path",
            ".hidden.png": png(4),
            ".cache/d.png": png(5),
        },
    )
    entries = folder_entries(tmp_path)
    assert [entry.name for entry in entries] == ["a/deep/c.jpg", "a/z.PNG", "b.png"]
    assert [entry.caption for entry in entries] == ["", "", "A boat"]
    check_opens(entries, 3, 2, 1)


def test_what_has_gone_is_refused_when_it_is_opened(tmp_path: Path):
    store(tmp_path, {"a.png": png(1)})
    [entry] = folder_entries(tmp_path)
    (tmp_path / "a.png").unlink()
    with pytest.raises(PhotographError, match=r"^a\.png: cannot be read \(No such file") as caught:
        photograph(entry, LIMITS)
    assert caught.value.reason is Reason.MISSING


COLUMNS = {
    "path": ["p/two.png", "one.png", "p/two.png", "gone.png", None],
    "TEXT": ["A two,\nin lines", "", "A double", "7", "no file"],
    "LICENSE": ["CC0", None, "?", "", ""],
    "URL": ["http://two", "", "", "", ""],
}


def write_table(path: Path, columns: dict[str, list[Any]]) -> Path:
    if path.suffix == ".parquet":
        parquet.write_table(pyarrow.table(columns), path)
    else:
        with path.open("w", newline="", encoding="utf-8-sig") as stream:
            writer = csv.writer(stream)
            writer.writerows([list(columns), *zip(*columns.values(), strict=True)])
    return path


@pytest.mark.parametrize("name", ["list.csv", "list.parquet"])
def test_tables_list_their_pictures(tmp_path: Path, name: str):
    store(tmp_path, {"one.png": png(1), "p/two.png": png(2)})
    unnamed, gone, one, two = list_entries(write_table(tmp_path / name, COLUMNS))
    check_opens([one, two], 1, 2)
    assert (two.caption, two.key) == ("A two, in lines", "p_two")
    assert (two.provenance.licence, two.provenance.source) == ("CC0", "http://two")
    assert (one.provenance.licence, one.provenance.source) == ("", "one.png")
    for entry in (unnamed, gone):
        with pytest.raises(PhotographError, match="cannot be read") as caught:
            photograph(entry, LIMITS)
        assert caught.value.reason is Reason.MISSING


@pytest.mark.parametrize("column", ["file", "file_name", "image_path", "Path"])
@pytest.mark.parametrize("name", ["list.csv", "list.parquet"])
def test_a_paths_column_goes_by_several_names(tmp_path: Path, column: str, name: str):
    store(tmp_path, {"007.png": png(7)})
    table = write_table(tmp_path / name, {"x": [1], column: ["007.png"], "Caption": ["seven"]})
    entries = list_entries(table)
    check_opens(entries, 7)
    assert entries[0].caption == "seven"


@pytest.mark.parametrize("name", ["list.csv", "list.parquet"])
def test_a_table_without_paths_says_what_it_found(tmp_path: Path, name: str):
    table = write_table(tmp_path / name, {"TEXT": ["a"], "hash": ["b"]})
    expected = rf"{name}: no column of paths .*path, file, .*found TEXT, hash$"
    with pytest.raises(SourceError, match=expected):
        list_entries(table)


@pytest.mark.parametrize("name", ["list.csv", "list.parquet"])
def test_what_is_no_table_is_refused_in_one_line(tmp_path: Path, name: str):
    (tmp_path / name).write_bytes(b"path\n\xff\xfe\n")
    with pytest.raises(SourceError, match=rf"\A[^\n]*{name}: is no [^\n]*\Z"):
        list_entries(tmp_path / name)


ABOUT = b'{"caption": "from JSON", "url": "http://a", "license": "CC0", "author": "Ann"}'


def shard(path: Path) -> Path:
    files = {"a.png": png(1), "a.txt": b"A text", "a.json": ABOUT, "d/b.PNG": png(2)}
    return pack(path, {**files, "d/b.json": ABOUT, "c.cls": b"3", "e.seg.png": png(4)})


def test_shards_list_their_pictures_without_unpacking(tmp_path: Path):
    first, second = shard(tmp_path / "00.tar"), pack(tmp_path / "01.tar", {"a.png": png(3)})
    entries = shard_entries([second, first])
    check_opens(entries, 1, 2, 3)
    assert [entry.name for entry in entries] == ["00/a", "00/d/b", "01/a"]
    assert [entry.caption for entry in entries] == ["A text", "from JSON", ""]
    assert entries[0].provenance.author == "Ann"
    assert entries[1].provenance.licence == "CC0"
    assert entries[1].provenance.source == "http://a"


# A member takes a block of 512 bytes and its content's blocks.
@pytest.mark.parametrize("end", [700, 512, 100])
def test_of_a_truncated_shard_the_rest_is_listed(tmp_path: Path, end: int):
    tar = pack(tmp_path / "00.tar", {"a.png": png(1), "b.png": png(2)})
    member = 512 + -(-len(png(1)) // 512) * 512
    tar.write_bytes(tar.read_bytes()[: member + end])
    with pytest.warns(DamagedShardWarning, match=r"left out 1 damaged: 00\.tar: "):
        check_opens(shard_entries([tar]), 1)


def test_a_broken_header_and_broken_json_are_warned_of(tmp_path: Path):
    tar = pack(tmp_path / "00.tar", {"a.png": png(1), "a.json": b"{", "b.png": png(2)})
    content = bytearray(tar.read_bytes())
    start = content.index(b"b.png")
    content[start : start + 300] = bytes(range(150)) * 2
    tar.write_bytes(content)
    with pytest.warns(DamagedShardWarning, match=rf"2 damaged: .*beyond byte {start}; .*a\.json"):
        check_opens(shard_entries([tar]), 1)


@pytest.mark.parametrize("content", [b"", b"no tar at all", gzip.compress(bytes(2000))])
def test_what_is_no_tar_is_refused_in_one_line(tmp_path: Path, content: bytes):
    (tmp_path / "00.tar").write_bytes(content)
    with pytest.raises(SourceError, match=r"\A[^\n]*00\.tar: is no uncompressed tar[^\n]*\Z"):
        shard_entries([tmp_path / "00.tar"])


def instances(name: str) -> dict[str, Any]:
    image = {"id": 1, "file_name": name, "height": HEIGHT, "width": WIDTH}
    annotation = {"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}
    categories = [{"id": 1, "name": "cat"}]
    return {"images": [image], "annotations": [annotation], "categories": categories}


@pytest.mark.parametrize(
    "files",
    [
        {"annotations/instances.json": instances("a.png"), "images/a.png": png(1)},
        {"annotations/instances_train.json": instances("a.png"), "images/a.png": png(1)},
        {"annotations/instances_train.json": instances("a.png"), "images/train/a.png": png(1)},
        {"annotations/instances_train.json": instances("a.png"), "train/a.png": png(1)},
    ],
)
def test_a_coco_folder_is_recognised(tmp_path: Path, files: dict[str, Any]):
    entries = named_entries([store(tmp_path, files)])
    check_opens(entries, 1)
    assert [mark.label for mark in photograph(entries[0], LIMITS).marks] == ["cat"]


def test_both_splits_of_coco_are_listed_with_their_captions(tmp_path: Path):
    captions = {"annotations": [{"image_id": 1, "caption": "A sentence"}]}
    for name, seed in (("train", 1), ("val", 2)):
        store(tmp_path, {f"annotations/instances_{name}.json": instances("a.png")})
        store(tmp_path, {f"{name}/a.png": png(seed)})
    store(tmp_path, {"annotations/captions_val.json": captions})
    entries = named_entries([tmp_path])
    check_opens(entries, 1, 2)
    assert [entry.caption for entry in entries] == ["", "A sentence"]


def test_every_kind_of_source_is_recognised(tmp_path: Path):
    store(tmp_path, {"pictures/a.png": png(1), "shards/x.txt": ""})
    table = write_table(tmp_path / "list.csv", {"path": ["pictures/a.png"]})
    tar = pack(tmp_path / "shards/00.tar", {"a.png": png(1)})
    picture = tmp_path / "pictures/a.png"
    for named in (picture, picture.parent, table, tar, tar.parent):
        check_opens(named_entries([named]), 1)
    check_opens(named_entries([tar, pack(tmp_path / "01.tar", {"a.png": png(2)})]), 2, 1)


@pytest.mark.parametrize(
    ("names", "line"),
    [
        ([], r"nothing named: expected a folder"),
        (["nowhere"], r"nowhere: does not exist"),
        (["a.doc"], r"a\.doc: expected a folder, a COCO folder, "),
        (["empty"], r"empty: holds no photographs"),
        (["empty", "a.doc"], r"empty, .*a\.doc: expected a folder"),
        (["coco"], r"instances_x\.json: no folder of its pictures \(.*coco/x, .*images"),
        (["both"], r"images/a\.png: is listed by more than one"),
    ],
)
def test_anything_else_is_refused_in_one_line(tmp_path: Path, names: list[str], line: str):
    store(tmp_path, {"a.doc": "text", "empty/readme.txt": "nothing"})
    store(tmp_path, {"coco/annotations/instances_x.json": instances("a.png")})
    for split in ("1", "2"):
        store(tmp_path, {f"both/annotations/instances_{split}.json": instances("a.png")})
    store(tmp_path, {"both/images/a.png": png(1)})
    with pytest.raises(SourceError, match=rf"\A[^\n]*{line}[^\n]*\Z"):
        named_entries([tmp_path / name for name in names])
