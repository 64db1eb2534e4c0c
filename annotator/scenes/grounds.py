"""Grounds painted onto seen backdrops: polished floor, water, table, floor with a wall behind."""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor

from annotator.scenes.staging import Ground, Staging
from annotator.scenes.transport import average
from ldm.projection import HORIZON, blur

Views = Float[Tensor, "b 3 h w"]
Column = Float[Tensor, "b 1 1 1"]


def with_grounds(views: Views, stagings: Sequence[Staging]) -> Views:
    """Each view with the ground of its staging, colours in 0..1."""
    painters: dict[Ground, Callable[[Views, Column, Column], Tensor]] = {
        Ground.glossy: _polished,
        Ground.water: _water,
        Ground.table: _table,
        Ground.wall: _wall,
    }
    painted = views.clone()
    for ground, painter in painters.items():
        chosen = [i for i, staging in enumerate(stagings) if staging.ground is ground]
        if chosen:
            gloss, border = views.new_tensor(
                [[stagings[i].gloss, stagings[i].border] for i in chosen]
            ).split(1, dim=1)
            column = (len(chosen), 1, 1, 1)
            index = torch.tensor(chosen, device=views.device)
            painted[index] = painter(views[index], gloss.view(column), border.view(column))
    return painted.clamp(0, 1)


def _rows(views: Views) -> Float[Tensor, "h 1"]:
    height = views.shape[-2]
    return ((torch.arange(height, device=views.device) + 0.5) / height)[:, None]


def _columns(views: Views) -> Float[Tensor, " w"]:
    width = views.shape[-1]
    return (torch.arange(width, device=views.device) + 0.5) / width


def _polished(views: Views, gloss: Column, _: Column) -> Tensor:
    """The lower half mirrors the upper one, as far as `gloss` says."""
    weight = ((_rows(views) - 0.5) * 8).clamp(0, 1) * gloss
    floor = torch.lerp(views, blur(views, 0.02), weight)
    return torch.lerp(floor, blur(views.flip(-2), 0.01), 0.6 * weight)


def _water(views: Views, gloss: Column, _: Column) -> Tensor:
    """The lower half mirrors the upper one in ripples that grow towards the viewer."""
    row, column = _rows(views), _columns(views)
    near = (row - 0.5).clamp(min=0)
    phase = 2 * math.pi * 0.9 / (near + 0.06)  # even ripples on the water, seen at a slant
    wave = torch.sin(phase + 5 * torch.sin(9 * column)) + torch.sin(2.3 * phase - 17 * column)
    down = 1 - row + 0.12 * near * wave
    across = column + 0.05 * near * torch.sin(1.7 * phase + 6 * column)
    grid = torch.stack([across, down], dim=-1) * 2 - 1
    grid = grid.expand(len(views), -1, -1, -1)
    mirrored = F.grid_sample(views, grid, padding_mode="reflection", align_corners=False)
    deep = average(views, torch.ones_like(views[:, :1])).mean(dim=1) * 0.7
    deep = deep[:, None, None, None] * views.new_tensor([0.55, 1.05, 1.25])[:, None, None]
    water = torch.lerp(deep, mirrored, 0.3 + 0.5 * gloss)
    return torch.lerp(views, water, ((row - 0.5) * 24).clamp(0, 1))


def _table(views: Views, _: Column, border: Column) -> Tensor:
    """Boards from left to right up to the table's far edge; the view beyond it."""
    row, column = _rows(views), _columns(views)
    away = 1 / (row - HORIZON).clamp(min=0.04)
    along = (column - 0.5) * away
    grain = _noise(views, torch.stack([0.05 * along, (1.3 * away).expand_as(along)], dim=-1))
    board = _noise(views, torch.stack([0.002 * along, (0.11 * away).expand_as(along)], dim=-1))
    calm = torch.exp(-0.02 * away.square())
    tone = 1 + (0.14 * grain + 0.22 * board) * calm
    light = average(views, torch.ones_like(views[:, :1])).mean(dim=1).clamp(0.25, 0.6)
    wood = light[:, None, None, None] * views.new_tensor([1.25, 0.95, 0.68])[:, None, None]
    edge = 1 - 0.5 * torch.exp(-(row - border).clamp(min=0) / 0.006)
    return torch.lerp(views, wood * tone * edge, _above(row, border, views))


def _wall(views: Views, _: Column, border: Column) -> Tensor:
    """Plaster; below it the view's own lower part, stretched to a floor; darker where they meet."""
    row, column = _rows(views), _columns(views)
    place = torch.stack([column.expand(len(row), -1), row.expand(-1, len(column))], dim=-1)
    tone = 1.06 - 0.12 * row + 0.03 * _noise(views, 0.3 * place) + 0.03 * _noise(views, 2 * place)
    below = ((row - border) / (1 - border)).clamp(0, 1)[:, 0]
    grid = torch.stack(torch.broadcast_tensors(column, 0.72 + 0.28 * below), dim=-1) * 2 - 1
    floor = F.grid_sample(views, grid, padding_mode="border", align_corners=False)
    tint = average(views, torch.ones_like(views[:, :1]))[:, :, None, None]
    plaster = torch.lerp(tint.clamp(0.3, 0.75), views.new_tensor(0.7), 0.5)
    corner = 1 - 0.25 * torch.exp(-(row - border).abs() / 0.03)
    return torch.lerp(plaster * tone, floor, _above(row, border, views)) * corner


def _above(row: Tensor, border: Column, views: Views) -> Tensor:
    """0 above the border, 1 below it."""
    return ((row - border) * views.shape[-2] + 0.5).clamp(0, 1)


def _noise(views: Views, place: Float[Tensor, "h w 2"]) -> Float[Tensor, "h w"]:
    """A fixed texture, -1..1, that repeats, turned over, after each unit of length."""
    texture = torch.rand(1, 1, 64, 64, generator=Generator().manual_seed(0)).to(views) * 2 - 1
    grid = place[None] * 2 - 1
    return F.grid_sample(texture, grid, padding_mode="reflection", align_corners=False)[0, 0]
