"""How far other programs' pictures of our PSD and OpenRaster files lie from `flatten`.

`python -m paper.export_agreement` writes `paper/results/export_agreement.json`: for each reader
the largest error of a picture's channels in 1/255, over documents of random content. Readers that
are not installed are left out.
"""

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
from einops import rearrange
from jaxtyping import Float

from ldm.document import Document, flatten
from ldm.export.ora import read_ora, write_ora
from ldm.export.png import read_png_folder, write_png_folder
from ldm.export.psd import read_psd, write_psd
from paper import foreign_readers
from paper.example_document import example_document
from paper.result import spread, write_result

RESULT = Path(__file__).parent / "results" / "export_agreement.json"
SIZE = (192, 256)
EDGES = {"hard_edges": 0.0, "soft_edges": 4.0}


def export_errors(document: Document, folder: Path) -> dict[str, float]:
    """The largest error of each reader in 1/255; `folder` receives the files."""
    errors = library_errors(document, folder)
    psd, ora = folder / "document.psd", folder / "document.ora"
    readers: dict[str, Callable[[], Float[np.ndarray, "h w 4"]]] = {}
    if foreign_readers.GIMP:
        readers["gimp.psd"] = lambda: foreign_readers.by_gimp(psd)
    if foreign_readers.KRITA:
        readers["krita.psd"] = lambda: foreign_readers.by_krita(psd)
        readers["krita.ora"] = lambda: foreign_readers.by_krita(ora)
    truth = _picture(document)
    return errors | {name: float(np.abs(read() - truth).max()) for name, read in readers.items()}


def library_errors(document: Document, folder: Path) -> dict[str, float]:
    """The same for the readers that are Python libraries, ours among them."""
    psd, ora, pngs = folder / "document.psd", folder / "document.ora", folder / "document"
    write_psd(document, psd)
    write_ora(document, ora)
    write_png_folder(document, pngs)
    truth = _picture(document)
    pictures = {
        "ours.psd": _picture(read_psd(psd)),
        "ours.ora": _picture(read_ora(ora)),
        "ours.png": _picture(read_png_folder(pngs)),
        "psd_tools.psd": foreign_readers.psd_by_psd_tools(psd),
        "pyora.ora": foreign_readers.ora_by_pyora(ora),
    }
    return {name: float(np.abs(found - truth).max()) for name, found in pictures.items()}


def _picture(document: Document) -> Float[np.ndarray, "h w 4"]:
    return rearrange(flatten(document) * 255, "1 c h w -> h w c").numpy()


def main() -> None:
    """Measure, print a table, write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=2, help="documents of each kind")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    errors: defaultdict[str, list[float]] = defaultdict(list)
    for kind, edge in EDGES.items():
        for index in range(arguments.documents):
            document = example_document(arguments.seed + index, SIZE, edge)
            with tempfile.TemporaryDirectory() as folder:
                for reader, error in export_errors(document, Path(folder)).items():
                    errors[f"{reader}.{kind}"].append(error)
    documents, seed = arguments.documents, arguments.seed
    write_result(
        RESULT,
        command=f"python -m paper.export_agreement --documents {documents} --seed {seed}",
        seed=seed,
        scenes=documents * len(EDGES),
        figures={name: spread(found, "1/255") for name, found in errors.items()},
    )


if __name__ == "__main__":
    main()
