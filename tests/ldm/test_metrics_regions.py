"""Laws of the measures of light and shadow, against scikit-image, torchmetrics, scikit-learn."""

import math

import pytest
import torch
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio
from sklearn.metrics import balanced_accuracy_score, recall_score
from subjects import picture
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio as torch_psnr

from ldm.metrics import (
    affected_region,
    edit_error,
    harmonisation_fmse,
    harmonisation_mse,
    harmonisation_psnr,
    local_shadow_ber,
    local_shadow_rmse,
    region_mse,
    region_psnr,
    shadow_ber,
    shadow_mask,
    shadow_rmse,
)

SIZE = 24


@pytest.fixture
def truth() -> Tensor:
    """Two photographs."""
    return torch.stack([picture("sheep.jpg", SIZE), picture("duck.jpg", SIZE)])


@pytest.fixture
def found(truth: Tensor) -> Tensor:
    """The same with noise."""
    return (truth + 0.1 * torch.randn_like(truth)).clamp(0, 1)


@pytest.fixture
def region() -> Tensor:
    """Other random pixels in each picture."""
    return (torch.rand(2, 1, SIZE, SIZE) < 0.3).float()


def inside(pixels: Tensor, region: Tensor, index: int) -> Tensor:
    """The pixels `[3 k]` of one picture in a region."""
    return pixels[index][:, region[index, 0] > 0]


def test_errors_in_a_region_are_scikit_images(truth: Tensor, found: Tensor, region: Tensor) -> None:
    for index in range(2):
        pair = [inside(pixels, region, index).numpy() for pixels in (truth, found)]
        mse, psnr = mean_squared_error(*pair), peak_signal_noise_ratio(*pair, data_range=1)
        assert math.isclose(region_mse(truth, found, region)[index], mse, rel_tol=1e-4)
        assert math.isclose(region_psnr(truth, found, region)[index], psnr, rel_tol=1e-4)
        fmse = harmonisation_fmse(truth, found, region)[index]
        assert math.isclose(fmse, 255**2 * mse, rel_tol=1e-4)
        local = local_shadow_rmse(truth, found, region)[index]
        assert math.isclose(local, 255 * math.sqrt(mse), rel_tol=1e-4)


def test_the_global_error_of_a_shadow_is_that_of_the_picture(truth: Tensor, found: Tensor) -> None:
    pairs = zip(truth.numpy(), found.numpy(), strict=True)
    expected = [255 * math.sqrt(mean_squared_error(*pair)) for pair in pairs]
    torch.testing.assert_close(shadow_rmse(truth, found), torch.tensor(expected))


def test_harmonisation_is_measured_as_if_the_background_were_right(
    truth: Tensor, found: Tensor, region: Tensor
) -> None:
    pasted = 255 * torch.where(region > 0, found, truth)
    for index in range(2):
        mse = mean_squared_error(255 * truth[index].numpy(), pasted[index].numpy())
        assert math.isclose(harmonisation_mse(truth, found, region)[index], mse, rel_tol=1e-4)
        psnr = torch_psnr(pasted[index], 255 * truth[index], data_range=255.0)
        torch.testing.assert_close(harmonisation_psnr(truth, found, region)[index], psnr)


def test_an_empty_region_holds_no_error(truth: Tensor, found: Tensor) -> None:
    none = torch.zeros(2, 1, SIZE, SIZE)
    assert region_mse(truth, found, none).tolist() == [0, 0]
    assert region_psnr(truth, found, none).tolist() == [100, 100]
    assert edit_error(truth, found, none, none).tolist() == [0, 0]
    assert harmonisation_fmse(truth, found, none).tolist() == [0, 0]
    best = torch.full((2,), 10 * math.log10(255**2 / 1e-6))
    torch.testing.assert_close(harmonisation_psnr(truth, found, none), best)


def test_a_change_of_more_than_four_levels_in_any_channel_is_an_effect() -> None:
    plain = torch.full((1, 3, 2, 2), 0.5)
    truth = plain.clone()
    truth[0, 0, 0, 0] += 5 / 255
    truth[0, 2, 1, 1] -= 5 / 255
    truth[0, :, 0, 1] += 3 / 255
    assert affected_region(truth, plain)[0, 0].tolist() == [[1, 0], [0, 1]]


def test_balanced_error_rates_are_scikit_learns() -> None:
    truth, found = torch.rand(2, 3, SIZE, SIZE)
    for index in range(3):
        true, told = ((mask[index] >= 0.5).flatten().numpy() for mask in (truth, found))
        balanced = 1 - balanced_accuracy_score(true, told)
        assert math.isclose(shadow_ber(truth, found)[index], balanced, abs_tol=1e-5)
        missed = 1 - recall_score(true, told)
        assert math.isclose(local_shadow_ber(truth, found)[index], missed, abs_tol=1e-5)


def test_no_shadow_has_a_balanced_error_rate_of_a_half() -> None:
    truth, none = torch.zeros(1, 4, 4), torch.zeros(1, 4, 4)
    truth[:, 2:] = 1
    assert shadow_ber(truth, none).tolist() == [0.5]
    assert local_shadow_ber(truth, none).tolist() == [1]
    assert shadow_ber(none, none).tolist() == [0]
    assert local_shadow_ber(none, truth).tolist() == [0]


def test_a_shadow_is_seen_on_what_lies_behind_its_layer_only() -> None:
    # Columns: bare ground, ground in the shadow of layer 1, layer 1 itself, layer 2 before it.
    alpha = torch.zeros(1, 3, 1, 1, 4)
    alpha[:, 0] = 1
    alpha[:, 1, ..., 2:], alpha[:, 2, ..., 3] = 1, 1
    shadow = torch.ones(1, 3, 3, 1, 4)
    shadow[:, 1, ..., 1:] = 0.5
    assert shadow_mask(alpha, shadow).flatten().tolist() == [0, 1, 0, 0]
    # The shadow of layer 2 falls on ground and layer 1; faint ones add up.
    shadow[:, 1:, ..., 0] = 0.94
    shadow[:, 2, ..., 2] = 0.5
    assert shadow_mask(alpha, shadow).flatten().tolist() == [1, 1, 1, 0]
    shadow[:, 1, ..., 0] = 1
    assert shadow_mask(alpha, shadow).flatten().tolist() == [0, 1, 1, 0]


def test_an_edit_is_judged_where_old_or_new_effects_lie() -> None:
    truth, found = torch.zeros(1, 3, 1, 4), torch.zeros(1, 3, 1, 4)
    old, new = torch.zeros(2, 1, 1, 1, 4)
    old[..., :2], new[..., 1:3] = 1, 1
    found[..., 0], found[..., 3] = 0.1, 1
    # One pixel of the region's three errs by a tenth, and so again when old and new change places.
    expected = torch.tensor([255 * 0.1 / math.sqrt(3)])
    torch.testing.assert_close(edit_error(truth, found, new, old), expected)
    torch.testing.assert_close(edit_error(truth, found, old, new), expected)
