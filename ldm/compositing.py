"""Compositing: how stacked RGBA layers become a picture, and how canvases lie in pictures.

Straight alpha everywhere at the surface; premultiplied inside, where mixing is linear (Porter and
Duff, "Compositing Digital Images", 1984).
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor

from ldm.values import Frames, Layers, Masks

_SMALL = 1e-6


def premultiply(rgba: Float[Tensor, "*b 4 h w"]) -> Float[Tensor, "*b 4 h w"]:
    """Colours times alpha: the form in which pixels may be averaged."""
    rgb, alpha = rgba.split([3, 1], dim=-3)
    return torch.cat([rgb * alpha, alpha], dim=-3)


def unpremultiply(rgba: Float[Tensor, "*b 4 h w"]) -> Float[Tensor, "*b 4 h w"]:
    """Back to straight alpha; colour under alpha 0 becomes 0."""
    rgb, alpha = rgba.split([3, 1], dim=-3)
    straight = torch.where(alpha > _SMALL, rgb / alpha.clamp(min=_SMALL), torch.zeros_like(rgb))
    return torch.cat([straight.clamp(0, 1), alpha], dim=-3)


def over(
    below: Float[Tensor, "*b 3 h w"], above: Float[Tensor, "*b 4 h w"]
) -> Float[Tensor, "*b 3 h w"]:
    """One layer laid over an opaque picture."""
    rgb, alpha = above.split([3, 1], dim=-3)
    return torch.lerp(below, rgb, alpha)


def visibility(alpha: Float[Tensor, "b n 1 h w"]) -> Float[Tensor, "b n 1 h w"]:
    """The share of each layer in the picture: its alpha times what the layers above let through.

    With an opaque slot 0 the shares sum to one at each pixel.
    """
    through = torch.cumprod((1 - alpha).flip(1), dim=1).flip(1)
    above = torch.cat([through[:, 1:], torch.ones_like(alpha[:, :1])], dim=1)
    return alpha * above


def resampling(
    begin: Float[Tensor, " k"], end: Float[Tensor, " k"], size_in: int, size_out: int
) -> Float[Tensor, "k {size_out} {size_in}"]:
    """Matrices that resample a line of `size_in` pixels to the part from `begin` to `end` of it.

    Positions are in units of the line (0..1). The kernel is the triangle, widened when pixels get
    fewer, so that nothing aliases; outside the line all weights are zero, at its rims they are
    renormalised. With begin 0, end 1 and equal sizes it is the identity matrix.
    """
    step = (end - begin) / size_out
    grid_out = torch.arange(size_out, device=begin.device, dtype=begin.dtype) + 0.5
    grid_in = torch.arange(size_in, device=begin.device, dtype=begin.dtype) + 0.5
    centre = begin[:, None] + grid_out * step[:, None]
    radius = (step.abs() * size_in).clamp(min=1)
    distance = (centre[:, :, None] * size_in - grid_in).abs() / radius[:, None, None]
    weights = (1 - distance).clamp(min=0)
    inside = (centre >= 0) & (centre <= 1)
    total = weights.sum(dim=-1, keepdim=True).clamp(min=_SMALL)
    return weights / total * inside[:, :, None]


def _cropped(
    pixels: Float[Tensor, "b n c h w"], frames: Frames, size: tuple[int, int]
) -> Float[Tensor, "b n c h2 w2"]:
    left, top, right, bottom = rearrange(frames.box, "b n side -> side (b n)").unbind(0)
    rows = resampling(top, bottom, pixels.shape[-2], size[0])
    columns = resampling(left, right, pixels.shape[-1], size[1])
    rows = rearrange(rows, "(b n) i j -> b n 1 i j", b=pixels.shape[0])
    columns = rearrange(columns, "(b n) i j -> b n 1 j i", b=pixels.shape[0])
    return rows @ pixels @ columns


def crop(
    rgba: Float[Tensor, "b n 4 h w"], frames: Frames, size: tuple[int, int]
) -> Float[Tensor, "b n 4 h2 w2"]:
    """From the picture to each slot's canvas of `size` (height, width), alpha-aware.

    What lies outside the picture is transparent. The whole picture at equal size is the identity
    up to colour under alpha 0.
    """
    return unpremultiply(_cropped(premultiply(rgba), frames, size))


def place(
    rgba: Float[Tensor, "b n 4 h w"], frames: Frames, size: tuple[int, int]
) -> Float[Tensor, "b n 4 h2 w2"]:
    """From each slot's canvas onto the picture of `size` (height, width), alpha-aware.

    Outside its frame a layer is transparent.
    """
    return crop(rgba, inverse(frames), size)


def place_maps(
    maps: Float[Tensor, "b n c h w"], frames: Frames, size: tuple[int, int]
) -> Float[Tensor, "b n c h2 w2"]:
    """Any maps on canvases laid onto the picture of `size`, each channel by itself; 0 outside."""
    return _cropped(maps, inverse(frames), size)


def inverse(frames: Frames) -> Frames:
    """The picture's box seen in units of each frame: what turns `crop` into `place`."""
    corner, opposite = frames.box.split(2, dim=-1)
    extent = opposite - corner
    return Frames(box=torch.cat([-corner / extent, (1 - corner) / extent], dim=-1))


