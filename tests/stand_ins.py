"""Stand-ins for a maker of pseudo-layers: importable by name from the processes of a pipeline."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from annotator.maker import Made
from annotator.record import Record, Refusal
from ldm.storage import Provenance, Sample, StoredLayer


@dataclass(frozen=True, kw_only=True)
class Deed:
    """An entry that says itself what befalls its maker."""

    key: str
    befalls: str = ""

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.key}.jpg"


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """Draws a small picture, always the same for a key, and takes `seconds` for it."""

    seconds: float

    def __call__(self, deed: Deed) -> Made:
        time.sleep(self.seconds)
        match deed.befalls:
            case "error":
                raise ValueError("not a\npicture")
            case "death":
                os.kill(os.getpid(), signal.SIGKILL)
            case "refusal":
                refusals = (Refusal(name="blurred", text="sharpness 3, at least 10"),)
                record = Record(
                    key=deed.key, source=deed.name, refusals=refusals, figures={"sharpness": 3.0}
                )
                return Made(sample=None, record=record)
        seed = int.from_bytes(deed.key.encode())
        rgba = np.random.default_rng(seed).integers(0, 256, (2, 16, 16, 4), np.uint8)
        provenance = Provenance(source=deed.key, licence="CC0", author="chance", note="")
        layers = tuple(StoredLayer(rgba=r, prompt="noise", provenance=provenance) for r in rgba)
        sample = Sample(key=deed.key, layers=layers, tags=())
        return Made(
            sample=sample, record=Record(key=deed.key, source=deed.name, refusals=(), figures={})
        )


@dataclass(frozen=True, kw_only=True)
class DrawingFactory:
    """Builds a maker, as a pipeline wants it."""

    seconds: float = 0.0

    def __call__(self) -> Callable[[Deed], Made]:
        return Drawing(seconds=self.seconds)


@dataclass(frozen=True, kw_only=True)
class BrokenFactory:
    """Cannot build its maker."""

    def __call__(self) -> Callable[[Deed], Made]:
        raise ValueError("no checkpoint sam.pth")
