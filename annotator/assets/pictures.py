"""Chosen pictures, taken out of their packages with the credit of each."""

import hashlib
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

from annotator.assets.credits import (
    Credit,
    from_copyright,
    from_kde_metadata,
    from_package_json,
    from_readme,
)
from annotator.assets.fetch import Unpacked
from annotator.assets.rcc import members
from annotator.assets.selection import Choice
from ldm.storage import Provenance

_FOLDERS = {
    "endless-sky-data": "usr/share/games/endless-sky",
    "fluent-emoji-3d": "package/assets",
    "gcompris-qt-data": "usr/share/gcompris-qt/rcc",
    "mate-backgrounds": "usr/share/backgrounds/mate",
    "plasma-workspace-wallpapers": "usr/share/wallpapers",
    "tuxpaint-data": "usr/share/tuxpaint",
    "tuxpaint-stamps-default": "usr/share/tuxpaint/stamps",
}
_NPM = "fluent-emoji-3d"


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A chosen file's bytes, still encoded, and where they come from."""

    choice: Choice
    version: str
    credit: Credit
    content: bytes

    @property
    def key(self) -> str:
        """A name for shards, unique over all packages."""
        stem = PurePosixPath(self.choice.path).with_suffix("")
        letters = (c if c.isascii() and c.isalnum() else "_" for c in f"{self._prefix}/{stem}")
        return "".join(letters)

    @property
    def sha256(self) -> str:
        """The digest of the file's bytes."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def provenance(self) -> Provenance:
        """Where the pixels come from, for the shard."""
        return Provenance(
            source=f"{self._registry} {self.choice.package} {self.version}: {self.choice.path}",
            licence=self.credit.licence,
            author=self.credit.author,
            note=self.credit.source,
        )

    @property
    def _registry(self) -> str:
        return "npm" if self.choice.package == _NPM else "Debian"

    @property
    def _prefix(self) -> str:
        return self.choice.package.split("-")[0]


def pictures(choices: Iterable[Choice], packages: Mapping[str, Unpacked]) -> Iterator[Picture]:
    """Each choice's file, in their order; `packages` maps a package's name to where it lies.

    A file that a package (of another version) lacks, or gives no licence for, is left out, and a
    warning names it.
    """
    for choice in choices:
        try:
            yield _picture(choice, packages[choice.package])
        except FileNotFoundError as error:
            warnings.warn(f"left out: {error}", stacklevel=2)


def _picture(choice: Choice, package: Unpacked) -> Picture:
    folder = package.root / _FOLDERS[choice.package]
    if choice.package == "gcompris-qt-data":
        content = _archived(folder, choice.path)
    else:
        content = (folder / choice.path).read_bytes()
    credit = _credit(package, folder, choice.path)
    return Picture(choice=choice, version=package.version, credit=credit, content=content)


def _archived(folder: Path, path: str) -> bytes:
    archive, _, inside = path.partition("/")
    content = _archive(folder / f"{archive}.rcc").get(_resource(archive, inside))
    if content is None:
        raise FileNotFoundError(f"{folder / archive}.rcc holds no {inside}")
    return content


# Choices from one archive stand together in the lists, so a few archives are enough.
@lru_cache(maxsize=2)
def _archive(path: Path) -> Mapping[str, bytes]:
    return dict(members(path))


def _resource(archive: str, inside: str) -> str:
    return f"gcompris/src/activities/{archive}/resource/{inside}"


def _credit(package: Unpacked, folder: Path, path: str) -> Credit:
    if package.name == "gcompris-qt-data":
        return _readme_credit(folder, path)
    if package.name == "plasma-workspace-wallpapers":
        return from_kde_metadata(folder / path.split("/")[0] / "metadata.json")
    if package.name == _NPM:
        return from_package_json(package.root / "package" / "package.json")
    text = (package.root / "usr/share/doc" / package.name / "copyright").read_text("utf-8")
    return _known(from_copyright(text, PurePosixPath(path)), path)


def _readme_credit(folder: Path, path: str) -> Credit:
    archive, _, inside = path.partition("/")
    resources = _archive(folder / f"{archive}.rcc")
    # The README lies beside the file or in a folder above it.
    for parent in PurePosixPath(inside).parents:
        readme = resources.get(_resource(archive, str(parent / "README")))
        if readme is not None:
            file = PurePosixPath(inside).relative_to(parent)
            return _known(from_readme(readme.decode("utf-8"), file), path)
    return _known(None, path)


def _known(credit: Credit | None, path: str) -> Credit:
    if credit is None or not credit.licence:
        raise FileNotFoundError(f"the package names no licence for {path}")
    return credit