def crop_masks(area: Float[Tensor, "b n h w"], frames: Frames, size: tuple[int, int]) -> Tensor:
    """Each slot's part `[b n h2 w2]` of masks; outside the picture there is no mask."""
    return _cropped(area[:, :, None], frames, size)[:, :, 0]


def place_masks(area: Float[Tensor, "b n h w"], frames: Frames, size: tuple[int, int]) -> Tensor:
    """Masks on canvases laid onto the picture: `[b n h2 w2]`."""
    return place_maps(area[:, :, None], frames, size)[:, :, 0]


def whole_frames(batch: int, slots: int) -> Frames:
    """Frames that are all the whole picture."""
    return Frames(box=torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(batch, slots, 4).clone())


def resize(rgba: Float[Tensor, "b n 4 h w"], size: tuple[int, int]) -> Float[Tensor, "b n 4 h2 w2"]:
    """Alpha-aware resize to `size` (height, width): what `crop` does with a whole picture, faster.

    The kernel is the same triangle; that of `interpolate` touches only the pixels under it.
    """
    rgb, alpha = rgba.flatten(0, 1).split([3, 1], dim=1)
    parts = [
        F.interpolate(part, size=size, mode="bilinear", antialias=True)
        for part in (rgb * alpha, alpha)
    ]
    return unpremultiply(torch.cat(parts, dim=1).unflatten(0, rgba.shape[:2]))


def bleed(rgba: Float[Tensor, "b n 4 h w"]) -> Float[Tensor, "b n 4 h w"]:
    """Colours carried outward under transparent pixels, alpha unchanged.

    A pyramid of premultiplied averages: each pixel without colour takes that of the finest level
    that has one. Keeps edges clean when colour and alpha are encoded or filtered apart.
    """
    rgb, alpha = rgba.flatten(0, 1).split([3, 1], dim=-3)
    levels = [torch.cat([rgb * alpha, alpha], dim=1)]
    while min(levels[-1].shape[-2:]) > 1:
        levels.append(F.avg_pool2d(levels[-1], 2, ceil_mode=True, count_include_pad=False))
    colour, weight = levels.pop().split([3, 1], dim=1)
    filled = colour / weight.clamp(min=_SMALL)
    while levels:
        colour, weight = levels.pop().split([3, 1], dim=1)
        filled = F.interpolate(filled, size=weight.shape[-2:], mode="bilinear")
        own = colour / weight.clamp(min=_SMALL)
        filled = torch.where(weight > 1e-3, own, filled)
    filled = torch.where(alpha > 0.02, rgb, filled.clamp(0, 1))
    return torch.cat([filled, alpha], dim=1).unflatten(0, rgba.shape[:2])


def mask_frames(masks: Masks, margin: float) -> Frames:
    """A frame, square in pixels, around each mask, `margin` of its side wider on each side.

    Slot 0, absent slots and slots with an empty mask get the whole picture.
    """
    height, width = masks.area.shape[-2:]
    solid = masks.area > 0.5
    left, right = ends(solid.any(dim=-2))
    top, bottom = ends(solid.any(dim=-1))
    half = torch.maximum((right - left) * width, (bottom - top) * height) * (0.5 + margin)
    wide, high = half / width, half / height
    across, down = (left + right) / 2, (top + bottom) / 2
    box = torch.stack([across - wide, down - high, across + wide, down + high], dim=-1)
    framed = masks.present & solid.flatten(2).any(dim=-1)
    framed[:, 0] = False
    whole = whole_frames(*masks.present.shape).to(box.device)
    return Frames(box=torch.where(framed[:, :, None], box, whole.box))


def ends(line: Bool[Tensor, "*b k"]) -> tuple[Float[Tensor, "*b"], Float[Tensor, "*b"]]:
    """Where the true part of lines begins and ends, 0..1; all of a line where nothing is true."""
    begin = line.float().argmax(dim=-1) / line.shape[-1]
    return begin, 1 - line.flip(-1).float().argmax(dim=-1) / line.shape[-1]


def stack(layers: Layers) -> Float[Tensor, "b 3 h w"]:
    """Plain stacking of layers, back to front, without effects."""
    return (visibility(layers.alpha) * layers.rgb).sum(dim=1)
