"""Edits whose outcome is known: a layer moved, a layer recoloured, and scenes made anew after."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Generator, Tensor

from annotator.scenes.analytic import lit, polished, random_gloss, random_light
from annotator.scenes.dataset import AnalyticScenes
from annotator.scenes.placement import placed
from ldm.effects import shown
from ldm.metrics import affected_region
from ldm.scene import Scene
from ldm.values import Layers, TensorValue


def slid(
    values: Float[Tensor, "b n c h w"], offset: Float[Tensor, "b n 2"], *, outside: float
) -> Float[Tensor, "b n c h w"]:
    """Maps moved right and down by shares of the picture, in whole pixels; `outside` comes in."""
    one, none = torch.ones_like(offset[..., 0]), torch.zeros_like(offset[..., 0])
    across, down = (-2 * offset).unbind(-1)
    rows = [torch.stack([one, none, across], -1), torch.stack([none, one, down], -1)]
    shape = list(values.flatten(0, 1).shape)
    grid = F.affine_grid(torch.stack(rows, dim=-2).flatten(0, 1), shape, align_corners=False)
    moved = F.grid_sample((values - outside).flatten(0, 1), grid, "nearest", align_corners=False)
    return moved.unflatten(0, values.shape[:2]) + outside


@dataclass(frozen=True, kw_only=True)
class Move(TensorValue):
    """One layer of each picture moved: its slot, and how far to the right and down, in shares of
    the picture."""

    slot: Int[Tensor, " b"]
    offset: Float[Tensor, "b 2"]

    def of(
        self, values: Float[Tensor, "b n c h w"], *, outside: float
    ) -> Float[Tensor, "b n c h w"]:
        """Maps of each slot after the move."""
        moved = slid(values, self.offset[:, None].expand(-1, values.shape[1], -1), outside=outside)
        return torch.where(slot_mask(self.slot, values.shape[1]), moved, values)

    def layers(self, layers: Layers) -> Layers:
        """Layers after the move."""
        return Layers(rgba=self.of(layers.rgba, outside=0.0), present=layers.present)


@dataclass(frozen=True, kw_only=True)
class EditedScene:
    """A scene, what was moved in it, and the scene made anew after the move."""

    before: Scene
    move: Move
    after: Scene


def slot_mask(slot: Int[Tensor, " b"], num_slots: int) -> Tensor:
    """True `[b n 1 1 1]` for one slot of each picture."""
    return (torch.arange(num_slots) == slot[:, None])[:, :, None, None, None]


def nearest_slot(layers: Layers) -> Int[Tensor, " b"]:
    """The foremost layer of each picture: nothing hides it."""
    return layers.present.sum(dim=1) - 1


def random_move(layers: Layers, generator: Generator) -> Move:
    """The foremost layer dragged by 15 to 35 % of the picture to the side where there is more room,
    and by up to 4 % up or down."""
    slot = nearest_slot(layers)
    alpha = layers.alpha[torch.arange(slot.shape[0]), slot, 0]
    column = (torch.arange(alpha.shape[-1]) + 0.5) / alpha.shape[-1]
    centre = (alpha.sum(dim=1) * column).sum(dim=1) / alpha.sum(dim=(1, 2)).clamp(min=1e-6)
    far, up = torch.rand(2, slot.shape[0], generator=generator)
    across = (0.15 + 0.2 * far) * torch.where(centre < 0.5, 1.0, -1.0)
    return Move(slot=slot, offset=torch.stack([across, 0.08 * (up - 0.5)], dim=1))


def analytic_edit(supply: AnalyticScenes, generator: Generator) -> EditedScene:
    """A random batch of analytic scenes, and the same after a random move, by the same formulas."""
    cutouts, views = supply.ingredients(generator)
    gloss = random_gloss(len(views), generator)
    backdrops = polished(views, gloss)
    layers = placed(cutouts, backdrops, generator)
    light = random_light(backdrops, generator)
    move = random_move(layers, generator)
    scenes = [
        Scene(layers=each, light=light, effects=lit(each, light, gloss))
        for each in (layers, move.layers(layers))
    ]
    return EditedScene(before=scenes[0], move=move, after=scenes[1])


def cast_region(scene: Scene, slot: Int[Tensor, " b"]) -> Float[Tensor, "b 1 h w"]:
    """Where shadow and reflection of one layer of each picture change the true picture."""
    chosen, effects = slot_mask(slot, scene.layers.present.shape[1]), scene.effects
    without = replace(
        effects,
        shadow=torch.where(chosen, 1.0, effects.shadow),
        reflection=torch.where(chosen, 0.0, effects.reflection),
    )
    return affected_region(shown(scene.layers, effects), shown(scene.layers, without))


def recoloured(layers: Layers, slot: Int[Tensor, " b"], generator: Generator) -> Layers:
    """One layer of each picture in random wrong colours: gamma and gain of each channel, both up to
    a factor 1.5 (the recipe of iHarmony4, Cong et al., CVPR 2020, with random curves)."""
    shape = (2, slot.shape[0], 1, 3, 1, 1)
    gamma, gain = 1.5 ** (2 * torch.rand(shape, generator=generator) - 1)
    wrong = (layers.rgb.clamp(0, 1).pow(gamma) * gain).clamp(0, 1)
    rgb = torch.where(slot_mask(slot, layers.present.shape[1]), wrong, layers.rgb)
    return Layers(rgba=torch.cat([rgb, layers.alpha], dim=2), present=layers.present)
