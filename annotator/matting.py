"""From a hard mask whose outline is a few pixels wrong to soft alpha and colours without fringe."""

from dataclasses import dataclass

import cv2
import numpy as np
import scipy.sparse
from jaxtyping import Bool, Float, Float32, UInt8
from pymatting import cf_laplacian, estimate_foreground_ml
from scipy.sparse.linalg import splu

# How weakly an undecided pixel clings to the mask, next to the Laplacian's weights of about 1: it
# decides only where colours say nothing.
_CLING = 1e-6
# Half the width in pixels of the edge of a sharp outline, once that is found.
_SHARP = 1.0
# Where the colours on both sides differ this much (1 is black to red), soft alpha is believed;
# where they are more alike, alpha outside 0.3..0.7 is doubt rather than softness.
_DISTINCT = 0.6
_SHARINGS = 8
_MARGIN = 8


@dataclass(frozen=True, kw_only=True)
class Matte:
    """A layer lifted off its picture: `alpha * foreground + (1 - alpha) * behind` is the picture.

    All 0..1. `foreground` means something where alpha is above 0; `behind` where it is below 1.
    """

    alpha: Float32[np.ndarray, "h w"]
    foreground: Float32[np.ndarray, "h w 3"]
    behind: Float32[np.ndarray, "h w 3"]


def matte(
    pixels: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"], *, reach: float = 3.0
) -> Matte:
    """Soft alpha, and the colours in front and behind, of the object that `mask` marks roughly.

    `reach` is how far in pixels the mask's outline may be wrong. Closed-form matting (Levin et al.
    2007) in a band of that width finds the outline; a second pass about the found outline is
    narrow where that is sharp and keeps the whole band where it is soft (hair, fur, blur). Where
    the mask ends at the picture's border, so does the band: the object goes on outside. Colours
    are from multi-level foreground estimation (Germer et al. 2020).
    """
    image = pixels.astype(np.float64) / 255
    hard = mask.astype(np.float64)
    band = _band(mask, reach)
    if not band.any():
        colour = image.astype(np.float32)
        return Matte(alpha=hard.astype(np.float32), foreground=colour, behind=colour)
    box = _box(band)
    alpha = hard.copy()
    alpha[box] = _two_passes(image[box], mask[box], band[box], reach)
    foreground, behind = image.copy(), image.copy()
    foreground[box], behind[box] = _colours(image[box], alpha[box])
    return Matte(
        alpha=alpha.astype(np.float32),
        foreground=foreground.astype(np.float32),
        behind=behind.astype(np.float32),
    )


def exact(
    picture: Float[np.ndarray, "h w 3"],
    alpha: Float[np.ndarray, "h w"],
    foreground: Float[np.ndarray, "h w 3"],
    behind: Float[np.ndarray, "h w 3"],
) -> tuple[Float[np.ndarray, "h w 3"], Float[np.ndarray, "h w 3"]]:
    """The nearest colours (least squares) whose composite is the picture.

    With `r = I - a F - (1 - a) B`, to `F` comes `a r / (a^2 + (1 - a)^2)`, to `B` the same with
    `1 - a` above; again for what is left where a colour would leave 0..1.
    """
    share = alpha[..., None]
    through = 1 - share
    weight = share**2 + through**2
    for _ in range(_SHARINGS):
        left = (picture - share * foreground - through * behind) / weight
        foreground = (foreground + share * left).clip(0, 1)
        behind = (behind + through * left).clip(0, 1)
    return foreground, behind


def _two_passes(
    image: Float[np.ndarray, "h w 3"],
    mask: Bool[np.ndarray, "h w"],
    band: Bool[np.ndarray, "h w"],
    reach: float,
) -> Float[np.ndarray, "h w"]:
    first = _closed_form(image, mask, band)
    found = first > 0.5
    front, behind = _colours(image, first)
    contrast = np.linalg.norm(front - behind, axis=-1)
    doubt = np.where(contrast > _DISTINCT, 0.02, 0.3)
    soft = (first > doubt) & (first < 1 - doubt)
    return _closed_form(image, found, _band(found, _SHARP) | soft & _band(found, reach))


def _band(mask: Bool[np.ndarray, "h w"], reach: float) -> Bool[np.ndarray, "h w"]:
    """The pixels within `reach` of the outline, without the middle lines of parts thinner than
    that, so that on either side something is always sure."""
    band = np.zeros_like(mask)
    around = np.ones((2 * round(reach) + 1,) * 2, np.uint8)
    for side in (mask, ~mask):
        depth = cv2.distanceTransform(side.astype(np.uint8), cv2.DIST_L2, 5)
        band |= side & (depth <= reach) & (depth < cv2.dilate(depth, around))
    return band


def _box(band: Bool[np.ndarray, "h w"]) -> tuple[slice, slice]:
    """The rows and columns about the band, with a margin for colours on either side."""
    spans = (np.flatnonzero(band.any(axis=axis)) for axis in (1, 0))
    rows, columns = (slice(max(0, s[0] - _MARGIN), s[-1] + 1 + _MARGIN) for s in spans)
    return rows, columns


def _closed_form(
    image: Float[np.ndarray, "h w 3"],
    mask: Bool[np.ndarray, "h w"],
    band: Bool[np.ndarray, "h w"],
) -> Float[np.ndarray, "h w"]:
    """Alpha that equals `mask` outside the band and inside solves Levin's equation (14),
    `(L + c I) alpha = c mask`.

    The band is long and narrow, so a direct solver is fast and, unlike conjugate gradients, never
    fails to converge.
    """
    # Windows of the Laplacian lie wholly inside the picture: the edge is repeated for its corners.
    wide = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")
    unknown = np.pad(band, 1, mode="edge").ravel()
    target = np.pad(mask.astype(np.float64), 1, mode="edge").ravel()
    laplacian = cf_laplacian(wide, is_known=~unknown)[unknown]
    system = laplacian[:, unknown] + _CLING * scipy.sparse.eye(int(unknown.sum()))
    answer = _CLING * target[unknown] - laplacian[:, ~unknown] @ target[~unknown]
    factors = splu(
        system.tocsc(),
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
    target[unknown] = factors.solve(answer).clip(0, 1)
    return target.reshape(wide.shape[:2])[1:-1, 1:-1]


def _colours(
    image: Float[np.ndarray, "h w 3"], alpha: Float[np.ndarray, "h w"]
) -> tuple[Float[np.ndarray, "h w 3"], Float[np.ndarray, "h w 3"]]:
    """Colours in front and behind that give the image back."""
    wide = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")
    estimated = estimate_foreground_ml(wide, np.pad(alpha, 1, mode="edge"), return_background=True)
    front, behind = (np.asarray(colour, np.float64)[1:-1, 1:-1] for colour in estimated)
    return exact(image, alpha, front, behind)
