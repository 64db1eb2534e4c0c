"""The last step of training a relation network: what it says of relief and of shadows, in closed
form."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor
from tqdm import tqdm

from cldm.relation.colours import EVERY, regions
from cldm.relation.estimate import AssumedLight
from cldm.relation.fields import LOCAL, channels_of, shares
from cldm.relation.guides import Guides, told
from cldm.relation.learned import LearnedRelation
from cldm.relation.tones import Tones
from cldm.training.ridge import Lacking, Ridge
from ldm.scene import Scene
from ldm.values import Layers

_RELIEF = ("direct", "up", "front")
_PIXELS = 6000  # of a batch: neighbours tell the same
_SOLID, _DARKEST, _BRIGHTEST, _MOST = 0.6, 0.05, 0.99, 4.0
_CAST = 0.02  # of the light, by a guide: less is no shadow
_HIDDEN = 0.1  # how much shadow counts that is hidden by what casts it
_LEFT = 0.1  # of the light: in darker places errors count as they do here


@dataclass(frozen=True, kw_only=True)
class _Answer:
    """What a network says of scenes, told their light, and what its head read for that, patch by
    patch."""

    scene: Scene
    small: Layers
    light: AssumedLight
    guides: Guides
    tokens: Float[Tensor, "b m p d"]
    grid: tuple[int, int]
    tones: Tones

    @property
    def new(self) -> Float[Tensor, "b m 1 1 1"]:
        """How likely each layer does not stand in the light already."""
        return (1 - self.light.agreed)[:, :, None, None, None]


@dataclass(frozen=True, kw_only=True)
class _Pixels:
    """Some pixels of the slots above the back."""

    picture: Int[Tensor, " k"]
    slot: Int[Tensor, " k"]
    row: Int[Tensor, " k"]
    column: Int[Tensor, " k"]

    def of(self, maps: Float[Tensor, "b m c h w"]) -> Float[Tensor, "k c"]:
        """What maps have there."""
        return maps[self.picture, self.slot, :, self.row, self.column]

    def read(self, answer: _Answer) -> Float[Tensor, "k d2"]:
        """What the head read there, and a one for its bias."""
        rows, columns = answer.grid
        height, width = answer.small.size
        patch = self.row * rows // height * columns + self.column * columns // width
        return F.pad(answer.tokens[self.picture, self.slot, patch], (0, 1), value=1.0)


@torch.no_grad()
def fit_in_closed_form(network: LearnedRelation, scenes: Iterable[Scene]) -> None:
    """Fit what is said of `direct`, `up`, `front`, and of `cast`, to neutral layers whose light is
    told; all else stays as it is.

    The light that a pixel receives, or loses in a shadow, is linear in these fields, and they in
    the weights that say them: the head's best ones for relief are a ridge regression from the
    tokens. Gradient descent comes there slowly: of most pictures the light is not told, or a layer
    is in wrong colours. `cast` gets one number for each colour: geometry says the rest.
    """
    network.eval()
    generator = Generator().manual_seed(0)
    width, device = network.width + 1, network.head.bias.device
    relief, shadows = Ridge(len(_RELIEF), width, device), Ridge(1, 1, device)
    for scene in tqdm(scenes, "closed form"):
        answer = _answer(network, scene)
        relief.add(_lacking_relief(answer, _true(network, scene), generator))
        shadows.add(_lacking_shadow(answer, generator))
    _add_relief(network, relief.solve())
    (cast,) = shadows.solve()
    network.colours.tint.bias.detach()[channels_of("cast")] += cast[:, 0]


def _answer(network: LearnedRelation, scene: Scene) -> _Answer:
    small = network.look.small(scene.layers)
    light, found = network.guided(scene.layers, small, told(scene.light))
    view, seen = network.look(small, light, found), regions(small.thinned(EVERY))
    colours = network.colours(seen, light)
    tokens = network.tokens(view, colours)
    return _Answer(
        scene=scene,
        small=small,
        light=light,
        guides=found,
        tokens=tokens,
        grid=view.grid,
        tones=view.tones(network.head(tokens), network.colours.tint(colours)),
    )


def _lacking_relief(answer: _Answer, true: Layers, generator: Generator) -> Lacking:
    """Light that solid layers lack; `true`: as they should be seen."""
    pixels = _some(answer.small.alpha[:, 1:, 0] > _SOLID, generator)
    change, lift, _, _, _ = answer.tones.parts
    rgb, lit = pixels.of(answer.small.rgb[:, 1:]), pixels.of(true.rgb[:, 1:])
    received = pixels.of(1 + change).square()
    needed = ((lit - pixels.of(lift)).clamp(min=0) / rgb.clamp(min=_DARKEST)).square()
    counts = (rgb > _DARKEST) & ((lit < _BRIGHTEST) | (needed < received))
    # By how much a change of the light shows; colours are about the root of light.
    weight = rgb.square() / (4 * received.clamp(min=_LEFT))
    maps = [answer.guides.direct, answer.guides.up, answer.guides.front]
    basis = pixels.of(torch.cat(maps, dim=2) * answer.new)
    return Lacking(
        basis=basis[..., None].expand(-1, -1, 3),
        read=pixels.read(answer),
        light=(needed.clamp(max=_MOST) - received) * counts,
        weight=(weight * counts).mean(dim=1),
    )


def _lacking_shadow(answer: _Answer, generator: Generator) -> Lacking:
    """Light that shadows should take and do not, where a guide has some that can be seen."""
    size = answer.small.size
    contact, found, truth = (
        _shrunk(maps, size)
        for maps in (
            answer.guides.contact,
            1 + answer.tones.shadow,
            answer.scene.effects.shadow[:, 1:],
        )
    )
    key, sky = shares(answer.light.light)
    taken = key * contact + sky * answer.guides.sky
    cast = (taken.amax(dim=2) > _CAST) & (answer.new[:, :, 0] > 0.5)
    pixels = _some(cast & answer.small.present[:, 1:, None, None], generator)
    basis, light = pixels.of(taken), pixels.of(found).square()
    # Under the layer itself its shadow is not seen, but goes on smoothly.
    seen = 1 - (1 - _HIDDEN) * pixels.of(answer.small.alpha[:, 1:])[:, 0]
    return Lacking(
        basis=basis[:, None],
        read=torch.ones_like(seen[:, None]),
        light=light - pixels.of(truth).square(),
        weight=seen / (4 * light.mean(dim=1).clamp(min=_LEFT)),
    )


def _some(where: Bool[Tensor, "b m h w"], generator: Generator) -> _Pixels:
    """Some of the pixels that are true."""
    found = where.nonzero()
    chosen = torch.randperm(len(found), generator=generator)[:_PIXELS].to(found.device)
    picture, slot, row, column = found[chosen].T
    return _Pixels(picture=picture, slot=slot, row=row, column=column)


def _shrunk(maps: Float[Tensor, "b m c y x"], size: tuple[int, int]) -> Float[Tensor, "b m c h w"]:
    small = F.interpolate(maps.flatten(0, 1), size=size, mode="area")
    return small.unflatten(0, maps.shape[:2])


def _true(network: LearnedRelation, scene: Scene) -> Layers:
    """The layers at working size as they should be seen."""
    lit = (scene.layers.rgb * scene.effects.multiply + scene.effects.add).clamp(0, 1)
    rgba = torch.cat([lit, scene.layers.alpha], dim=2)
    return network.look.small(Layers(rgba=rgba, present=scene.layers.present))


def _add_relief(network: LearnedRelation, found: Float[Tensor, "g 3 d"]) -> None:
    """Add to fields of the head, alike in all cells of a patch; the last number is for the bias."""
    values = network.head.weight, network.head.bias[:, None]
    weight, bias = (part.detach().unflatten(0, (sum(LOCAL), -1)) for part in values)
    for name, rows in zip(_RELIEF, found, strict=True):
        weight[channels_of(name)] += rows[:, None, :-1]
        bias[channels_of(name)] += rows[:, None, -1:]
