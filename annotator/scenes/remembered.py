"""Pictures to learn to see the light by: made once, seen again and again in other tones."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import reduce

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor
from torch.utils.data import IterableDataset

from annotator.scenes.staged import StagedScene
from ldm.compositing import stack, unpremultiply, visibility
from ldm.scene import LitLayers, partly_cut_out, traces
from ldm.values import Layers

_CELL = 4  # pixels of a cell in which traces are kept
_NEUTRAL, _CUT_OUT = 0.5, 0.22  # shares of pictures; of the others the lowest layers are cut out
_WHOLE = 0.06  # of pictures have nothing before the back
_FARTHEST = 16  # pixels by which pictures are pushed aside


class RememberedScenes(IterableDataset[LitLayers]):
    """Yields `num_batches` batches of `batch_size` pictures in known light, out of `scenes`, as
    `lit_layers` shows them.

    These are taken when they are first asked for, each in one way: neutral, cut from the true
    picture, or the lowest layers cut out; and are kept in half precision. Left and right, tones and
    the place are drawn anew each time. A batch depends on `seed` and its number only.
    """

    def __init__(
        self,
        scenes: Iterable[StagedScene],
        *,
        batch_size: int,
        num_batches: int,
        seed: int,
        first: int = 0,
    ) -> None:
        self.scenes = scenes
        self.batch_size = batch_size
        self.num_batches = num_batches
        self.seed = seed
        self.first = first

    def __len__(self) -> int:
        return self.num_batches

    def __iter__(self) -> Iterator[LitLayers]:
        drawing = Generator().manual_seed(self.seed)
        pool = [part for staged in self.scenes for part in _remembered(staged, drawing)]
        for number in range(self.first, self.first + self.num_batches):
            generator = Generator().manual_seed(self.seed * 1_000_003 + number)
            chosen = torch.randint(len(pool), (self.batch_size,), generator=generator).tolist()
            lit = reduce(LitLayers.joined, [pool[index] for index in chosen]).to(torch.float32)
            turned = torch.rand(self.batch_size, generator=generator) < 0.5
            yield _pushed_aside(_retoned(lit.turned_over(turned), generator), generator)


def neutral(staged: StagedScene) -> LitLayers:
    """Scenes as neutral layers: what shows the light stands in the back."""
    return lit_layers(staged, torch.zeros_like(staged.num_witnesses))


def lit_layers(staged: StagedScene, count: Int[Tensor, " b"]) -> LitLayers:
    """Scenes of which the first `count` layers above the back were cut from the true picture, as
    three slots: the back, all that were cut out, and all others."""
    layers = partly_cut_out(staged.scene, count).layers
    slots = torch.arange(layers.present.shape[1], device=count.device)
    above, cut = layers.present & (slots > 0), slots <= count[:, None]
    parts = (above & cut, above & ~cut)
    merged = [_merged(layers, part) for part in parts]
    marks = traces(staged.whole, staged.num_witnesses + count)
    there = torch.stack([layers.present[:, 0], *(part.any(dim=1) for part in parts)], dim=1)
    return LitLayers(
        layers=Layers(rgba=torch.stack([layers.rgba[:, 0], *merged], dim=1), present=there),
        light=staged.whole.light,
        traces=F.avg_pool2d(marks, _CELL),
        agreed=there & (torch.arange(3, device=count.device) < 2),
    )


def _merged(layers: Layers, slots: Bool[Tensor, "b n"]) -> Float[Tensor, "b 4 h w"]:
    """Some layers as one."""
    shares = visibility(layers.alpha * slots[:, :, None, None, None])
    return unpremultiply(torch.cat([(shares * layers.rgb).sum(dim=1), shares.sum(dim=1)], dim=1))


def _remembered(staged: StagedScene, generator: Generator) -> Iterator[LitLayers]:
    """Every picture of a batch by itself, in one way."""
    most = staged.scene.layers.present[:, 1:].sum(dim=1)
    random, part, alone = torch.rand(3, len(most), generator=generator).to(most.device)
    some = torch.where(random < _NEUTRAL + _CUT_OUT, most, (part * (most + 1)).long())
    lit = lit_layers(staged, torch.where(random < _NEUTRAL, 0, some))
    whole = _as_back(lit_layers(staged, most))
    lit = whole.where(alone < _WHOLE, lit).to(torch.float16)
    return (lit.indexed(slice(number, number + 1)) for number in range(len(most)))


def _as_back(lit: LitLayers) -> LitLayers:
    """The same pictures with nothing before the back."""
    layers = lit.layers
    alone = torch.zeros_like(layers.rgba)
    alone[:, 0] = F.pad(stack(layers), (0, 0, 0, 0, 0, 1), value=1.0)
    back = torch.arange(layers.present.shape[1], device=alone.device) < 1
    return replace(
        lit,
        layers=Layers(rgba=alone, present=layers.present & back),
        agreed=lit.agreed & back,
    )


def _retoned(lit: LitLayers, generator: Generator) -> LitLayers:
    """Pictures lighter or darker, and with more or less contrast."""
    shape = (len(lit.traces), 1, 1, 1, 1)
    gain = 0.75 + 0.5 * torch.rand(shape, generator=generator)
    power = (0.25 * torch.randn(shape, generator=generator)).exp().clamp(0.6, 1.6)
    rgb, alpha = lit.layers.rgba.split([3, 1], dim=2)
    rgb = rgb.clamp(min=0)  # black that rounding made darker has no power
    rgba = torch.cat([(gain * rgb**power).clamp(0, 1), alpha], dim=2)
    return replace(lit, layers=Layers(rgba=rgba, present=lit.layers.present))


def _pushed_aside(lit: LitLayers, generator: Generator) -> LitLayers:
    """All pictures some way to the left or right, their rim drawn out: directions of light change
    by no more than four degrees."""
    cells = _FARTHEST // _CELL
    way = int(torch.randint(-cells, cells + 1, (), generator=generator))
    layers = Layers(rgba=_rolled(lit.layers.rgba, way * _CELL), present=lit.layers.present)
    return replace(lit, layers=layers, traces=_rolled(lit.traces, way))


def _rolled(pixels: Float[Tensor, "*b h w"], way: int) -> Float[Tensor, "*b h w"]:
    width = pixels.shape[-1]
    source = (torch.arange(width, device=pixels.device) - way).clamp(0, width - 1)
    return pixels[..., source]
