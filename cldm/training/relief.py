"""Relief in a known light: the last step of training a relation network, in closed form."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor
from tqdm import tqdm

from cldm.relation.colours import EVERY
from cldm.relation.fields import WIDTHS
from cldm.relation.guides import guides, told
from cldm.relation.learned import LearnedRelation
from ldm.scene import Scene
from ldm.values import Layers

_FIELDS, _COLOURS = 3, 3  # direct, up and front: the last ones of a head
_PIXELS = 6000  # of a batch: neighbours tell the same
_RIDGE = 1e-4  # of the mean of the moments' diagonal
_SMALL = 1e-6
_SOLID, _DARKEST, _BRIGHTEST, _MOST = 0.6, 0.05, 0.99, 4.0


@dataclass(frozen=True, kw_only=True)
class _Lacking:
    """Pixels of layers: what their relief can be read from, the light that the network's answer
    lacks there, and how much that shows."""

    features: Float[Tensor, "k f"]
    light: Float[Tensor, "k 3"]
    weight: Float[Tensor, " k"]


@torch.no_grad()
def fit_relief(network: LearnedRelation, scenes: Iterable[Scene]) -> None:
    """Fit what the head says of `direct`, `up` and `front` to neutral layers whose light is told;
    all else stays as it is.

    The light that a pixel receives is linear in these fields, and they in the head's weights: the
    best ones are a ridge regression (Hoerl and Kennard, "Ridge Regression", Technometrics 1970)
    from the tokens, `argmin_w sum v (x w - l)^2 + r |w|^2`. Gradient descent comes there slowly:
    of most pictures the light is not told, or a layer is in wrong colours.
    """
    network.eval()
    generator = Generator().manual_seed(0)
    size, device = _FIELDS * (network.width + 1), network.head.bias.device
    moments = torch.zeros(size, size, dtype=torch.double, device=device)
    target = torch.zeros(size, _COLOURS, dtype=torch.double, device=device)
    for scene in tqdm(scenes, "relief"):
        lacking = _lacking(network, scene, generator)
        weighed = (lacking.features * lacking.weight[:, None]).double()
        moments += weighed.T @ lacking.features.double()
        target += weighed.T @ lacking.light.double()
    moments.diagonal().add_((_RIDGE * moments.diagonal().mean()).clamp(min=_SMALL))
    found = torch.linalg.solve(moments, target).float()
    _add(network, found.unflatten(0, (_FIELDS, -1)))


def _lacking(network: LearnedRelation, scene: Scene, generator: Generator) -> _Lacking:
    """Some pixels of the layers of neutral scenes."""
    small, true = (network.look.small(layers) for layers in (scene.layers, _lit(scene)))
    light = network.assumed(small, told(scene.light))
    found = guides(small, network.look.fine(scene.layers), light.light)
    view, whole = network.look(small, light, found), network.colours(small.thinned(EVERY), light)
    tokens = network.tokens(view, whole)
    tones = view.tones(network.head(tokens), network.colours.tint(whole))
    change, lift, _, _, _ = tones.parts
    solid = (small.alpha[:, 1:, 0] > _SOLID).nonzero()
    chosen = torch.randperm(len(solid), generator=generator)[:_PIXELS].to(solid.device)
    picture, slot, row, column = solid[chosen].T

    def at(pixels: Float[Tensor, "b m c h w"]) -> Float[Tensor, "k c"]:
        return pixels[picture, slot, :, row, column]

    patch = row // view.patch * view.grid[1] + column // view.patch
    read = F.pad(tokens[picture, slot, patch], (0, 1), value=1.0)
    relief = torch.cat([found.direct, found.up, found.front], dim=2)
    relief = relief * (1 - light.agreed)[:, :, None, None, None]
    rgb, lit, received = at(small.rgb[:, 1:]), at(true.rgb[:, 1:]), at(1 + change).square()
    needed = ((lit - at(lift)).clamp(min=0) / rgb.clamp(min=_DARKEST)).square()
    # By how much a change of the light shows; colours are about the root of light.
    weight = rgb.square() / (4 * received.clamp(min=0.1))
    counts = (rgb > _DARKEST) & ((lit < _BRIGHTEST) | (needed < received))
    return _Lacking(
        features=(at(relief)[:, :, None] * read[:, None]).flatten(1),
        light=(needed.clamp(max=_MOST) - received) * counts,
        weight=(weight * counts).mean(dim=1),
    )


def _lit(scene: Scene) -> Layers:
    """The layers as they should be seen."""
    lit = (scene.layers.rgb * scene.effects.multiply + scene.effects.add).clamp(0, 1)
    rgba = torch.cat([lit, scene.layers.alpha], dim=2)
    return Layers(rgba=rgba, present=scene.layers.present)


def _add(network: LearnedRelation, found: Float[Tensor, "3 d 3"]) -> None:
    """Add to the last fields of the head, alike in all cells of a patch."""
    rows = found.transpose(1, 2).flatten(0, 1)[:, None]
    for values, more in ((network.head.weight, rows[..., :-1]), (network.head.bias, rows[..., -1])):
        by_field = values.detach().unflatten(0, (sum(WIDTHS), -1))
        by_field[-len(rows) :] += more
