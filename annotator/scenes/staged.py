"""Stagings made visible: their layers, their light, and the scenes under it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from annotator.scenes.grounds import with_grounds
from annotator.scenes.staging import Body, Box, Staging
from annotator.scenes.supply import Supply
from annotator.scenes.transport import Transport, lit, surroundings
from ldm.compositing import crop, place
from ldm.scene import Scene, baked
from ldm.values import Frames, Layers, Light, TensorValue


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where the bodies of several stagings, one after the other, stand in a padded batch."""

    picture: Int[Tensor, " k"]
    body: Int[Tensor, " k"]


def places(stagings: Sequence[Staging], device: torch.device) -> Places:
    """The picture of each body, and its number therein."""
    counts = [len(staging.bodies) for staging in stagings]
    picture = [i for i, count in enumerate(counts) for _ in range(count)]
    body = [number for count in counts for number in range(count)]
    found = torch.tensor([picture, body], dtype=torch.long, device=device)
    return Places(picture=found[0], body=found[1])


def staged_layers(stagings: Sequence[Staging], supply: Supply, size: int) -> Layers:
    """Square pictures of `size` pixels: the backs with their grounds, before them all bodies.

    Slots are padded to the most layers and the most witnesses of any of the stagings.
    """
    num_bodies = max(staging.num_witnesses for staging in stagings)
    num_bodies += max(len(staging.bodies) - staging.num_witnesses for staging in stagings)
    where = places(stagings, supply.device)
    shape = (len(stagings), max(num_bodies, 1))
    bodies = [body for staging in stagings for body in staging.bodies]
    rgba = supply.cutouts.new_zeros(*shape, 4, size, size)
    rgba[where.picture, where.body] = _standing(bodies, supply, size)
    present = torch.zeros(shape, dtype=torch.bool, device=supply.device)
    present[where.picture, where.body] = True
    back = F.pad(_backs(stagings, supply, size), (0, 0, 0, 0, 0, 1), value=1.0)
    return Layers(
        rgba=torch.cat([back[:, None], rgba], dim=1), present=F.pad(present, (1, 0), value=True)
    )


def _standing(bodies: Sequence[Body], supply: Supply, size: int) -> Float[Tensor, "k 4 h w"]:
    """Cut-outs where they stand; a canvas from right to left shows them mirrored."""
    chosen = torch.tensor([body.cutout for body in bodies], dtype=torch.long, device=supply.device)
    boxes = [_turned(body.box) if body.flipped else body.box for body in bodies]
    frames = Frames(box=torch.tensor(boxes, device=supply.device).view(1, -1, 4))
    return place(supply.cutouts[chosen][None], frames, (size, size))[0]


def _backs(stagings: Sequence[Staging], supply: Supply, size: int) -> Float[Tensor, "b 3 h w"]:
    chosen = torch.tensor([staging.backdrop for staging in stagings], device=supply.device)
    boxes = [_turned(each.view) if each.mirrored else each.view for each in stagings]
    frames = Frames(box=torch.tensor(boxes, device=supply.device)[:, None])
    squares = F.pad(supply.squares[chosen], (0, 0, 0, 0, 0, 1), value=1.0)[:, None]
    views = crop(squares, frames, (size, size))[:, 0].split([3, 1], dim=1)[0]
    return with_grounds(views, stagings)


def _turned(box: Box) -> Box:
    left, top, right, bottom = box
    return right, top, left, bottom


def staged_light(stagings: Sequence[Staging], device: torch.device) -> Light:
    """The light of each staging."""
    lights = [staging.light for staging in stagings]

    def of_each(values: Sequence[float] | Sequence[tuple[float, float, float]]) -> Tensor:
        return torch.tensor(values, device=device)

    return Light(
        azimuth=of_each([light.azimuth for light in lights]),
        elevation=of_each([light.elevation for light in lights]),
        colour=of_each([light.colour for light in lights]),
        softness=of_each([light.softness for light in lights]),
        ambient=of_each([light.ambient for light in lights]),
    )


@dataclass(frozen=True, kw_only=True)
class StagedScene(TensorValue):
    """Scenes with all their bodies as layers, the first `num_witnesses` of which are none yet."""

    whole: Scene
    num_witnesses: Int[Tensor, " b"]

    @property
    def scene(self) -> Scene:
        """The same, witnesses become part of the backs."""
        return baked(self.whole, self.num_witnesses)


def staged_scene(stagings: Sequence[Staging], layers: Layers, transport: Transport) -> StagedScene:
    """Scenes under the light of their stagings."""
    device = layers.rgba.device
    gloss = torch.tensor([staging.gloss for staging in stagings], device=device)
    light = staged_light(stagings, device)
    effects = lit(layers, transport, light, surroundings(layers.rgb[:, 0], gloss))
    witnesses = torch.tensor([staging.num_witnesses for staging in stagings], device=device)
    return StagedScene(
        whole=Scene(layers=layers, light=light, effects=effects), num_witnesses=witnesses
    )


def scene_of(stagings: Sequence[Staging], layers: Layers, transport: Transport) -> Scene:
    """Scenes under the light of their stagings, witnesses become part of the backs."""
    return staged_scene(stagings, layers, transport).scene
