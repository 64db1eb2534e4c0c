"""A finished picture as a folder: each layer, documents for painting programs, the composite."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ldm.document import Document, flatten
from ldm.export.draft import draft_folder
from ldm.export.ora import write_ora
from ldm.export.png import write_picture
from ldm.export.psd import write_psd
from ldm.mistake import MistakeError
from ldm.values import Layers

PSD = "document.psd"
_COMPOSITE = "composite.png"


class OutputError(MistakeError):
    """A folder that cannot be written to; its text is one line for a person."""


def require_writable(out: Path) -> None:
    """Raise OutputError when `out` holds something that is not ours to replace, is no folder, or
    lies where nothing can be written."""
    if out.exists() and not out.is_dir():
        raise OutputError(f"output {out}: found a file, expected a folder")
    if out.exists() and any(out.iterdir()) and not (out / _COMPOSITE).exists():
        raise OutputError(f"output {out}: holds other files, expected a new or an empty folder")
    nearest = next(folder for folder in out.absolute().parents if folder.exists())
    try:
        # Tried, not asked: permissions say nothing of read-only and virtual file systems.
        TemporaryDirectory(dir=nearest).cleanup()
    except OSError as error:
        raise OutputError(
            f"output {out}: {nearest} cannot be written ({error.strerror})"
        ) from error


@contextmanager
def finished_folder(
    out: Path,
    *,
    layers: Layers,
    names: Sequence[str],
    document: Document,
    text: Mapping[str, str],
) -> Generator[Path, None, None]:
    """Write the folder `out` whole or not at all; an earlier one there is replaced.

    Yields where it is being written, for what else belongs to it. `text` goes into the composite's
    PNG chunks.
    """
    require_writable(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with draft_folder(out) as folder:
        for slot, name in enumerate(names):
            write_picture(layers.rgba[:, slot], folder / f"layer_{slot:02d}_{_safe(name)}.png", {})
        write_psd(document, folder / PSD)
        write_ora(document, folder / "document.ora")
        write_picture(flatten(document), folder / _COMPOSITE, text)
        yield folder


def _safe(name: str) -> str:
    """A name as part of a file's name."""
    return "".join(letter if letter.isalnum() else "_" for letter in name)[:40]
