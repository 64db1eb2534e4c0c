"""Layered files of any kind that we read, told apart by what they are called and hold."""

from pathlib import Path

from ldm.document import Document
from ldm.export.folder import PSD
from ldm.export.ora import read_ora
from ldm.export.png import MANIFEST, read_png_folder
from ldm.export.psd import read_psd
from ldm.mistake import MistakeError

_READERS = {".psd": read_psd, ".ora": read_ora}


class LayeredFileError(MistakeError):
    """A layered file that cannot be read; its text is one line for a person."""


def read_layered(path: Path) -> Document:
    """Read a PSD, an OpenRaster file, a folder of PNG files with `layers.json`, or a finished
    folder of ours (its `document.psd`).

    Raises LayeredFileError for what is none of them or is broken, `OSError` for what is missing.
    """
    if path.is_dir() and not (path / MANIFEST).exists():
        if not (path / PSD).exists():
            raise LayeredFileError(f"{path}: found neither {MANIFEST} nor {PSD} in it")
        path = path / PSD
    reader = read_png_folder if path.is_dir() else _READERS.get(path.suffix.lower())
    if reader is None:
        raise LayeredFileError(f"{path}: expected a .psd or .ora file, or a folder")
    try:
        return reader(path)
    except ValueError as error:
        raise LayeredFileError(" ".join(str(error).split())) from error
