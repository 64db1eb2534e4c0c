"""Contact sheets: what lies in a shard, at a glance."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from ldm.storage import Sample

_CELL, _TEXT, _COLUMNS = 150, 14, 10
# Between black and white, so that both show on it.
_PAPER = (120, 130, 140)


def contact_sheet(samples: Sequence[Sample], path: Path) -> None:
    """Write one PNG with each sample's front layer, shrunk to a cell, above its caption."""
    num_rows = -(-len(samples) // _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * _CELL, max(num_rows, 1) * (_CELL + _TEXT)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, sample in enumerate(samples):
        corner = (index % _COLUMNS * _CELL, index // _COLUMNS * (_CELL + _TEXT))
        picture = Image.fromarray(sample.layers[-1].rgba)
        picture.thumbnail((_CELL - 4, _CELL - 4))
        sheet.paste(picture, corner, picture)
        draw.text((corner[0], corner[1] + _CELL), sample.layers[-1].prompt[:26], fill="white")
    sheet.save(path)
