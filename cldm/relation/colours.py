"""Colours: what a layer's colours as a whole say, beside those of all that surrounds it."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cldm.relation.estimate import NUM_NUMBERS, AssumedLight
from cldm.relation.fields import WIDTHS, channels_of
from ldm.blocks import zeroed
from ldm.compositing import stack, visibility
from ldm.values import Layers

_BINS = torch.linspace(0, 1, 9)  # of each channel
_CHROMA = torch.linspace(-0.5, 0.5, 7)  # of red against green, and of blue against both
EVERY = 3
"""Of so many rows and columns of pixels of the working size, one tells the same."""
_DARKEST = 0.02
_NOTICED = 5 / 255
_MOMENTS = 3 + 3 + 3 + 3
_NUM_STATISTICS = _MOMENTS + 3 * len(_BINS) + len(_CHROMA) ** 2


class ColourReader(nn.Module):
    """Reads `width` numbers of each layer above the back from statistics of its colours, of all
    else that is seen, and of the back, and from what is known of the light and of how the layer
    stands in it.

    A patch tells what a thing is, but a wrong tint only shows in the whole of a layer against the
    whole of the rest: the cue of colour transfer by statistics (Reinhard et al., "Color Transfer
    between Images", 2001), read by a network instead of matched. `tint` turns the numbers into
    fields that are alike all over the layer; new, it says nothing.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.read = nn.Sequential(
            nn.Dropout(0.2),
            nn.Linear(3 * _NUM_STATISTICS + NUM_NUMBERS + 1, width),
            nn.SiLU(),
            nn.Dropout(0.3),
            nn.Linear(width, width),
            nn.SiLU(),
        )
        self.tint = zeroed(nn.Linear(width, sum(WIDTHS)))

    def forward(self, seen: Float[Tensor, "b m k"], light: AssumedLight) -> Float[Tensor, "b m d"]:
        """The numbers of each layer, of which and of whose surroundings statistics are `seen`."""
        told = light.numbers[:, None].expand(-1, seen.shape[1], -1)
        return self.read(torch.cat([seen, told, light.agreed[..., None]], dim=-1))


@torch.no_grad()
def regions(thin: Layers) -> Float[Tensor, "b m k"]:
    """The statistics of each thinned layer above the back, of what is seen around it, and of the
    back; in full precision even where the caller uses autocast."""
    with torch.autocast(thin.rgba.device.type, enabled=False):
        return _regions(thin)


def _regions(thin: Layers) -> Float[Tensor, "b m k"]:
    rgb, picture = thin.rgb.flatten(-2), stack(thin)[:, None].flatten(-2)
    shown = visibility(thin.alpha)[:, 1:, 0].flatten(-2).clamp(0, 1)
    own, around = statistics(rgb[:, 1:], shown), statistics(picture, 1 - shown)
    back = statistics(rgb[:, :1], torch.ones_like(rgb[:, :1, 0]))
    return torch.cat([own, around, back.expand_as(own)], dim=-1)


@torch.no_grad()
def noticed(thin: Layers, said: Float[Tensor, "b m f"]) -> Float[Tensor, "b m"]:
    """How far the changes of colours that fields say of layers which agree count, 0..1: smaller
    ones than 5/255, in the mean over a layer, spoil right colours for little."""
    gain, offset = (said[..., channels_of(name), None].float() for name in ("gain", "offset"))
    rgb, alpha = (part[:, 1:].flatten(-2) for part in (thin.rgb, thin.alpha))
    change = rgb * ((1 + gain).clamp(min=0).sqrt() - 1) + offset
    mean = (change.square() * alpha).sum(dim=-1) / alpha.sum(dim=-1).clamp(min=1)
    return (mean.mean(dim=-1).sqrt() / _NOTICED - 1).clamp(0, 1)


def statistics(
    rgb: Float[Tensor, "b _ 3 p"], weight: Float[Tensor, "b m p"]
) -> Float[Tensor, "b m s"]:
    """Means, means of logarithms, and their deviations and covariances; histograms of each channel
    and of chroma, as roots (Hellinger). Each of the order of one; zero moments where no pixel has
    weight.

    Each is made of weighted means of what is known of each pixel; pixels of one picture serve all
    weights.
    """
    share = weight / weight.sum(dim=-1, keepdim=True).clamp(min=1e-4)
    logarithms = rgb.clamp(min=_DARKEST).log()
    products = logarithms * logarithms.roll(1, dims=2)
    red, green, blue = rgb.unbind(dim=2)
    warm, cool = _binned(red - green, _CHROMA), _binned(blue - (red + green) / 2, _CHROMA)
    chroma = (warm[:, :, :, None] * cool[:, :, None]).flatten(2, 3)
    levels = _binned(rgb, _BINS).flatten(2, 3)
    each = torch.cat([rgb, logarithms, logarithms.square(), products, levels, chroma], dim=2)
    means = (each @ share[..., None])[..., 0]
    sizes = [3, 3, 3, 3, levels.shape[2], chroma.shape[2]]
    mean, middle, squares, together, levels, chroma = means.split(sizes, dim=-1)
    spread = (squares - middle.square()).clamp(min=0).sqrt()
    together = together - middle * middle.roll(1, dims=-1)
    bins = [(len(_BINS) * levels).sqrt(), chroma.sqrt() * len(_CHROMA)]
    return torch.cat([4 * mean - 2, middle + 1, 3 * spread, 5 * together, *bins], dim=-1)


def _binned(value: Float[Tensor, "*n p"], centres: Float[Tensor, " k"]) -> Float[Tensor, "*n k p"]:
    """Each value shared between the two nearest bins."""
    centres = centres.to(value.device)
    away = (value[..., None, :] - centres[:, None]).abs() / (centres[1] - centres[0])
    return (1 - away).clamp(min=0)
