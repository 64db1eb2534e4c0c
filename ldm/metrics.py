"""Measures of layers and pictures; all take tensors in 0..1."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


def psnr(truth: Float[Tensor, "*b"], found: Float[Tensor, "*b"]) -> Float[Tensor, ""]:
    """Peak signal-to-noise ratio in dB over all elements, peak 1."""
    error = (truth - found).square().mean()
    return -10 * torch.log10(error.clamp(min=1e-10))


def soft_iou(asked: Float[Tensor, "*b h w"], alpha: Float[Tensor, "*b h w"]) -> Float[Tensor, "*b"]:
    """Soft intersection over union, `sum min / sum max`, of each mask and alpha."""
    both = torch.minimum(asked, alpha).sum(dim=(-2, -1))
    either = torch.maximum(asked, alpha).sum(dim=(-2, -1))
    return both / either.clamp(min=1e-6)


def leakage(
    asked: Float[Tensor, "*b h w"], alpha: Float[Tensor, "*b h w"], tolerance: float = 0.03
) -> Float[Tensor, "*b"]:
    """The share of an alpha that lies outside its mask dilated by `tolerance` of the side."""
    outside = 1 - dilate(asked, tolerance)
    return (alpha * outside).sum(dim=(-2, -1)) / alpha.sum(dim=(-2, -1)).clamp(min=1e-6)


def missing(asked: Float[Tensor, "*b h w"], alpha: Float[Tensor, "*b h w"]) -> Float[Tensor, "*b"]:
    """The share of a mask that the alpha leaves empty."""
    empty = (asked * (1 - alpha)).sum(dim=(-2, -1))
    return empty / asked.sum(dim=(-2, -1)).clamp(min=1e-6)


def dilate(mask: Float[Tensor, "*b h w"], share: float) -> Float[Tensor, "*b h w"]:
    """A mask widened by `share` of the picture's larger side (square neighbourhood)."""
    radius = round(share * max(mask.shape[-2:]))
    flat = mask.reshape(-1, 1, *mask.shape[-2:])
    wide = F.max_pool2d(flat, 2 * radius + 1, stride=1, padding=radius)
    return wide.reshape(mask.shape)


def masked_psnr(
    truth: Float[Tensor, "b c h w"], found: Float[Tensor, "b c h w"], region: Bool[Tensor, "b h w"]
) -> Float[Tensor, ""]:
    """PSNR in dB over the pixels of a region."""
    inside = region[:, None].expand_as(truth)
    return psnr(truth[inside], found[inside])
