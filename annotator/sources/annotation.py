"""`Annotation`: what somebody marked in a photograph, before the photograph is opened.

A pixel belongs to a shape when its centre lies in it, at whatever size the picture is kept.
Coordinates are shares of the picture's width and height, as it is stored (before EXIF turns it).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64
from skimage.draw import polygon


@dataclass(frozen=True, kw_only=True)
class Box:
    """A rectangle, 0..1."""

    left: float
    top: float
    right: float
    bottom: float

    def area(self, height: int, width: int) -> Bool[np.ndarray, "h w"]:
        """The pixels it covers in a picture of that size."""
        rows, columns = _centres(height), _centres(width)
        inside_rows = (self.top <= rows) & (rows < self.bottom)
        inside_columns = (self.left <= columns) & (columns < self.right)
        return inside_rows[:, None] & inside_columns


@dataclass(frozen=True, kw_only=True, eq=False)
class Outline:
    """Polygons, each of `(x, y)` corners 0..1; what lies in any of them."""

    polygons: tuple[Float32[np.ndarray, "_ 2"], ...]

    def area(self, height: int, width: int) -> Bool[np.ndarray, "h w"]:
        """The pixels it covers in a picture of that size."""
        covered = np.zeros((height, width), bool)
        for corners in self.polygons:
            x, y = corners.T.astype(np.float64)
            # skimage's whole coordinates are the pixels' centres.
            covered[polygon(y * height - 0.5, x * width - 0.5, covered.shape)] = True
        return covered


@dataclass(frozen=True, kw_only=True)
class Runs:
    """COCO's run lengths: pixels column by column, by turns outside and inside.

    `counts` are numbers, or the string in which COCO compresses them. `height` and `width` are
    those of the mask that was encoded.
    """

    counts: tuple[int, ...] | str
    height: int
    width: int

    def area(self, height: int, width: int) -> Bool[np.ndarray, "h w"]:
        """The pixels it covers in a picture of that size. Errors: `ValueError`."""
        counts = _decompressed(self.counts) if isinstance(self.counts, str) else self.counts
        lengths = np.asarray(counts, np.int64)
        ends = lengths.cumsum()
        if not len(ends) or lengths.min() < 0 or ends[-1] != self.height * self.width:
            raise ValueError(f"run lengths do not fill {self.width} x {self.height} pixels")
        rows = (_centres(height) * self.height).astype(np.int64)
        columns = (_centres(width) * self.width).astype(np.int64)
        # Only the pixels that are asked for are looked up: nothing of the mask's size is made.
        places = columns * self.height + rows[:, None]
        return np.searchsorted(ends, places, side="right") % 2 == 1


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """A name and a shape, drawn on a picture of `height` by `width` pixels."""

    label: str
    shape: Box | Outline | Runs
    height: int
    width: int

    @property
    def exact(self) -> bool:
        """Is the shape an outline, not merely a box?"""
        return not isinstance(self.shape, Box)

    def check_drawn_on(self, height: int, width: int) -> None:
        """Raise `ValueError` unless a picture of that size is the one it was drawn on, perhaps
        reduced (sides rounded by up to a pixel)."""
        if abs(height * self.width - width * self.height) > self.height + self.width:
            drawn = f"{self.width} x {self.height}"
            raise ValueError(f"drawn on {drawn} pixels, the picture has {width} x {height}")


def _centres(count: int) -> Float64[np.ndarray, " count"]:
    return (np.arange(count) + 0.5) / count


def _decompressed(text: str) -> Int64[np.ndarray, " counts"]:
    """The numbers of a compressed string (format of the COCO API, `rleToString`): digits of five
    bits from 48 on, low first, 32 says that more follow, the last one's 16 is the sign; from the
    fourth number on the difference to the last but one."""
    digits = np.frombuffer(text.encode("utf-8"), np.uint8).astype(np.int64) - 48
    last = np.flatnonzero((digits & 32) == 0)
    first = np.concatenate([[0], last[:-1] + 1])
    size = last - first + 1
    if not len(last) or last[-1] != len(digits) - 1 or size.max() > 8 or digits.min() < 0:
        raise ValueError("damaged compressed run lengths")
    place = np.arange(len(digits)) - np.repeat(first, size)
    numbers = np.add.reduceat((digits & 31) << 5 * place, first)
    numbers -= ((digits[last] >> 4) & 1) << 5 * size
    numbers[1::2] = numbers[1::2].cumsum()
    numbers[2::2] = numbers[2::2].cumsum()
    return numbers
