"""Files appear whole or not at all: written under another name, then put in their place."""

import os
import secrets
import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def draft(path: Path) -> Generator[Path, None, None]:
    """A temporary name beside `path`; what is written there becomes `path` on success.

    On any error nothing is left behind and an older `path` stays as it was. Raises `OSError` naming
    `path` when the folder cannot be written or the disk is full.
    """
    temporary = _sibling(path)
    try:
        with _errors_naming(path):
            yield temporary
            os.replace(temporary, path)
    finally:
        # Where nothing could be written there is nothing to take away.
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def draft_folder(path: Path) -> Generator[Path, None, None]:
    """A temporary folder beside `path`; it becomes `path` on success, in place of an older one.

    On any error nothing is left behind and the older folder stays as it was. Raises `OSError`
    naming `path` when its parent cannot be written or the disk is full.
    """
    temporary, older = _sibling(path), _sibling(path)
    try:
        with _errors_naming(path):
            temporary.mkdir()
            yield temporary
            if path.exists():
                os.replace(path, older)
            os.replace(temporary, path)
    except BaseException:
        if older.exists():
            os.replace(older, path)
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(older, ignore_errors=True)


def _sibling(path: Path) -> Path:
    return path.with_name(f".{secrets.token_hex(6)}.part")


@contextmanager
def _errors_naming(path: Path) -> Generator[None, None, None]:
    """Errors of the file system speak of the file that was asked for."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
