"""Real photographs on which decomposition is measured: those of libraries, and wallpapers.

Nothing of lomiri-wallpapers and palapeli-data was ever looked at while methods were chosen.
"""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from annotator.assets.fetch import PACKAGES, Package, unpack
from annotator.sources.entry import Entry
from annotator.sources.folder import file_entries

KEPT_ASIDE = (
    Package(
        name="lomiri-wallpapers-16.04",
        version="20.04.0-2",
        sha256="a99ff6a3bfe451e4cc0682ecb3cc82e71740626d59e4845ae34a0a0e45421eab",
    ),
    Package(
        name="lomiri-wallpapers-20.04",
        version="20.04.0-2",
        sha256="d44e89b8473aafe64a5b678f014862dc31335aaaf18665c544d985d854f1a709",
    ),
    Package(
        name="palapeli-data",
        version="4:22.12.3-1",
        sha256="69a15dce2ac25ed8708ac518cd0cee5f4eb0c70ed15da2fdb8899a19ac0ee058",
    ),
)
_IN_LIBRARIES = {
    "skimage": (
        "data/astronaut.png",
        "data/chelsea.png",
        "data/coffee.png",
        "data/motorcycle_left.png",
        "data/rocket.jpg",
    ),
    "sklearn": ("datasets/images/china.jpg", "datasets/images/flower.jpg"),
}
_IN_PACKAGES = {
    "mate-backgrounds": "usr/share/backgrounds/mate/nature/*.jpg",
    "plasma-workspace-wallpapers": "usr/share/wallpapers/*/contents/images/1920x1080.jpg",
    "lomiri-wallpapers-16.04": "usr/share/backgrounds/*.jpg",
    "lomiri-wallpapers-20.04": "usr/share/backgrounds/*.jpg",
    "palapeli-data": "usr/share/palapeli/collection/*.jpg",
}


def photographs(cache: Path) -> list[Entry]:
    """All of them, in order; packages are fetched to `cache`. Errors: `FetchError`."""
    entries: list[Entry] = []
    for library, names in _IN_LIBRARIES.items():
        spec = find_spec(library)
        assert spec is not None
        assert spec.origin is not None
        entries += [_named(library, Path(spec.origin).parent / name) for name in names]
    for package in (*PACKAGES, *KEPT_ASIDE):
        if package.name in _IN_PACKAGES:
            found = unpack(package, cache=cache).root.glob(_IN_PACKAGES[package.name])
            entries += [_named(package.name, path) for path in sorted(found)]
    return entries


def is_kept_aside(entry: Entry) -> bool:
    """Whether methods never saw it before."""
    return entry.name.split("/")[0] in {package.name for package in KEPT_ASIDE}


def _named(collection: str, path: Path) -> Entry:
    """A file as an entry whose name tells its collection; wallpapers of one name by their theme."""
    theme = path.parents[2].name if path.stem == "1920x1080" else path.stem
    [entry] = file_entries(path)
    key = "".join(c if c.isalnum() else "_" for c in f"{collection}_{theme}")
    return replace(entry, key=key, name=f"{collection}/{theme}")
