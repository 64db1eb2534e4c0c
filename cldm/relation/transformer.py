"""A Transformer over the patches of all layers that says how the layers light each other."""

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from cldm.relation.fields import WIDTHS, applied, fields_of, raised
from cldm.relation.guides import Guides, LightHint, assumed, guides
from ldm.compositing import premultiply, resize, stack, visibility
from ldm.projection import towards
from ldm.values import Effects, Layers, Light

_CELL = 4  # pixels of the working size along one side of a cell of a field
_INPUTS = 4 + 1 + 3 + 5  # layer, visibility, plain picture, guides
_LIGHT = 3 + 1 + 1 + 3 + 1  # direction, softness, ambient, colour, given


class RelationTransformer(nn.Module):
    """Layers and what is known of the light -> Effects (DESIGN, section 4).

    `working_size`: long side in pixels at which it looks at the layers; `patch`: side of a patch
    there, a multiple of 4. New, it changes nothing: its head starts at zero.
    """

    def __init__(
        self,
        *,
        width: int,
        depth: int,
        num_heads: int,
        working_size: int = 128,
        patch: int = 16,
    ) -> None:
        super().__init__()
        self.working_size = working_size
        self.patch = patch
        self.width = width
        self.embed = nn.Linear(_INPUTS * patch * patch, width)
        self.light = nn.Sequential(nn.Linear(_LIGHT, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(Block(width, num_heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, sum(WIDTHS) * (patch // _CELL) ** 2)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, layers: Layers, hint: LightHint) -> Effects:
        """Effects of the layers' own size; the back, absent and invisible slots stay as they
        are.

        Pixels are handled in full precision even where the caller uses autocast.
        """
        light = assumed(hint)
        with torch.autocast(layers.rgba.device.type, enabled=False):
            small = self._small(layers)
            maps = guides(small, light)
            patches = self._patches(small, maps)
        channels = self._channels(patches, self._lit(light, hint.given), small.present)
        with torch.autocast(layers.rgba.device.type, enabled=False):
            size = (small.rgba.shape[-2], small.rgba.shape[-1])
            fields = fields_of(raised(channels.float(), size))
            return applied(fields, maps, Layers(rgba=layers.rgba, present=small.present))

    def _small(self, layers: Layers) -> Layers:
        """The layers at working size, whole patches along both sides; absent ones emptied, and
        invisible ones as good as absent."""
        height, width = layers.rgba.shape[-2:]
        scale = self.working_size / max(height, width) / self.patch
        size = (
            self.patch * max(1, round(height * scale)),
            self.patch * max(1, round(width * scale)),
        )
        rgba = layers.rgba if size == (height, width) else resize(layers.rgba, size)
        alpha = rgba.split([3, 1], dim=2)[1]
        present = layers.present & (alpha > 0).flatten(2).any(dim=-1)
        return Layers(rgba=torch.where(present[:, :, None, None, None], rgba, 0.0), present=present)

    def _patches(self, small: Layers, maps: Guides) -> Float[Tensor, "b n y x k"]:
        """What the network sees of each patch of each layer."""
        picture = stack(small)[:, None].expand(-1, small.rgba.shape[1], -1, -1, -1)
        above_back = F.pad(maps.maps, (0, 0, 0, 0, 0, 0, 1, 0))
        pixels = [premultiply(small.rgba), visibility(small.alpha), picture, above_back]
        return rearrange(
            torch.cat(pixels, dim=2),
            "b n c (y i) (x j) -> b n y x (c i j)",
            i=self.patch,
            j=self.patch,
        )

    def _channels(
        self,
        patches: Float[Tensor, "b n y x k"],
        lit: Float[Tensor, "b d"],
        present: Bool[Tensor, "b n"],
    ) -> Float[Tensor, "b m f y2 x2"]:
        """The channels of the fields, after attention over all patches of all layers that exist."""
        num_slots, rows, columns = patches.shape[1:4]
        place = position(rows, columns, self.width).to(patches.device)
        slot = sinusoid(torch.arange(num_slots), self.width).to(patches.device)
        tokens = self.embed(patches) + place + slot[:, None, None] + lit[:, None, None, None]
        tokens = rearrange(tokens, "b n y x d -> b (n y x) d")
        keys = present[:, :, None].expand(-1, -1, rows * columns).flatten(1)[:, None, None]
        for block in self.blocks:
            tokens = block(tokens, keys)
        above_back = tokens[:, rows * columns :]
        return rearrange(
            self.head(self.norm(above_back)),
            "b (m y x) (f i j) -> b m f (y i) (x j)",
            y=rows,
            x=columns,
            i=self.patch // _CELL,
            j=self.patch // _CELL,
        )

    def _lit(self, light: Light, given: Bool[Tensor, " b"]) -> Float[Tensor, "b d"]:
        flags = given.to(light.azimuth.dtype)
        known = torch.cat(
            [
                towards(light),
                torch.stack([light.softness, light.ambient, flags], dim=-1),
                light.colour - 1,
            ],
            dim=-1,
        )
        return self.light(known)


class Block(nn.Module):
    """Attention, then a perceptron, each on normalised tokens and added (Xiong et al. 2020)."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.before_attention = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.before_perceptron = nn.LayerNorm(width)
        self.perceptron = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(
        self, tokens: Float[Tensor, "b l d"], keys: Bool[Tensor, "b 1 1 l"]
    ) -> Float[Tensor, "b l d"]:
        """Tokens that have looked at those whose key is true."""
        query, key, value = rearrange(
            self.query_key_value(self.before_attention(tokens)),
            "b l (k heads c) -> k b heads l c",
            k=3,
            heads=self.num_heads,
        )
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=keys)
        tokens = tokens + self.out(rearrange(mixed, "b heads l c -> b l (heads c)"))
        return tokens + self.perceptron(self.before_perceptron(tokens))


def sinusoid(index: Tensor, width: int) -> Float[Tensor, "k {width}"]:
    """Sinusoids of positions `[k]` (Vaswani et al. 2017, section 3.5)."""
    rates = torch.exp(-math.log(1000) * torch.arange(width // 2) / (width // 2))
    angles = index[:, None].float() * rates
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def position(rows: int, columns: int, width: int) -> Float[Tensor, "{rows} {columns} {width}"]:
    """Where a patch lies: half of the channels tell its row, half its column."""
    down = sinusoid(torch.arange(rows), width // 2)[:, None].expand(-1, columns, -1)
    across = sinusoid(torch.arange(columns), width // 2)[None].expand(rows, -1, -1)
    return torch.cat([down, across], dim=-1)
