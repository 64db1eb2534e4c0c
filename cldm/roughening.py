"""Masks as people draw them: training widens and simplifies true ones, so that sloppy ones work."""

from enum import Enum

import cv2
import numpy as np
from jaxtyping import Bool, UInt8


class Roughness(Enum):
    """How a mask is simplified."""

    EXACT = "exact"
    DILATED = "dilated"
    HULL = "hull"
    POLYGON = "polygon"
    ELLIPSE = "ellipse"
    BOX = "box"


# The share of training masks that is simplified in each way.
_SHARES = {
    Roughness.EXACT: 0.40,
    Roughness.DILATED: 0.20,
    Roughness.HULL: 0.12,
    Roughness.POLYGON: 0.14,
    Roughness.ELLIPSE: 0.07,
    Roughness.BOX: 0.07,
}


def rough_mask(alpha: UInt8[np.ndarray, "h w"], random: np.random.Generator) -> np.ndarray:
    """A mask `[h w]` of 0 and 1 (float32) around an alpha of 0..255, simplified at random."""
    kind = list(_SHARES)[random.choice(len(_SHARES), p=list(_SHARES.values()))]
    solid = alpha > 127
    if not solid.any():
        solid = alpha > 0
    return simplified(solid, kind, random).astype(np.float32)


def simplified(
    solid: Bool[np.ndarray, "h w"], kind: Roughness, random: np.random.Generator
) -> UInt8[np.ndarray, "h w"]:
    """The mask, simplified in one way; 0 and 1."""
    mask = solid.astype(np.uint8)
    if kind is Roughness.EXACT or not solid.any():
        return mask
    if kind is Roughness.DILATED:
        radius = int(random.integers(1, max(2, round(0.05 * max(mask.shape))) + 1))
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        return cv2.dilate(mask, kernel)
    points = cv2.findNonZero(mask)
    left, top, width, height = cv2.boundingRect(points)
    drawn = np.zeros_like(mask)
    if kind is Roughness.HULL:
        return cv2.fillPoly(drawn, [cv2.convexHull(points)], 1)
    if kind is Roughness.POLYGON:
        contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        tolerance = random.uniform(0.01, 0.04) * max(width, height)
        return cv2.fillPoly(drawn, [cv2.approxPolyDP(c, tolerance, True) for c in contours], 1)
    if kind is Roughness.ELLIPSE:
        centre = (left + width // 2, top + height // 2)
        return cv2.ellipse(drawn, centre, (width // 2 + 1, height // 2 + 1), 0, 0, 360, 1, -1)
    return cv2.rectangle(drawn, (left, top), (left + width - 1, top + height - 1), 1, -1)
