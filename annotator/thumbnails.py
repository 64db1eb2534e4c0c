"""Small pictures that stand inside a page."""

import base64

import cv2
import numpy as np
from jaxtyping import UInt8

_HEIGHT, _WIDTH = 264, 528
"""Greatest size in pixels: twice that at which a page shows them, for fine screens."""
_QUALITY = 82
_SQUARES = 18
"""Squares of a checkerboard along the picture's shorter side."""
_LIGHT, _DARK = 255, 204


def image(pixels: UInt8[np.ndarray, "h w 3"]) -> str:
    """An `<img>` element that holds the picture itself, made small, as JPEG."""
    height, width = pixels.shape[:2]
    scale = min(1.0, _HEIGHT / height, _WIDTH / width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    quality = (cv2.IMWRITE_JPEG_QUALITY, _QUALITY)
    jpeg = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), quality)[1]
    text = base64.b64encode(jpeg.tobytes()).decode()
    return f'<img alt="" width="{size[0]}" height="{size[1]}" src="data:image/jpeg;base64,{text}">'


def over_checkerboard(rgba: UInt8[np.ndarray, "h w 4"]) -> UInt8[np.ndarray, "h w 3"]:
    """A layer over grey squares, so that what is transparent shows."""
    height, width = rgba.shape[:2]
    square = -(-min(height, width) // _SQUARES)
    odd = (np.arange(height)[:, None] // square + np.arange(width) // square) % 2
    board = np.where(odd, _DARK, _LIGHT)[..., None]
    rgb, alpha = np.split(rgba.astype(np.float32), [3], axis=-1)
    return (board + (rgb - board) * (alpha / 255)).round().astype(np.uint8)
