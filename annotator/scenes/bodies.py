"""Bodies in space: cut-outs inflated to cushions that stand on a ground before a camera.

The geometry is that of `ldm.projection`. Here lengths are in heights of the camera above the
ground: the ground is `y = 0`, the camera is at `y = 1` above the origin and looks along `-z`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from annotator.scenes.staging import Body
from ldm.projection import CELLS, FOCAL, HORIZON, MARGIN, THICK, inflated

_NEIGHBOURS = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)]


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A pinhole: `horizon` is the row (share of the picture's height) where its ground ends."""

    horizon: float

    def point(
        self, x: Float[Tensor, "*k"], y: Float[Tensor, "*k"], distance: Float[Tensor, "*k"]
    ) -> Float[Tensor, "3 *k"]:
        """What is seen at a place in the picture, so far away along the view."""
        scale = distance / FOCAL
        return torch.stack([(x - 0.5) * scale, 1 - (y - self.horizon) * scale, -distance])

    def seen(self, point: Float[Tensor, "3 *k"]) -> tuple[Tensor, Tensor]:
        """The place `x`, `y` in the picture where a point is seen."""
        across, up, towards = point.unbind(0)
        scale = FOCAL / (-towards).clamp(min=1e-6)
        return 0.5 + across * scale, self.horizon + (1 - up) * scale

    def ground_distance(self, y: Float[Tensor, "*k"]) -> Float[Tensor, "*k"]:
        """How far away the ground of a row is; infinite above the horizon."""
        return torch.where(y > self.horizon, FOCAL / (y - self.horizon), math.inf)


@dataclass(frozen=True, kw_only=True)
class Extent:
    """The rows and columns that a body's solid part covers, in shares of the picture."""

    left: float
    top: float
    right: float
    bottom: float


def extent(alpha: Float[Tensor, "s s"], body: Body) -> Extent:
    """Where the solid part of a cut-out lies in the picture, also beyond its edge."""
    left, top, right, bottom = body.box
    rows, columns = ((alpha > 0.5).any(dim=axis).nonzero() for axis in (1, 0))
    width, height = (right - left) / alpha.shape[1], (bottom - top) / alpha.shape[0]
    return Extent(
        left=left + float(columns[0]) * width,
        top=top + float(rows[0]) * height,
        right=left + float(columns[-1] + 1) * width,
        bottom=top + float(rows[-1] + 1) * height,
    )


def camera_before(extents: Sequence[Extent]) -> Camera:
    """The camera of a picture; what stands high in it raises the horizon."""
    return Camera(horizon=min([HORIZON, *(extent.bottom - 0.15 for extent in extents)]))


def cushion(
    alpha: Float[Tensor, "s s"], body: Body, camera: Camera
) -> tuple[Float[Tensor, "v 3"], Int[Tensor, "f 3"]]:
    """Vertices and faces of a cut-out inflated to both sides.

    Seen by the camera it has the outline of alpha 0.5: each vertex lies on the ray of view through
    its place on the canvas. Faces without area fill up, so that all meshes have as many.
    """
    small = F.interpolate(alpha[None, None], (CELLS, CELLS), mode="area")
    small = F.pad(small, (MARGIN,) * 4)[0, 0]
    across, down = _trimmed(small)
    left, top, right, bottom = body.box
    x = left + (across + 0.5 - MARGIN) * (right - left) / CELLS
    y = top + (down + 0.5 - MARGIN) * (bottom - top) / CELLS
    around = extent(alpha, body)
    half = THICK * min(around.bottom - around.top, around.right - around.left)
    base = around.bottom - 0.5 * half * (around.bottom - camera.horizon) / FOCAL
    scale = 1 / (base - camera.horizon)
    relief = half * scale * inflated(small)
    sides = [camera.point(x, y, FOCAL * scale + side * relief) for side in (-1, 1)]
    vertices = torch.stack(sides, dim=1).flatten(1).T.contiguous()
    return vertices, _faces(small > 0.5)


def _trimmed(alpha: Float[Tensor, "g g"]) -> tuple[Float[Tensor, "g g"], Float[Tensor, "g g"]]:
    """Columns and rows of a grid's vertices, those next to the inside drawn in to alpha 0.5."""
    size = alpha.shape[0]
    framed = F.pad(alpha, (1, 1, 1, 1))
    moves, count = torch.zeros(2, size, size, device=alpha.device), torch.zeros_like(alpha)
    for i, j in _NEIGHBOURS:
        inner = framed[1 + i : 1 + i + size, 1 + j : 1 + j + size]
        crossing = (alpha <= 0.5) & (inner > 0.5)
        share = torch.where(crossing, (0.5 - alpha) / (inner - alpha).clamp(min=1e-6), 0.0)
        moves = moves + torch.stack([share * j, share * i])
        count = count + crossing
    grid = torch.arange(size, device=alpha.device, dtype=alpha.dtype)
    across, down = moves / count.clamp(min=1)
    return across + grid, down + grid[:, None]


def _faces(inside: Tensor) -> Int[Tensor, "f 3"]:
    """Two triangles on either side of each cell that reaches inside; no area elsewhere."""
    number = torch.arange(inside.numel(), device=inside.device).reshape(inside.shape)
    corners = [number[:-1, :-1], number[1:, :-1], number[1:, 1:], number[:-1, 1:]]
    reaches = inside.flatten()[torch.stack(corners)].any(dim=0)
    a, b, c, d = ((corner * reaches).flatten() for corner in corners)
    front = torch.cat([torch.stack([a, b, c], dim=1), torch.stack([a, c, d], dim=1)])
    back = front.flip(1) + inside.numel()
    return torch.cat([front, back])
