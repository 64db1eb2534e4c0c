"""Laws of the assets: archives open, the split holds, the lists are whole, refusals are clear."""

import io
import shutil
import struct
import tarfile
import zlib
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
from PIL import Image

from annotator.assets.backdrops import backdrop
from annotator.assets.credits import Credit, from_copyright, from_package_json, from_readme
from annotator.assets.cutouts import cutout
from annotator.assets.fetch import PACKAGES, FetchError, Package, sha256_of, unpack
from annotator.assets.npm import NPM_PACKAGES, NpmPackage, unpack_npm
from annotator.assets.pictures import Picture
from annotator.assets.rcc import RccError, members
from annotator.assets.selection import (
    Choice,
    Split,
    chosen_backdrops,
    chosen_cutouts,
    chosen_scenery_backdrops,
    chosen_scenery_cutouts,
    split,
)

FIXTURES = Path(__file__).parents[1] / "fixtures"
NEVER = ("lomiri", "palapeli", "data/erase/", "clickgame", "blender-data")


def archive(version: int) -> bytes:
    """A Qt archive of `a/plain.txt` and, packed with zlib, `b.txt`, laid out by hand."""
    texts = ["a", "plain.txt", "b.txt"]
    names = [struct.pack(">HI", len(t), 0) + t.encode("utf-16-be") for t in texts]
    name_at = [sum(map(len, names[:i])) for i in range(len(names))]
    packed = struct.pack(">I", 5) + zlib.compress(b"beta!")
    data = struct.pack(">I", 5) + b"alpha" + struct.pack(">I", len(packed)) + packed
    changed = b"" if version == 1 else bytes(8)
    nodes = [
        struct.pack(">IHII", 0, 2, 2, 1),
        struct.pack(">IHII", name_at[0], 2, 1, 3),
        struct.pack(">IHHHI", name_at[2], 1, 0, 0, 9),
        struct.pack(">IHHHI", name_at[1], 0, 0, 0, 0),
    ]
    tree = b"".join(node + changed for node in nodes)
    start = 20 if version < 3 else 24
    offsets = (start, start + len(tree), start + len(tree) + len(data))
    header = b"qres" + struct.pack(">4I", version, *offsets) + bytes(start - 20)
    return header + tree + data + b"".join(names)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_archives_of_every_version_open(tmp_path: Path, version: int):
    file = tmp_path / "small.rcc"
    file.write_bytes(archive(version))
    assert list(members(file)) == [("a/plain.txt", b"alpha"), ("b.txt", b"beta!")]


def test_what_is_no_archive_is_refused_in_one_line(tmp_path: Path):
    file = tmp_path / "bad.rcc"
    for content in (b"", b"PK" * 40, archive(4), archive(2)[:60], archive(2)[:-3]):
        file.write_bytes(content)
        with pytest.raises(RccError, match=r"^[^\n]*bad\.rcc[^\n]*$"):
            list(members(file))


def test_the_split_is_stable_and_about_fifteen_percent():
    families = [f"family{i}" for i in range(4000)]
    held_out = sum(split(family) is Split.VALIDATION for family in families)
    assert 0.13 < held_out / len(families) < 0.17
    # From sha256sum: "penguin" starts with 0x0a, "lion" with 0xfc; the border is 0x26.
    assert (split("penguin"), split("lion")) == (Split.VALIDATION, Split.TRAIN)


@pytest.mark.parametrize("family", ["gnu", "lion", "apple", "frog", "cep", "guitar"])
def test_pictures_of_one_thing_share_a_family(family: str):
    stems = [PurePosixPath(c.path).stem.lower() for c in chosen_cutouts() if c.family == family]
    named = [c for c in chosen_cutouts() if PurePosixPath(c.path).stem.lower().startswith(family)]
    assert len(stems) >= 2
    assert {c.family for c in named if "fish" not in c.path} == {family}


LISTS = [chosen_cutouts, chosen_backdrops, chosen_scenery_cutouts, chosen_scenery_backdrops]


@pytest.mark.parametrize("chosen", LISTS)
def test_allow_lists_are_whole_and_keep_their_hands_off_the_acceptance_pictures(chosen):
    choices: tuple[Choice, ...] = chosen()
    assert len({(c.package, c.path) for c in choices}) == len(choices)
    assert {c.package for c in choices} <= {p.name for p in (*PACKAGES, *NPM_PACKAGES)}
    for choice in choices:
        assert choice.caption.strip(" .!?") == choice.caption
        assert not any(word in f"{choice.package}/{choice.path}" for word in NEVER)


@pytest.mark.parametrize("chosen", [chosen_cutouts, chosen_backdrops])
def test_what_prompts_are_learned_from_is_told_apart_by_its_captions(chosen):
    choices: tuple[Choice, ...] = chosen()
    assert len({c.caption for c in choices}) == len(choices)


