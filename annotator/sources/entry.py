"""`Entry`: a photograph that has been listed but not opened yet."""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from annotator.refusal import PhotographError, Reason
from annotator.sources.annotation import Annotation
from ldm.mistake import MistakeError
from ldm.storage import Provenance

# What is taken for a picture by its name; what it is is seen when it is opened.
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif")


class SourceError(MistakeError):
    """Photographs that cannot be listed; the text is one line that names the file."""


@dataclass(frozen=True, kw_only=True)
class Extent:
    """Where a picture's bytes lie: `length` of them from `offset` on; -1 reads to the end, as in
    `read`. So a member of a tar opens in any process without unpacking."""

    path: Path
    offset: int = 0
    length: int = -1

    def read(self) -> bytes:
        """The bytes. Errors: `OSError`, or `ValueError` for a path that no file can have."""
        with self.path.open("rb") as stream:
            stream.seek(self.offset)
            return stream.read(self.length)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A photograph to be opened.

    `key` is unique in its listing and made of letters, digits, `_` and `-`; `name` is what people
    call it, a path below the source; `caption` may be empty.
    """

    key: str
    name: str
    extent: Extent
    caption: str
    annotations: tuple[Annotation, ...]
    provenance: Provenance

    def content(self) -> bytes:
        """The encoded bytes. Errors: `PhotographError` when they cannot be read."""
        try:
            return self.extent.read()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise PhotographError(
                Reason.MISSING, f"{self.name}: cannot be read ({reason})"
            ) from error


def unique_keys(names: Sequence[str]) -> list[str]:
    """A key for each name, which differ: the path without its suffix, other characters as `_`.

    Names whose keys would be equal get 16 digits of their SHA-256 as well.
    """
    plain = [re.sub(r"[^A-Za-z0-9_-]", "_", os.path.splitext(name)[0]) for name in names]
    uses = Counter(plain)
    return [
        key if uses[key] == 1 else f"{key}_{_digest(name)}"
        for key, name in zip(plain, names, strict=True)
    ]


def one_line(text: object) -> str:
    """Text from a file as one line that can be written as UTF-8; `None` is empty."""
    known = "" if text is None else str(text)
    return " ".join(known.encode("utf-8", "replace").decode("utf-8").split())


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
