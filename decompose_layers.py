"""A photograph in, RGBA layers out: taken apart, what was hidden completed.

    python decompose_layers.py photograph.jpg out/photograph
    python decompose_layers.py photograph.jpg out/photograph long_side=1024 num_regions=3
    python decompose_layers.py photograph.jpg out/photograph segmenter=sam sam.checkpoint=sam.pth

OUT gets one PNG per layer, document.psd, document.ora, composite.png and contact_sheet.png.
"""

import argparse
import sys
import time
from pathlib import Path

from annotator.config import DecomposerConfig
from annotator.opening import Limits, photograph
from annotator.sources.folder import file_entries
from decomposing import decomposer
from ldm.document import Document, Sheet, flatten
from ldm.export.contact_sheet import write_cells
from ldm.export.folder import finished_folder, require_writable
from ldm.mistake import MistakeError
from ldm.settings import filled, one_line, words_of


def main() -> None:
    """Open, take apart, write."""
    arguments = _arguments()
    begin = time.perf_counter()
    with one_line("arguments"):
        config = filled(DecomposerConfig(), words_of(arguments.override))
    require_writable(arguments.out)
    [entry] = file_entries(arguments.photograph)
    opened = photograph(entry, Limits(long_side=config.long_side))
    decomposition = decomposer(config)(opened)

    layers = decomposition.to_layers()
    names = [layer.label or f"object {slot}" for slot, layer in enumerate(decomposition.layers)]
    names[0] = "back"
    document = Document(
        sheets=tuple(Sheet(rgba=layers.rgba[:, slot], name=name) for slot, name in enumerate(names))
    )
    with finished_folder(
        arguments.out, layers=layers, names=names, document=document, text={}
    ) as folder:
        cells = [("layers, stacked", flatten(document)[0])]
        cells += [(name, layers.rgba[0, slot]) for slot, name in enumerate(names)]
        rows = [cells[first : first + 3] for first in range(0, len(cells), 3)]
        write_cells(rows, folder / "contact_sheet.png")
    print(f"{arguments.out}: {len(names)} layers in {time.perf_counter() - begin:.1f} s")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("photograph", type=Path, help="a JPEG, PNG, WebP, TIFF or BMP file")
    parser.add_argument("out", type=Path, help="the folder to write")
    parser.add_argument("override", nargs="*", help="key=value, see annotator/config.py")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except (MistakeError, OSError) as error:
        sys.exit(f"error: {error}")
