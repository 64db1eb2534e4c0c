"""Fetch what the shipped default learns from: cut-outs and backdrops, as shards.

python default_data.py [--out data/default] [--packages data/packages] [--free-only] [--force]
"""

import argparse
import csv
from pathlib import Path

from tqdm import tqdm

from annotator.assets.backdrops import backdrop
from annotator.assets.cutouts import cutout
from annotator.assets.fetch import PACKAGES, FetchError, unpack
from annotator.assets.pictures import Picture, pictures
from annotator.assets.selection import Split, chosen_backdrops, chosen_cutouts, split
from annotator.assets.sheets import contact_sheet
from ldm.storage import write_shard

KINDS = (("cutouts", chosen_cutouts, cutout), ("backdrops", chosen_backdrops, backdrop))


def main() -> None:
    options = read_options()
    try:
        packages = {p.name: unpack(p, cache=options.packages) for p in tqdm(PACKAGES, "packages")}
    except FetchError as error:
        raise SystemExit(str(error)) from None
    kept: list[Picture] = []
    for kind, chosen, sample in KINDS:
        found = list(tqdm(pictures(chosen(), packages), kind, total=len(chosen())))
        found = [p for p in found if p.credit.is_free or not options.free_only]
        kept += found
        for side in Split:
            path = options.out / side.value / f"{kind}.tar"
            if path.exists() and not options.force:
                print(f"{path} is there already (--force makes it anew)")
                continue
            samples = [sample(p) for p in found if split(p.choice.family) is side]
            print(f"{path}: {write_shard(path, samples)} samples")
            contact_sheet(samples, options.out / f"contact_{side.value}_{kind}.png")
    write_provenance(kept, options.out / "provenance.csv")


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("data/default"))
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