def test_further_things_to_make_scenes_of_are_in_no_other_list():
    measured = {(c.package, c.path) for c in (*chosen_cutouts(), *chosen_backdrops())}
    further = {(c.package, c.path) for chosen in LISTS[2:] for c in chosen()}
    assert not measured & further
    assert all(c.ground for c in chosen_scenery_backdrops())


def test_a_missing_package_or_tool_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    package = Package(name="no-such", version="1:2-3", sha256="0" * 64)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(FetchError, match=r"^apt-get is missing[^\n]*no-such=1:2-3[^\n]*$"):
        unpack(package, cache=tmp_path)
    (tmp_path / package.file_name).write_bytes(b"another file")
    with pytest.raises(FetchError, match=r"^[^\n]*not the file known as no-such 1:2-3$"):
        unpack(package, cache=tmp_path)


def test_another_version_is_taken_with_a_warning_that_names_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    package = Package(name="thing", version="1", sha256="0" * 64)
    monkeypatch.setattr("annotator.assets.fetch._download", lambda what, cache: False)
    with pytest.raises(FetchError, match="apt-get finds no thing"):
        unpack(package, cache=tmp_path)
    (tmp_path / "thing_2_all.deb").touch()
    (tmp_path / "unpacked" / "thing_2_all").mkdir(parents=True)
    with pytest.warns(UserWarning, match=r"thing 1 .* thing_2_all\.deb"):
        assert unpack(package, cache=tmp_path).version == "2"


def test_an_npm_package_is_verified_and_unpacked_once(tmp_path: Path):
    source = tmp_path / "package.json"
    source.write_text('{"author": "A", "description": "B", "license": "MIT", "homepage": "c"}')
    tarball = tmp_path / "thing-1.tgz"
    with tarfile.open(tarball, "w:gz") as members:
        members.add(source, "package/package.json")
    package = NpmPackage(scope="a", name="thing", version="1", sha256=sha256_of(tarball))
    with pytest.raises(FetchError, match=r"^[^\n]*not the file known as thing 1$"):
        unpack_npm(replace(package, sha256="0" * 64), cache=tmp_path)
    found = unpack_npm(package, cache=tmp_path)
    assert from_package_json(found.root / "package" / "package.json").licence == "MIT"
    (found.root / "mark").touch()
    assert (unpack_npm(package, cache=tmp_path).root / "mark").exists()


def test_an_npm_registry_out_of_reach_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("annotator.assets.npm._REGISTRY", "http://127.0.0.1:9")
    with pytest.raises(FetchError, match=r"^[^\n]*put fluent-emoji-3d-1.1.0.tgz into [^\n]*$"):
        unpack_npm(NPM_PACKAGES[0], cache=tmp_path)
    assert not list(tmp_path.glob("*.tgz"))


def picture(file: str, *, ground: bool = False) -> Picture:
    choice = Choice(package="some-data", path=file, caption="a thing", family="f", ground=ground)
    credit = Credit(author="NASA", licence="Public Domain", source="")
    content = (FIXTURES / file).read_bytes()
    return Picture(choice=choice, version="1", credit=credit, content=content)


def test_a_cutout_is_cropped_to_what_can_be_seen():
    layer = cutout(picture("jupiter.png")).layers[0]
    alpha = layer.rgba[..., 3]
    assert layer.prompt == "a thing"
    assert layer.provenance.licence == "Public Domain"
    assert all(edge.max() >= 8 for edge in (alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]))


def test_a_backdrop_is_whole_opaque_and_at_most_512_pixels():
    large = io.BytesIO()
    Image.new("RGB", (1200, 300), "teal").save(large, "png")
    photograph = picture("sheep.jpg", ground=True)
    assert backdrop(photograph).layers[0].rgba[..., 3].min() == 255
    assert "ground" in backdrop(photograph).tags
    shrunk = backdrop(replace(photograph, content=large.getvalue()))
    assert shrunk.layers[0].rgba.shape == (128, 512, 4)


def test_credits_are_read_from_the_texts_that_packages_carry():
    readme = (
        "Copyright: A\nLicense: CC0-1.0\nSource: https://a\nFiles:\n  x/a.webp\n\nCopyright: B\n"
    )
    found = from_readme(readme, PurePosixPath("x/a.webp"))
    assert found == Credit(author="A", licence="CC0-1.0", source="https://a")
    assert found.is_free
    assert from_readme(readme, PurePosixPath("a.webp")) is None
    stanzas = "Files: *\nCopyright: B\nLicense: GPL-2+\n\nFiles: n/c.jpg\n n/d.jpg\nCopyright: C\n"
    text = stanzas + "License: LGPL-2\n the text of it\n"
    found = from_copyright(text, PurePosixPath("n/d.jpg"))
    assert found == Credit(author="C", licence="LGPL-2", source="")
    assert not found.is_free
