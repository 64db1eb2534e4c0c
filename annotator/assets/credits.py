"""Who made a picture and under which licence, read from the texts that packages carry."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

_FREE = ("public domain", "cc0")
# "Name: value", or "Name:" alone with indented lines after it.
_FIELD = re.compile(r"^(Copyright|Licen[sc]e|Source|Files|Comment|Upstream-\w+|Format):\s*(.*)$")


@dataclass(frozen=True, kw_only=True)
class Credit:
    """Author, licence and, where known, the address of the original."""

    author: str
    licence: str
    source: str

    @property
    def is_free(self) -> bool:
        """Whether the licence asks for nothing: public domain or CC0."""
        return self.licence.lower().startswith(_FREE)


def from_readme(text: str, file: PurePosixPath) -> Credit | None:
    """The credit of `file` (relative to the README) in a gcompris README; None if not named."""
    for stanza in re.split(r"\n\s*\n", text):
        if str(file) in (line.strip() for line in stanza.splitlines()):
            return _credit(_fields(stanza))
    return None


def from_copyright(text: str, file: PurePosixPath) -> Credit | None:
    """The credit of `file` in a debian/copyright file: the last stanza that matches holds."""
    found: Credit | None = None
    for stanza in re.split(r"\n\s*\n", text):
        fields = _fields(stanza)
        if any(fnmatch(str(file), pattern) for pattern in fields.get("Files", "").split()):
            found = _credit(fields)
    return found


def from_kde_metadata(path: Path) -> Credit:
    """The credit of a KDE wallpaper, from its `metadata.json`."""
    about: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["KPlugin"]
    authors = ", ".join(author["Name"] for author in about.get("Authors", []))
    return Credit(author=authors, licence=about.get("License", ""), source="")


def from_package_json(path: Path) -> Credit:
    """The credit of all pictures of an npm package, from its `package.json`."""
    about: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    author = f"{about['author']}; {about['description']}"
    return Credit(author=author, licence=about["license"], source=about["homepage"])


def _fields(stanza: str) -> Mapping[str, str]:
    fields: dict[str, str] = {}
    name = ""
    for line in stanza.splitlines():
        match = _FIELD.match(line)
        if match:
            name = match[1].replace("Licence", "License")
            fields[name] = match[2].strip()
        elif name and not (name == "License" and fields[name]):
            # The licence's first line is its name; its text may follow.
            fields[name] = f"{fields[name]} {line.strip()}".strip()
    return fields


def _credit(fields: Mapping[str, str]) -> Credit:
    return Credit(
        author=fields.get("Copyright", ""),
        licence=fields.get("License", ""),
        source=fields.get("Source", fields.get("Comment", "")),
    )
