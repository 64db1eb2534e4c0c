"""Pseudo-layers: a flat photograph taken apart into RGBA layers that give it back."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from annotator.photograph import Photograph


@dataclass(frozen=True, kw_only=True)
class PseudoLayer:
    """One layer of the photograph's size: straight alpha, sRGB, 0..255; what it is called."""

    rgba: UInt8[np.ndarray, "h w 4"]
    label: str


@dataclass(frozen=True, kw_only=True)
class Decomposition:
    """A photograph and its layers; layer 0 is the back, opaque, completed where it was hidden."""

    photograph: Photograph
    layers: tuple[PseudoLayer, ...]
