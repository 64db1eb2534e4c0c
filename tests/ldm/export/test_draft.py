"""Files appear whole or not at all."""

import errno
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from ldm.export.draft import draft, draft_folder


def interrupt(drafted: AbstractContextManager[Path], error: BaseException) -> None:
    """Write something, then fail."""
    with drafted as temporary:
        (temporary / "new" if temporary.is_dir() else temporary).write_text("ne")
        raise error


def test_success_puts_the_file_in_place(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with draft(tmp_path / "a") as temporary:
        temporary.write_text("new")
        assert (tmp_path / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "new"


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_an_interrupted_file_leaves_the_old_one(tmp_path: Path, error: BaseException) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(type(error)):
        interrupt(draft(tmp_path / "a"), error)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "old"


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_an_interrupted_folder_leaves_the_old_one(tmp_path: Path, error: BaseException) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "old").touch()
    with pytest.raises(type(error)):
        interrupt(draft_folder(tmp_path / "a"), error)
    assert [path.name for path in tmp_path.rglob("*")] == ["a", "old"]


def test_errors_name_the_file_that_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    wanted = tmp_path / "file" / "a.png"
    with pytest.raises(NotADirectoryError, match=r"a\.png'$"), draft(wanted) as temporary:
        temporary.write_text("new")
    with pytest.raises(NotADirectoryError, match=r"a\.png'$"), draft_folder(wanted):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
