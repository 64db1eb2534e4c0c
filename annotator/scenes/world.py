"""What rays meet in a staged scene: bodies back to front, ground and wall, the light."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from annotator.scenes.bodies import FOCAL, Camera, camera_before, cushion, extent
from annotator.scenes.staging import Ground, KeyLight, Staging
from annotator.scenes.supply import Supply
from annotator.scenes.tracing import Rays, Solid
from ldm.compositing import place, place_maps
from ldm.projection import facing, standing
from ldm.values import Frames

_LIFTED = 1e-2  # heights of the camera: rays begin so far above a body, clear of its own facets


@dataclass(frozen=True, kw_only=True)
class Surface:
    """Points of a surface that are seen, some in each pixel; `real`: which of them there are."""

    point: Float[Tensor, "3 p s"]
    normal: Float[Tensor, "3 p s"]
    real: Bool[Tensor, "p s"]


@dataclass(frozen=True, kw_only=True)
class World:
    """A scene in space.

    `canvases`: the bodies' pictures; `frames`: where they are seen; `alpha`, `normals`: what is
    seen there, each body alone.
    """

    canvases: Float[Tensor, "1 m 4 t t"]
    frames: Frames
    alpha: Float[Tensor, "m 1 h w"]
    normals: Float[Tensor, "m 3 h w"]
    solids: tuple[Solid, ...]
    camera: Camera
    ground: Ground
    border: float
    light: KeyLight
    size: int

    def corner(self, pixel: Int[Tensor, " p"]) -> tuple[Tensor, Tensor]:
        """Left and upper edge `[p 1]` of pixels, in shares of the picture."""
        row = pixel.div(self.size, rounding_mode="floor")
        return (pixel - row * self.size)[:, None] / self.size, row[:, None] / self.size

    def floor(self, pixel: Int[Tensor, " p"], within: Float[Tensor, "2 p s"]) -> Surface:
        """What is seen of ground and wall, all bodies taken away, at places `within` pixels."""
        left, top = self.corner(pixel)
        x, y = left + within[0] / self.size, top + within[1] / self.size
        distance = self.camera.ground_distance(y).clamp(max=1e4)
        normal = torch.zeros(3, *y.shape, device=y.device)
        on_wall = (y < self.border) & (self.ground is Ground.wall)
        if self.ground is Ground.wall:
            distance = distance.where(~on_wall, FOCAL / (self.border - self.camera.horizon))
        normal[1], normal[2] = (~on_wall).float(), on_wall.float()
        edge = self.border if self.ground is Ground.table else self.camera.horizon
        return Surface(
            point=self.camera.point(x, y, distance), normal=normal, real=(y > edge) | on_wall
        )

    def body(self, index: int, pixel: Int[Tensor, " p"], within: Float[Tensor, "2 p s"]) -> Surface:
        """What is seen of one body, all others taken away."""
        left, top = self.corner(pixel)
        x, y = left + within[0] / self.size, top + within[1] / self.size
        away = self.camera.point(x, y, torch.ones_like(x))
        eye = torch.tensor([0.0, 1.0, 0.0], device=x.device)[:, None, None]
        direction = away - eye
        length = direction.square().sum(dim=0, keepdim=True).sqrt()
        direction = direction / length
        rays = Rays(origin=eye.expand_as(direction).flatten(1), direction=direction.flatten(1))
        asked = torch.ones_like(rays.direction[0], dtype=torch.bool)
        distance = self.solids[index].distances(rays, asked).reshape(x.shape)
        real = distance.isfinite()
        normal = self.normals[index].flatten(1)[:, pixel, None].expand_as(direction)
        lifted = eye + direction * distance.where(real, 1.0) + _LIFTED * normal
        return Surface(point=lifted, normal=normal, real=real)


def world_of(staging: Staging, supply: Supply, size: int) -> World:
    """The scene in space."""
    bodies = staging.bodies
    canvases = supply.cutouts[[body.cutout for body in bodies]]
    flipped = torch.tensor([body.flipped for body in bodies], device=supply.device)
    canvases = canvases.flip(-1).where(flipped[:, None, None, None], canvases)
    alphas = canvases[:, 3]
    camera = camera_before([extent(*pair) for pair in zip(alphas, bodies, strict=True)])
    frames = Frames(box=torch.tensor([[body.box for body in bodies]], device=supply.device))
    shapes = standing(canvases[None, :, 3:])
    normals = shapes.seen(facing(shapes), (canvases.shape[-2], canvases.shape[-1]))
    return World(
        canvases=canvases[None],
        frames=frames,
        alpha=place(canvases[None], frames, (size, size))[0, :, 3:],
        normals=place_maps(normals, frames, (size, size))[0],
        solids=tuple(
            Solid(*cushion(alpha, body, camera)) for alpha, body in zip(alphas, bodies, strict=True)
        ),
        camera=camera,
        ground=staging.ground,
        border=staging.border,
        light=staging.light,
        size=size,
    )
