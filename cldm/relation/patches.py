"""Patches: how a relation network sees layers, and how its answer becomes Tones. No weights."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from cldm.relation.estimate import NUM_NUMBERS, AssumedLight
from cldm.relation.fields import LOCAL, fields_of, tones_of
from cldm.relation.guides import Guides
from cldm.relation.tones import Tones, raised
from ldm.blocks import zeroed
from ldm.compositing import premultiply, resize, stack, visibility
from ldm.values import Layers

_CELL = 4  # pixels of the working size along one side of a cell of a field
_INPUTS = 4 + 1 + 3 + 7  # layer, visibility, plain picture, guides


@dataclass(frozen=True, kw_only=True)
class View:
    """Layers as a network sees them.

    `small`: the layers at working size, absent ones emptied, and invisible ones as good as absent;
    `patches`: the pixels of each, row by row; `light`: what is known of the light.
    """

    small: Layers
    guides: Guides
    patches: Float[Tensor, "b n p k"]
    light: AssumedLight
    patch: int

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        height, width = self.small.size
        return height // self.patch, width // self.patch

    def tones(self, answers: Float[Tensor, "b m p k2"], whole: Float[Tensor, "b m f"]) -> Tones:
        """A network's answers for the patches of all slots above the back, and what it says of each
        slot as a `whole`, as smooth maps.

        Pixels are handled in full precision even where the caller uses autocast.
        """
        rows, columns = self.grid
        channels = rearrange(
            answers,
            "b m (y x) (f i j) -> b m f (y i) (x j)",
            y=rows,
            x=columns,
            i=self.patch // _CELL,
            j=self.patch // _CELL,
        )
        with torch.autocast(answers.device.type, enabled=False):
            everywhere, alike = whole.float().tensor_split([sum(LOCAL)], dim=-1)
            channels = raised(channels.float() + everywhere[..., None, None], self.small.size)
            fields = fields_of(channels, alike)
            return tones_of(fields, self.guides, self.small.present[:, 1:], self.light)


@dataclass(frozen=True, kw_only=True)
class Patches:
    """How a network looks at layers: `working_size` pixels along their long side, in patches of
    `patch` pixels along each side, a multiple of 4."""

    working_size: int
    patch: int

    def embedding(self, width: int) -> nn.Linear:
        """A new part that reads a patch."""
        return nn.Linear(_INPUTS * self.patch**2, width)

    def light_embedding(self, width: int) -> nn.Sequential:
        """A new part that reads the light."""
        return nn.Sequential(nn.Linear(NUM_NUMBERS, width), nn.SiLU(), nn.Linear(width, width))

    def head(self, width: int) -> nn.Linear:
        """A new part that answers for a patch; it starts at zero, which changes nothing."""
        return zeroed(nn.Linear(width, sum(LOCAL) * (self.patch // _CELL) ** 2))

    def __call__(self, small: Layers, light: AssumedLight, guides: Guides) -> View:
        """Look at layers of working size, in full precision even where the caller uses autocast."""
        with torch.autocast(small.rgba.device.type, enabled=False):
            patches = self._patches(small, guides)
        return View(
            small=small,
            guides=guides,
            patches=patches,
            light=light,
            patch=self.patch,
        )

    def working(self, size: tuple[int, int]) -> tuple[int, int]:
        """The working size of layers of `size`: whole patches along both sides."""
        height, width = size
        scale = self.working_size / max(height, width) / self.patch
        return (
            self.patch * max(1, round(height * scale)),
            self.patch * max(1, round(width * scale)),
        )

    def finer(self, size: tuple[int, int]) -> tuple[int, int]:
        """The size that shadows of layers of `size` are told at: the working size where the layers
        are no larger."""
        height, width = self.working(size)
        return (height, width) if max(size) <= max(height, width) else (2 * height, 2 * width)

    def small(self, layers: Layers) -> Layers:
        """The layers at working size; absent ones emptied, invisible ones as good as absent."""
        return self._resized(layers, self.working(layers.size))

    def fine(self, layers: Layers) -> Layers:
        """The layers at the size that shadows are told at."""
        return self._resized(layers, self.finer(layers.size))

    def _resized(self, layers: Layers, size: tuple[int, int]) -> Layers:
        rgba = layers.rgba if size == layers.size else resize(layers.rgba, size)
        alpha = rgba.split([3, 1], dim=2)[1]
        visible = (alpha > 0).flatten(2).any(dim=-1)
        visible[:, 0] = True
        present = layers.present & visible
        return Layers(rgba=torch.where(present[:, :, None, None, None], rgba, 0.0), present=present)

    def _patches(self, small: Layers, guides: Guides) -> Float[Tensor, "b n p k"]:
        """What the network sees of each patch of each layer."""
        picture = stack(small)[:, None].expand(-1, small.rgba.shape[1], -1, -1, -1)
        above_back = F.pad(guides.maps, (0, 0, 0, 0, 0, 0, 1, 0))
        pixels = [premultiply(small.rgba), visibility(small.alpha), picture, above_back]
        return rearrange(
            torch.cat(pixels, dim=2),
            "b n c (y i) (x j) -> b n (y x) (c i j)",
            i=self.patch,
            j=self.patch,
        )
