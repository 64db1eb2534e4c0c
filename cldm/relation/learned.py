"""What the learned relation networks have in common: all but how tokens look at each other."""

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from cldm.relation.blocks import Block, position
from cldm.relation.colours import EVERY, ColourReader, noticed, regions
from cldm.relation.estimate import AssumedLight, LightEstimate, assumed, certain
from cldm.relation.estimator import LightEstimator
from cldm.relation.evidence import judged
from cldm.relation.fields import LOCAL, fields_of, tones_of
from cldm.relation.guides import Guides, LightHint, guides, no_guides
from cldm.relation.patches import Patches, View
from cldm.relation.tones import Tones, applied
from ldm.blocks import zeroed
from ldm.values import Effects, Layers


class LearnedRelation(nn.Module, ABC):
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
        self.look = Patches(working_size=working_size, patch=patch)
        self.width = width
        self.estimator = LightEstimator()
        self.embed = self.look.embedding(width)
        self.light = self.look.light_embedding(width)
        self.colours = ColourReader(width)
        self.harmony = ColourReader(width)
        self.character = zeroed(nn.Linear(width, width))
        self.agreement = zeroed(nn.Linear(1, width))
        self.blocks = nn.ModuleList(Block(width, num_heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = self.look.head(width)

    @abstractmethod
    def mixed(self, tokens: Float[Tensor, "b n p d"], view: View) -> Float[Tensor, "b n p d"]:
        """The tokens of all patches of all slots, after they have looked at each other."""

    def estimated(self, layers: Layers) -> LightEstimate:
        """The light that layers seem to stand in."""
        return self.estimator(self.look.small(layers))

    def agreed(self, layers: Layers, hint: LightHint) -> Float[Tensor, "b m"]:
        """How likely each layer above the back stands in the light already, 0..1; the surer, if it
        is given."""
        light, _ = self.guided(layers, self.look.small(layers), hint)
        return light.agreed

    def forward(self, layers: Layers, hint: LightHint) -> Effects:
        """Effects of the layers' own size; the back, and slots absent or invisible, stay.

        Where the light is not given, it is the estimated one.
        """
        small = self.look.small(layers)
        tones = self.tones(small, *self.guided(layers, small, hint))
        with torch.autocast(layers.rgba.device.type, enabled=False):
            return applied(tones, layers)

    def overall(self, thin: Layers, light: AssumedLight) -> Effects:
        """What it says of each of thinned layers as a whole, before it looks at any place."""
        seen = regions(thin)
        said = self.colours.tint(self.colours(seen, light)) + self._harmony(seen, light)
        everywhere, alike = said.float().tensor_split([sum(LOCAL)], dim=-1)
        nowhere = no_guides(*said.shape[:2]).to(said.device)
        fields = fields_of(everywhere[..., None, None], alike)
        tones = tones_of(fields, nowhere, thin.present[:, 1:], light)
        return applied(tones, thin)

    def guided(self, layers: Layers, small: Layers, hint: LightHint) -> tuple[AssumedLight, Guides]:
        """The light that it goes by, who stands in it already, and the guides in it."""
        light = self.assumed(small, hint)
        found = guides(small, self.look.fine(layers), light.light)
        return judged(light, hint, small, found), found

    @torch.no_grad()
    def assumed(self, small: Layers, hint: LightHint) -> AssumedLight:
        """The light that it goes by for layers of working size, and how likely each stands in it
        already; what it is not told of both it sees for itself."""
        if hint.given.all():
            agreed = self.estimator.agreed(small) if hint.agreed is None else hint.agreed
            return assumed(hint, certain(hint.light), agreed)
        sight = self.estimator.sight(small)
        return assumed(hint, sight.estimate, sight.agreed if hint.agreed is None else hint.agreed)

    def tones(self, small: Layers, light: AssumedLight, guides: Guides) -> Tones:
        """What it says of layers of working size and their guides under a light."""
        view, thin = self.look(small, light, guides), small.thinned(EVERY)
        seen = regions(thin)
        colours, harmony = self.colours(seen, light), self._harmony(seen, light)
        whole = self.colours.tint(colours) + harmony * noticed(thin, harmony)[..., None]
        return view.tones(self.head(self.tokens(view, colours)), whole)

    def _harmony(self, seen: Float[Tensor, "b m k"], light: AssumedLight) -> Tensor:
        """What would put each layer that stands in the light already in harmony with all else."""
        return self.harmony.tint(self.harmony(seen, light))

    def tokens(self, view: View, colours: Float[Tensor, "b m d"]) -> Float[Tensor, "b m p d"]:
        """What its head reads of the patches of all slots above the back, of which `colours` say
        what each is as a whole."""
        place = position(view.grid, self.width).to(view.patches.device)
        light = self.light(view.light.numbers)[:, None, None]
        whole = self.character(colours) + self.agreement(view.light.agreed[..., None])
        tokens = self.embed(view.patches) + place + light
        tokens = tokens + F.pad(whole, (0, 0, 1, 0))[:, :, None]
        return self.norm(self.mixed(tokens, view)[:, 1:])
