"""Measures of layers and pictures; all take tensors in 0..1.

Measures of a region give one number for each picture; where the region is empty, there is no error
(0, or 100 dB).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from ldm.compositing import visibility

_NOTICED = 4 / 255  # a smaller change of a pixel is none
_SHADED = 0.1  # of the sRGB value: what takes less is no shadow


def psnr(truth: Float[Tensor, "*b"], found: Float[Tensor, "*b"]) -> Float[Tensor, ""]:
    """Peak signal-to-noise ratio in dB over all elements, peak 1."""
    return _decibels((truth - found).square().mean())


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


def region_mse(
    truth: Float[Tensor, "b c h w"],
    found: Float[Tensor, "b c h w"],
    region: Float[Tensor, "b 1 h w"],
) -> Float[Tensor, " b"]:
    """Mean squared error inside a region of each picture (foreground MSE, fMSE), peak 1."""
    error = ((truth - found).square() * region).sum(dim=(1, 2, 3))
    return error / (truth.shape[1] * region.sum(dim=(1, 2, 3))).clamp(min=1e-6)


def region_psnr(
    truth: Float[Tensor, "b c h w"],
    found: Float[Tensor, "b c h w"],
    region: Float[Tensor, "b 1 h w"],
) -> Float[Tensor, " b"]:
    """PSNR in dB inside a region of each picture; no more than 100."""
    return _decibels(region_mse(truth, found, region))


def affected_region(
    truth: Float[Tensor, "b 3 h w"], plain: Float[Tensor, "b 3 h w"]
) -> Float[Tensor, "b 1 h w"]:
    """Where light and shadow change a picture: 1 where a channel of the true picture differs from
    `plain`, the plain stacking of the true neutral layers, by more than 4/255."""
    return ((truth - plain).abs().amax(dim=1, keepdim=True) > _NOTICED).float()


def shadow_mask(
    alpha: Float[Tensor, "b n 1 h w"], shadow: Float[Tensor, "b n 3 h w"]
) -> Float[Tensor, "b 1 h w"]:
    """Where shadows are seen: 1 where those in front take more than a tenth of what is visible.

    `shadow` is what each layer multiplies onto all behind it. (DESOBAv2's masks are drawn by hand
    and by networks; this threshold is ours.)
    """
    together = shadow.flip(1).cumprod(dim=1).flip(1)
    in_front = torch.cat([together[:, 1:], torch.ones_like(shadow[:, :1])], dim=1)
    left = (visibility(alpha) * in_front.mean(dim=2, keepdim=True)).sum(dim=1)
    return (left < 1 - _SHADED).float()


def shadow_rmse(
    truth: Float[Tensor, "b 3 h w"], found: Float[Tensor, "b 3 h w"]
) -> Float[Tensor, " b"]:
    """Global RMSE of each picture on 0..255, as the evaluation of DESOBAv2 has it.

    Liu et al., "Shadow Generation for Composite Image Using Diffusion Model", CVPR 2024 (there of
    pictures in whole numbers).
    """
    return local_shadow_rmse(truth, found, torch.ones_like(truth[:, :1]))


def local_shadow_rmse(
    truth: Float[Tensor, "b 3 h w"],
    found: Float[Tensor, "b 3 h w"],
    shadow: Float[Tensor, "b 1 h w"],
) -> Float[Tensor, " b"]:
    """The same inside the true shadow only (local RMSE)."""
    return 255 * region_mse(truth, found, shadow).sqrt()


def shadow_ber(
    truth: Float[Tensor, "*b h w"], found: Float[Tensor, "*b h w"]
) -> Float[Tensor, "*b"]:
    """Global balanced error rate of shadow masks, `1 - (TP / (TP + FN) + TN / (TN + FP)) / 2`.

    As DESOBAv2 has it, masks cut at a half (Liu et al. 2024). "No shadow" has 0.5. A rate of no
    pixels counts as right.
    """
    true, told = _cut(truth), _cut(found)
    return (missing(true, told) + missing(1 - true, 1 - told)) / 2


def local_shadow_ber(
    truth: Float[Tensor, "*b h w"], found: Float[Tensor, "*b h w"]
) -> Float[Tensor, "*b"]:
    """DESOBAv2's local balanced error rate: the share of the true shadow that was not found,
    `1 - TP / (TP + FN)`."""
    return missing(_cut(truth), _cut(found))


def harmonisation_mse(
    truth: Float[Tensor, "b 3 h w"],
    found: Float[Tensor, "b 3 h w"],
    mask: Float[Tensor, "b 1 h w"],
) -> Float[Tensor, " b"]:
    """MSE of each picture on 0..255, errors outside the foreground left out.

    Guerreiro et al., "PCT-Net", CVPR 2023, on iHarmony4 (Cong et al., CVPR 2020).
    """
    return 255**2 * ((truth - found).square() * mask).mean(dim=(1, 2, 3))


def harmonisation_fmse(
    truth: Float[Tensor, "b 3 h w"],
    found: Float[Tensor, "b 3 h w"],
    mask: Float[Tensor, "b 1 h w"],
) -> Float[Tensor, " b"]:
    """MSE on 0..255 over the foreground only, as PCT-Net has it."""
    return 255**2 * region_mse(truth, found, mask)


def harmonisation_psnr(
    truth: Float[Tensor, "b 3 h w"],
    found: Float[Tensor, "b 3 h w"],
    mask: Float[Tensor, "b 1 h w"],
) -> Float[Tensor, " b"]:
    """PSNR in dB from `harmonisation_mse`, as PCT-Net has it; some 108 where nothing differs."""
    return 10 * torch.log10(255**2 / (harmonisation_mse(truth, found, mask) + 1e-6))


def edit_error(
    truth: Float[Tensor, "b 3 h w"],
    found: Float[Tensor, "b 3 h w"],
    old: Float[Tensor, "b 1 h w"],
    new: Float[Tensor, "b 1 h w"],
) -> Float[Tensor, " b"]:
    """RMSE on 0..255 after an edit, where the edited layer's effects lay (`old`) or lie (`new`)."""
    return 255 * region_mse(truth, found, torch.maximum(old, new)).sqrt()


def _decibels(error: Tensor) -> Tensor:
    return -10 * torch.log10(error.clamp(min=1e-10))


def _cut(mask: Tensor) -> Tensor:
    return (mask >= 0.5).float()
