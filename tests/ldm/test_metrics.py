"""Laws of measures, against arithmetic on shapes whose areas are known."""

import math

import cv2
import numpy as np
import torch
from subjects import picture, planet
from torch import Tensor

from ldm.metrics import dilate, leakage, masked_psnr, missing, psnr, soft_iou


def box(left: int, right: int) -> Tensor:
    """A full-height box on 40 x 40."""
    mask = torch.zeros(1, 40, 40)
    mask[..., left:right] = 1
    return mask


def test_psnr_is_open_cvs() -> None:
    truth = picture("sheep.jpg", 64)
    found = (truth + 0.05 * torch.randn_like(truth)).clamp(0, 1)
    expected = cv2.PSNR(truth.numpy().copy(), found.numpy().copy(), 1.0)
    assert math.isclose(float(psnr(truth, found)), expected, rel_tol=1e-4)
    assert float(psnr(truth, truth)) == 100


def test_psnr_of_a_region_sees_that_region_only() -> None:
    truth = picture("sheep.jpg", 40)[None]
    found = truth + 0.1 * (box(0, 20) > 0)[:, None]
    assert math.isclose(float(masked_psnr(truth, found, box(0, 20) > 0)), 20, rel_tol=1e-4)
    assert float(masked_psnr(truth, found, box(20, 40) > 0)) == 100


def test_soft_iou_is_overlap_over_union() -> None:
    torch.testing.assert_close(soft_iou(box(0, 20), box(10, 30)), torch.tensor([1 / 3]))
    soft = planet(40)[3:]
    torch.testing.assert_close(soft_iou(soft, soft), torch.ones(1))
    torch.testing.assert_close(soft_iou(box(0, 20), 0.5 * box(0, 20)), torch.tensor([0.5]))


def test_leakage_is_what_lies_beyond_the_widened_mask() -> None:
    # 0.1 of 40 pixels: 4 beyond the mask are forgiven.
    found = leakage(box(0, 10), box(0, 20), tolerance=0.1)
    torch.testing.assert_close(found, torch.tensor([6 / 20]))
    assert float(leakage(box(0, 10), box(0, 0))) == 0


def test_missing_is_what_stays_empty() -> None:
    torch.testing.assert_close(missing(box(0, 20), box(5, 40)), torch.tensor([0.25]))


def test_dilation_is_open_cvs() -> None:
    mask = (planet(50)[3] > 0.5).float()
    expected = cv2.dilate(mask.numpy(), np.ones((7, 7)))
    torch.testing.assert_close(dilate(mask, 3 / 50), torch.from_numpy(expected))
