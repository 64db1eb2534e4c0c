"""`Segmenter`: what finds things in a photograph."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, UInt8

from annotator.photograph import Mark


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One thing that was found, perhaps part of another: its pixels, its name (empty if nobody
    named it), and how sure the segmenter is of it, both 0..1: `quality` as the overlap with the
    truth that it expects, `stability` as how little its outline moves with the threshold."""

    mask: Bool[np.ndarray, "h w"]
    label: str
    quality: float
    stability: float


@runtime_checkable
class Segmenter(Protocol):
    """Finds segments: those that are marked, or all that it can see where nothing is marked."""

    def __call__(
        self, pixels: UInt8[np.ndarray, "h w 3"], marks: Sequence[Mark]
    ) -> list[Segment]: ...
