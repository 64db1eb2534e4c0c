"""`Photograph`: an upright sRGB picture, what people said of it, and where it comes from."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8

from ldm.storage import Provenance


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Something that somebody marked in a photograph: its name, and the pixels it covers.

    `exact` says that `area` is an outline; otherwise it is a filled box.
    """

    label: str
    area: Bool[np.ndarray, "h w"]
    exact: bool

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom of the area in pixels; right and bottom lie outside."""
        rows, columns = np.flatnonzero(self.area.any(axis=1)), np.flatnonzero(self.area.any(axis=0))
        return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


@dataclass(frozen=True, kw_only=True)
class Photograph:
    """A picture to be taken apart: `pixels` upright sRGB; `key` its name, unique in a run (letters,
    digits, `_`, `-`); `caption` a sentence about the whole, empty where nobody wrote one."""

    pixels: UInt8[np.ndarray, "h w 3"]
    key: str
    caption: str
    marks: tuple[Mark, ...]
    provenance: Provenance
