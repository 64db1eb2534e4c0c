"""Evidence: whether layers stand in a known light already, by what it would do to them."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from cldm.relation.estimate import AssumedLight
from cldm.relation.fields import shares
from cldm.relation.guides import Guides, LightHint
from ldm.compositing import visibility
from ldm.projection import FRONT, blur
from ldm.values import Layers, Light

_DARKEST = 0.03
_WHOLE = 0.9  # of a pixel: what shows less of a layer does not tell of it
_STEEPEST = 0.5  # steps of logarithms: greater ones are edges of things
_TEXTURE = 1e-3  # mean square of steps that nothing is ever without
_DECISIVE = 50.0  # log-odds: more is no surer, as light is never quite what is expected
# What the log-odds of an estimator and of evidence are worth together: fitted to rendered scenes of
# the things learned from, whose layers were neutral, cut out, or some of each.
_SIGHT, _EVIDENCE, _USUAL = 0.78, 0.042, 0.37
_CERTAIN = 1e-6
_UNLIKELY, _LIKELY = 0.3, 0.8  # to agree: what is less is no, what is more is yes


@torch.no_grad()
def judged(light: AssumedLight, hint: LightHint, small: Layers, guides: Guides) -> AssumedLight:
    """The same light, but who stands in it already is decided, unless it is told: where the light
    is told, by evidence, too."""
    if hint.agreed is not None:
        return light
    odds = light.agreed.logit(_CERTAIN)
    with torch.autocast(odds.device.type, enabled=False):
        told = _SIGHT * odds + _EVIDENCE * evidence(small, guides, light.light) + _USUAL
    likely = torch.where(hint.given[:, None], told, odds).sigmoid()
    decided = ((likely - _UNLIKELY) / (_LIKELY - _UNLIKELY)).clamp(0, 1)
    return replace(light, agreed=decided)


def evidence(small: Layers, guides: Guides, light: Light) -> Float[Tensor, "b m"]:
    """Log-odds that the shadow of each layer above the back lies on the back already, and its own
    shade on it.

    `small`: layers of working size. What light would do is roughly known by their guides; what
    texture does is noise.
    """
    key, sky = (share.mean(dim=2, keepdim=True) for share in shares(light))
    contact = F.adaptive_avg_pool2d(guides.contact[:, :, 0], small.size)[:, :, None]
    shadow = 1 - key * contact - sky * guides.sky
    shade = key * (0.7 * guides.direct / FRONT + 0.3 * guides.shade)
    shade = shade + sky * (0.65 + 0.35 * guides.up)
    back, own = visibility(small.alpha).split([1, shade.shape[1]], dim=1)
    behind = _odds(small.rgb[:, :1], back, shadow, 0.7)
    return behind + _odds(small.rgb[:, 1:], own, shade, 1.0)


def _odds(
    rgb: Float[Tensor, "b k 3 h w"],
    seen: Float[Tensor, "b k 1 h w"],
    expected: Float[Tensor, "b m 1 h w"],
    sigma: float,
) -> Float[Tensor, "b m"]:
    """Log-odds that colours, where they are `seen`, are in the light that is `expected` already.

    Steps of logarithms from pixel to pixel, smoothed by `sigma` pixels, are regressed on those that
    are expected, `x`. Of a slope `s`, 1 where all is there and 0 where nothing is, in noise of
    variance `v`, the odds are `(s - 1/2) sum(x^2) / v`.
    """
    there = (seen > _WHOLE).to(rgb.dtype)
    width = sigma / rgb.shape[-2]
    whole = blur(there, width)
    inside = (whole > _WHOLE).to(rgb.dtype)

    def steps(pixels: Tensor) -> Tensor:
        smooth = blur(pixels.clamp(min=_DARKEST).log() * there, width) / whole.clamp(min=_DARKEST)
        right = F.pad(smooth[..., 1:] - smooth[..., :-1], (0, 1))
        down = F.pad(smooth[..., 1:, :] - smooth[..., :-1, :], (0, 0, 0, 1))
        return torch.cat([right, down], dim=2).clamp(-_STEEPEST, _STEEPEST) * inside

    found, asked = steps(rgb.mean(dim=2, keepdim=True)), 0.5 * steps(expected)  # light to sRGB
    noise = found.square().sum(dim=(2, 3, 4)) / (2 * inside.sum(dim=(2, 3, 4))).clamp(min=1)
    strength, both = (part.sum(dim=(2, 3, 4)) for part in (asked.square(), found * asked))
    return ((both - strength / 2) / (noise + _TEXTURE)).clamp(-_DECISIVE, _DECISIVE)
