"""What was hidden behind an object, made up from what lies around it."""

import warnings
from pathlib import Path
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float32, UInt8

from ldm.mistake import MistakeError

_SWEEPS = 16
_NEIGHBOURS = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.float32) / 4
_MULTIPLE = 8


@runtime_checkable
class Completion(Protocol):
    """Draws the `hidden` pixels of a picture; the others stay as they are, bit for bit.

    `prompt` says what the completed picture shows; methods that cannot read ignore it.
    """

    def __call__(
        self, pixels: UInt8[np.ndarray, "h w 3"], hidden: Bool[np.ndarray, "h w"], prompt: str
    ) -> UInt8[np.ndarray, "h w 3"]: ...


class CheckpointError(MistakeError):
    """A file of weights is missing or is not what it should be; the text is one line."""


class OpenCvCompletion:
    """Spans hidden pixels by a smooth membrane: Laplace's equation with the known pixels as rim.

    Needs no weights and invents no texture. A plain or evenly graded backdrop comes out as it was;
    a picture of which nothing is known comes out grey.
    """

    def __call__(
        self, pixels: UInt8[np.ndarray, "h w 3"], hidden: Bool[np.ndarray, "h w"], prompt: str
    ) -> UInt8[np.ndarray, "h w 3"]:
        known = (~hidden).astype(np.float32)
        start = np.full(pixels.shape, 128, np.float32)
        colour = np.where(hidden[..., None], start, pixels)
        return _revealed(pixels, hidden, start if hidden.all() else _membrane(colour, known))


class LamaCompletion:
    """LaMa (Suvorov et al. 2022), large masks by Fourier convolutions, from a TorchScript file.

    `checkpoint` is usually called `big-lama.pt`: `model(image, mask) -> image`, image `[1 3 h w]`
    in 0..1, mask `[1 1 h w]` 1 where hidden, sides multiples of 8. TorchScript is no pickle of
    Python objects: loading runs no Python code of the file. But the file holds a program, which
    runs inside torch's interpreter, limited to torch's own operations; those can read and write
    files, so take it from somebody you trust. Errors: `CheckpointError`.
    """

    def __init__(self, checkpoint: Path, device: torch.device) -> None:
        if not checkpoint.is_file():
            raise CheckpointError(
                f"completion=lama: no file {checkpoint}; get LaMa as TorchScript, usually named "
                "big-lama.pt, or go on with completion=opencv, which needs none"
            )
        try:
            self._model = _torchscript(checkpoint, device)
        except (RuntimeError, ValueError, OSError) as error:
            raise CheckpointError(
                f"completion=lama: {checkpoint} is not a TorchScript file; expected LaMa as "
                "TorchScript, usually named big-lama.pt"
            ) from error
        self._device = device

    @torch.no_grad()
    def __call__(
        self, pixels: UInt8[np.ndarray, "h w 3"], hidden: Bool[np.ndarray, "h w"], prompt: str
    ) -> UInt8[np.ndarray, "h w 3"]:
        height, width = hidden.shape
        below, right = -height % _MULTIPLE, -width % _MULTIPLE
        padding = ((0, below), (0, right))
        # NumPy's reflection goes on where a side is shorter than what is padded; torch's refuses.
        image = torch.from_numpy(np.pad(pixels, (*padding, (0, 0)), mode="symmetric"))
        mask = torch.from_numpy(np.pad(hidden, padding, mode="symmetric"))
        answer = self._model(
            image.permute(2, 0, 1)[None].to(self._device).float() / 255,
            mask[None, None].to(self._device).float(),
        )
        drawn = (255 * answer[0, :, :height, :width]).permute(1, 2, 0).cpu().numpy()
        return _revealed(pixels, hidden, drawn)


def _torchscript(checkpoint: Path, device: torch.device) -> torch.jit.ScriptModule:
    with warnings.catch_warnings():
        # LaMa is published as TorchScript only, so torch's advice to export anew is of no use.
        warnings.filterwarnings("ignore", r"`torch\.jit\.load` is deprecated", FutureWarning)
        return torch.jit.load(checkpoint, map_location=device).eval()


def _revealed(
    pixels: UInt8[np.ndarray, "h w 3"],
    hidden: Bool[np.ndarray, "h w"],
    drawn: Float32[np.ndarray, "h w 3"],
) -> UInt8[np.ndarray, "h w 3"]:
    """The picture with what was drawn, 0..255, in its hidden pixels only."""
    return np.where(hidden[..., None], drawn.round().clip(0, 255).astype(np.uint8), pixels)


def _membrane(
    colour: Float32[np.ndarray, "h w 3"], known: Float32[np.ndarray, "h w"]
) -> Float32[np.ndarray, "h w 3"]:
    """Cascadic multigrid: the half-size membrane, enlarged, is a start that few sweeps relax."""
    height, width = known.shape
    if known.all() or max(height, width) == 1:
        return colour
    half = (-(-width // 2), -(-height // 2))
    share = cv2.resize(known, half, interpolation=cv2.INTER_AREA)
    summed = cv2.resize(colour * known[..., None], half, interpolation=cv2.INTER_AREA)
    # Cells that are hidden for half or more would drag the rim into the hole.
    fixed = (share > min(0.5, float(share.max()) / 2)).astype(np.float32)
    coarse = _membrane(summed / share[..., None].clip(min=1e-6), fixed)
    start = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    rim = known[..., None] > 0
    spanned = np.where(rim, colour, start)
    for _ in range(_SWEEPS):
        relaxed = cv2.filter2D(spanned, -1, _NEIGHBOURS, borderType=cv2.BORDER_REFLECT)
        spanned = np.where(rim, colour, relaxed)
    return spanned
