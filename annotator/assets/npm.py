"""npm packages: fetched by exact version from the registry, verified, unpacked."""

import tarfile
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from annotator.assets.fetch import FetchError, Unpacked, sha256_of
from ldm.export.draft import draft, draft_folder

_REGISTRY = "https://registry.npmjs.org"
_PATIENCE = 60  # seconds


@dataclass(frozen=True, kw_only=True)
class NpmPackage:
    """A package of the npm registry, known by the SHA-256 of its tarball."""

    scope: str
    name: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        """The name of the tarball."""
        return f"{self.name}-{self.version}.tgz"

    @property
    def address(self) -> str:
        """Where the registry has the tarball."""
        return f"{_REGISTRY}/@{self.scope}/{self.name}/-/{self.file_name}"


NPM_PACKAGES = (
    NpmPackage(
        scope="lobehub",
        name="fluent-emoji-3d",
        version="1.1.0",
        sha256="c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58",
    ),
)


def unpack_npm(package: NpmPackage, *, cache: Path) -> Unpacked:
    """The package, unpacked below `cache`; downloads and unpacks only what is not there yet.

    Errors: `FetchError` when the registry cannot be reached, or the file is not the one known.
    """
    cache.mkdir(parents=True, exist_ok=True)
    tarball, root = cache / package.file_name, cache / "unpacked" / package.name
    if not tarball.exists():
        _download(package.address, tarball)
    if sha256_of(tarball) != package.sha256:
        raise FetchError(f"{tarball}: not the file known as {package.name} {package.version}")
    if not root.is_dir():
        root.parent.mkdir(parents=True, exist_ok=True)
        with draft_folder(root) as folder, tarfile.open(tarball) as members:
            members.extractall(folder, filter="data")
    return Unpacked(name=package.name, version=package.version, root=root)


def _download(address: str, tarball: Path) -> None:
    try:
        with urlopen(address, timeout=_PATIENCE) as answer, draft(tarball) as temporary:
            temporary.write_bytes(answer.read())
    except (URLError, TimeoutError) as error:
        raise FetchError(
            f"{address} cannot be had ({error}): put {tarball.name} into {tarball.parent}"
        ) from None
