"""Debian packages: fetched by exact version, verified, unpacked without being installed."""

import hashlib
import shutil
import subprocess
import warnings
from dataclasses import dataclass
from pathlib import Path

from ldm.export.draft import draft_folder


class FetchError(RuntimeError):
    """A package cannot be had; the message is one line that says what to do."""


@dataclass(frozen=True, kw_only=True)
class Package:
    """A Debian package of architecture `all`, known by the SHA-256 of its .deb file."""

    name: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        """The name that `apt-get download` gives the file."""
        return f"{self.name}_{self.version.replace(':', '%3a')}_all.deb"


@dataclass(frozen=True, kw_only=True)
class Unpacked:
    """A package whose files lie below `root`, with the version that was really found."""

    name: str
    version: str
    root: Path


PACKAGES = (
    Package(
        name="tuxpaint-stamps-default",
        version="2022.06.04-1",
        sha256="6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
    ),
    Package(
        name="gcompris-qt-data",
        version="3.1-2",
        sha256="e9cf06ab2105529068df73085784e835d2ff03f870d2a8091f09125d40abac9f",
    ),
    Package(
        name="mate-backgrounds",
        version="1.26.0-1",
        sha256="7bf4c2209f34b4f61ba6d24c8b58c28b361e82e4b943aae6d42c030169af9e04",
    ),
    Package(
        name="plasma-workspace-wallpapers",
        version="4:5.27.5-2",
        sha256="32cd18b71c8c938a18b3b351f217c02ac590e323caa3cf322fbb875ce8892f8b",
    ),
    Package(
        name="tuxpaint-data",
        version="1:0.9.28-sdl2-1",
        sha256="f5d0de8f9a70d2efc1241d19f26168cb8bf279f1b77abd3631e7a1a55c40e5e5",
    ),
    Package(
        name="endless-sky-data",
        version="0.9.8-1.2",
        sha256="e45835e05a11e84bb1a890a0ded390246a53b8318f21a25925aa70fa54f80c13",
    ),
)


def unpack(package: Package, *, cache: Path) -> Unpacked:
    """The package, unpacked below `cache`; downloads and unpacks only what is not there yet.

    Where apt lacks the version, another one is taken and a warning names both.
    Errors: `FetchError` when apt-get or dpkg is missing or fails, or the file is not the one known.
    """
    cache.mkdir(parents=True, exist_ok=True)
    deb = _deb(package, cache)
    version = deb.name.split("_")[1].replace("%3a", ":")
    root = cache / "unpacked" / deb.stem
    if not root.is_dir():
        _extract(deb, root)
    return Unpacked(name=package.name, version=version, root=root)


def _deb(package: Package, cache: Path) -> Path:
    exact = cache / package.file_name
    if not exact.exists() and not _download(f"{package.name}={package.version}", cache):
        return _other_version(package, cache)
    if sha256_of(exact) != package.sha256:
        raise FetchError(f"{exact}: not the file known as {package.name} {package.version}")
    return exact


def _other_version(package: Package, cache: Path) -> Path:
    others = sorted(cache.glob(f"{package.name}_*.deb"))
    if not others and _download(package.name, cache):
        others = sorted(cache.glob(f"{package.name}_*.deb"))
    if not others:
        raise FetchError(
            f"apt-get finds no {package.name}: put {package.file_name} (from snapshot.debian.org) "
            f"into {cache}"
        )
    text = f"{package.name} {package.version} is not to be had; taking {others[-1].name} instead"
    warnings.warn(text, stacklevel=4)
    return others[-1]


def _download(what: str, cache: Path) -> bool:
    """Whether apt-get brought the package into `cache`."""
    if shutil.which("apt-get") is None:
        raise FetchError(
            f"apt-get is missing, so {what} cannot be fetched: put its .deb "
            f"(from snapshot.debian.org) into {cache}"
        )
    command = ["apt-get", "download", what]
    return subprocess.run(command, cwd=cache, capture_output=True, check=False).returncode == 0


def _extract(deb: Path, root: Path) -> None:
    if shutil.which("dpkg") is None:
        raise FetchError(f"dpkg is missing, so {deb.name} cannot be unpacked: install dpkg")
    root.parent.mkdir(parents=True, exist_ok=True)
    with draft_folder(root) as folder:
        done = subprocess.run(
            ["dpkg", "-x", str(deb), str(folder)], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise FetchError(f"dpkg cannot unpack {deb.name}: {reason}")


def sha256_of(path: Path) -> str:
    """The digest of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
