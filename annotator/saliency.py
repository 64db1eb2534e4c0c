"""Saliency: what in a picture is unlike that which reaches its borders.

Zhu, Liang, Wei and Sun, "Saliency Optimization from Robust Background Detection", CVPR 2014: a
patch belongs to the background as far as the homogeneous region around it touches the borders;
what differs from the background near it stands out; a quadratic energy joins both.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Int, UInt8
from scipy.sparse.csgraph import shortest_path
from skimage.segmentation import slic

_LONG_SIDE = 256
# The paper's widths: of colour in Lab units, of place in picture lengths (equations 2, 4, 6, 9).
_COLOUR, _PLACE = 10.0, 0.25
# Below this contrast with the background (in Lab units, summed as equation 6 does), a picture has
# nothing that stands out; scaled to the picture's own greatest contrast, noise would.
_LEAST_CONTRAST = 120.0
# How much surer the background is than the contrast: equation 9 leaves it open.
_BACKGROUND_WEIGHT = 5.0


@dataclass(frozen=True, kw_only=True)
class _Patches:
    """Superpixels: which one each pixel belongs to, and of each its mean colour (Lab), its place
    (in long sides), its neighbours, and whether it touches the picture's border."""

    index: Int[np.ndarray, "h w"]
    colour: Float[np.ndarray, "p 3"]
    place: Float[np.ndarray, "p 2"]
    adjacent: Bool[np.ndarray, "p p"]
    border: Bool[np.ndarray, " p"]


def saliency(pixels: UInt8[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "h w"]:
    """How far each pixel stands out from the background, 0..1; constant over superpixels that a
    picture of 256 px has some three hundred of."""
    height, width = pixels.shape[:2]
    patches = _superpixels(pixels)
    colour_distance = _distances(patches.colour)
    background = _background(patches, colour_distance)
    contrast = _contrast(patches, colour_distance, background)
    values = _optimum(patches, colour_distance, background, contrast)[patches.index]
    small = np.clip(values, 0, 1).astype(np.float32)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)


def _superpixels(pixels: UInt8[np.ndarray, "h w 3"]) -> _Patches:
    scale = min(1.0, _LONG_SIDE / max(pixels.shape[:2]))
    small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    index = slic(lab / 100, n_segments=300, compactness=0.15, convert2lab=False, start_label=0)
    count = int(index.max()) + 1
    rows, columns = np.indices(index.shape) / max(index.shape)
    adjacent = np.zeros((count, count), bool)
    for one, other in ((index[1:], index[:-1]), (index[:, 1:], index[:, :-1])):
        adjacent[one, other] = adjacent[other, one] = True
    np.fill_diagonal(adjacent, False)
    border = np.zeros(count, bool)
    border[np.concatenate([index[0], index[-1], index[:, 0], index[:, -1]])] = True
    return _Patches(
        index=index,
        colour=_means(index, lab),
        place=_means(index, np.stack([rows, columns], axis=-1)),
        adjacent=adjacent,
        border=border,
    )


def _means(
    index: Int[np.ndarray, "h w"], values: Float[np.ndarray, "h w c"]
) -> Float[np.ndarray, "p c"]:
    sums = [np.bincount(index.ravel(), channel.ravel()) for channel in np.moveaxis(values, -1, 0)]
    return np.stack(sums, axis=1) / np.bincount(index.ravel())[:, None]


def _distances(points: Float[np.ndarray, "p c"]) -> Float[np.ndarray, "p p"]:
    return np.linalg.norm(points[:, None] - points[None], axis=-1)


def _kernel(distance: Float[np.ndarray, "p p"], width: float) -> Float[np.ndarray, "p p"]:
    return np.exp(-(distance**2) / (2 * width**2))


def _background(
    patches: _Patches, colour_distance: Float[np.ndarray, "p p"]
) -> Float[np.ndarray, " p"]:
    """Probability of being background (equations 2 to 5), by the length that a patch's region has
    along the picture's border over the root of its area."""
    # Border patches know each other, so that a background cut in two by an object stays one.
    linked = patches.adjacent | (patches.border[:, None] & patches.border[None])
    np.fill_diagonal(linked, False)
    # Steps no greater than those which every patch has to some neighbour count nothing: texture.
    texture = np.where(linked, colour_distance, np.inf).min(axis=1).mean()
    steps = np.where(linked, np.maximum(colour_distance - texture, 1e-6), 0)
    similar = _kernel(shortest_path(steps), _COLOUR)
    connectivity = similar[:, patches.border].sum(axis=1) / np.sqrt(similar.sum(axis=1))
    return 1 - np.exp(-(connectivity**2) / 2)


def _contrast(
    patches: _Patches,
    colour_distance: Float[np.ndarray, "p p"],
    background: Float[np.ndarray, " p"],
) -> Float[np.ndarray, " p"]:
    """Contrast with the background near by (equation 6), 0..1."""
    weighted = colour_distance * _kernel(_distances(patches.place), _PLACE) * background
    contrast = weighted.sum(axis=1)
    return contrast / max(contrast.max(), _LEAST_CONTRAST)


def _optimum(
    patches: _Patches,
    colour_distance: Float[np.ndarray, "p p"],
    background: Float[np.ndarray, " p"],
    contrast: Float[np.ndarray, " p"],
) -> Float[np.ndarray, " p"]:
    """The minimum of equation 9: background near 0, contrast near 1, alike neighbours alike."""
    smooth = np.where(patches.adjacent, _kernel(colour_distance, _COLOUR) + 0.1, 0)
    weight = _BACKGROUND_WEIGHT * background + contrast
    return np.linalg.solve(np.diag(weight + smooth.sum(axis=1) + 1e-9) - smooth, contrast)
