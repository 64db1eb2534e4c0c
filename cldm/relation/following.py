"""Following: effects that are known before an edit, and what a network says of it, become those
after it."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from ldm.carrying import MARGIN, NOTICED, Moves, carried
from ldm.metrics import dilate
from ldm.values import Effects, Layers

_DARKEST = 0.002
_TRUSTED = 0.3  # a change in what is said, of logarithms or of sums, that leaves a third of trust
_FAINT = 1.0  # pixels: less mirror image tells nothing of the ground
_CLEARER = 8.0  # times: no mirror image becomes clearer by more
_HEARD = 0.03  # changes smaller than this are none, twice as large ones count in full


def followed(
    known: Effects,
    before: Effects,
    after: Effects,
    moves: Moves,
    layers: Layers,
    *,
    same_light: bool,
) -> Effects:
    """The effects after an edit: those `known` before it (painted by hand, or true), changed by as
    much as what a network says `after` it differs from what it said `before`, of one picture.

    All of before is carried along with its layers first; `layers` are those afterwards. Where the
    network then still says the same, the known effects stay as they are: its errors cancel, and
    nothing moves that need not. Where it changed its mind, its own answer counts the more the
    greater the change. Differential rendering (Debevec, "Rendering Synthetic Objects into Real
    Scenes", SIGGRAPH 1998), for factors in logarithms: `log e = log after + g (log known - log
    before)`, `g = exp(-|log after - log before| / 0.3)`. Mirror images are carried as
    they are. A new layer gets what the network says; its mirror image is as strong as those that
    are known, beside what the network said of these.

    In the same light, effects of layers that were not edited change only near edited ones and what
    these cast, before or after: all else keeps still.
    """
    kept, said = carried(known, moves, layers), carried(before, moves, layers)
    there = moves.known.to(layers.rgba.device)[:, None, None, None]

    def factor(kept: Tensor, said: Tensor, now: Tensor) -> Tensor:
        parts = (part.clamp(min=_DARKEST).log() for part in (kept, said, now))
        return torch.where(there, _changed(*parts).exp().clamp(0, 1), now)

    changed = replace(
        after,
        multiply=factor(kept.multiply, said.multiply, after.multiply),
        add=torch.where(there, _changed(kept.add, said.add, after.add).clamp(0, 1), after.add),
        shadow=factor(kept.shadow, said.shadow, after.shadow),
        reflection=torch.where(there, kept.reflection, _glossy(known, before, after)),
        alpha=torch.where(there, kept.alpha, after.alpha),
    )
    return _held(known, kept, changed, moves) if same_light else changed


def _glossy(known: Effects, before: Effects, after: Effects) -> Float[Tensor, "b n 4 h w"]:
    """Mirror images as strong as the known ones: all lie on one ground."""
    true, said = (
        effects.reflection.split([3, 1], dim=2)[1].sum(dim=(1, 2, 3, 4))
        for effects in (known, before)
    )
    times = torch.where(said > _FAINT, true / said.clamp(min=_FAINT), 1.0).clamp(max=_CLEARER)
    rgb, alpha = after.reflection.split([3, 1], dim=2)
    alpha = alpha * times[:, None, None, None, None]
    return torch.cat([rgb, alpha.clamp(max=1)], dim=2)


def agreed_around(
    known: Effects, moves: Moves
) -> tuple[Float[Tensor, "b k"], Float[Tensor, "b m"]]:
    """Who above the back stands in the light already, 0 or 1, before an edit and after it: those
    that are known to cast nothing. What is new casts nothing on a back of before."""
    dark = 1 - known.shadow.amin(dim=2, keepdim=True)
    mirror = known.reflection.split([3, 1], dim=2)[1]
    casts = (torch.maximum(dark, mirror).flatten(2).amax(dim=-1) > NOTICED)[:, 1:]
    before = (~casts).to(known.alpha)
    origin = torch.tensor(moves.origin[1:], dtype=torch.long, device=before.device)
    return before, F.pad(before, (1, 0))[:, origin.clamp(min=0)]


def _held(known: Effects, kept: Effects, changed: Effects, moves: Moves) -> Effects:
    """What has changed, near what was edited; elsewhere, of other layers, what was kept."""
    edited = moves.edited
    reached = _reach(known, moves.left(known.alpha.shape[1])), _reach(changed, edited)
    near = dilate(torch.maximum(*reached), MARGIN)[:, None]
    heard = near.maximum(edited.to(near)[:, None, None, None])
    return replace(
        changed,
        multiply=torch.lerp(kept.multiply, changed.multiply, heard),
        add=torch.lerp(kept.add, changed.add, heard),
        shadow=torch.lerp(kept.shadow, changed.shadow, heard),
    )


def _reach(effects: Effects, slots: Bool[Tensor, " n"]) -> Float[Tensor, "b 1 h w"]:
    """One where some layers are seen, or cast something that is."""
    mirror = effects.reflection.split([3, 1], dim=2)[1]
    seen = torch.stack([1 - effects.shadow.amin(dim=2, keepdim=True), mirror, effects.alpha])
    chosen = slots.to(mirror)[:, None, None, None]
    return ((seen.amax(dim=0) * chosen).amax(dim=1) > NOTICED).to(mirror)


def _changed(
    kept: Float[Tensor, "b n c h w"],
    said: Float[Tensor, "b n c h w"],
    now: Float[Tensor, "b n c h w"],
) -> Float[Tensor, "b n c h w"]:
    """What was kept, changed as what is said has changed."""
    change = now - said
    size = change.abs().amax(dim=2, keepdim=True)
    heard = change * (size / _HEARD - 1).clamp(0, 1)
    return said + heard + torch.exp(-size / _TRUSTED) * (kept - said)
