"""Laws of prepacked weights: the same answers, whatever the size that comes after the first."""

from copy import deepcopy

import pytest
import torch
from subjects import TEXT, WIDTHS, asked, awake
from torch import Tensor, nn

from ldm.layout import StackedLayout
from ldm.prepacked import PrepackedConvolution, PrepackedLinear, prepack
from ldm.unet import UNet


def calculates_in(dtype: torch.dtype) -> bool:
    """Whether oneDNN can lay out weights of a precision for this processor."""
    return dtype is torch.float32 or torch.ops.mkldnn._is_mkldnn_bf16_supported()


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_prepacked_network_answers_as_before(dtype: torch.dtype) -> None:
    plain = awake(UNet(WIDTHS, StackedLayout(32, TEXT))).eval().to(dtype)
    packed = deepcopy(plain)
    prepack(packed)
    found = any(isinstance(part, PrepackedConvolution) for part in packed.modules())
    assert found is calculates_in(dtype)
    text = torch.randn(2, 1, 7, TEXT, dtype=dtype)
    for height, width in ((8, 12), (16, 8), (8, 12)):
        latents = torch.randn(2, 1, 4, height, width, dtype=dtype)
        timestep = torch.tensor([[3.0], [901.0]])
        expected, found = (
            network(latents, timestep, network.read(asked(text)), ()) for network in (plain, packed)
        )
        error = (found - expected).abs().max() / expected.abs().max()
        assert error < (1e-5 if dtype is torch.float32 else 4e-2)


@torch.no_grad()
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("channels", [5, 200])
def test_a_prepacked_convolution_is_torchs(stride: int, channels: int) -> None:
    """Few channels: the picture outweighs the weight; many: the weight, four times over."""
    network = nn.Sequential(nn.Conv2d(channels, 7 * channels, 3, padding=1, stride=stride))
    cells = torch.randn(2, channels, 9, 6)
    expected = network(cells)
    prepack(network)
    torch.testing.assert_close(network(cells), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_large_linear_blocks_and_all_of_half_precision_are_prepacked() -> None:
    def packed(dtype: torch.dtype, width: int) -> tuple[bool, Tensor]:
        network = nn.Sequential(nn.Linear(1024, width, dtype=dtype))
        rows = torch.randn(2, 3, 1024, dtype=dtype)
        expected = network(rows).float()
        prepack(network)
        error = (network(rows).float() - expected).abs().max() / expected.abs().max()
        return isinstance(network[0], PrepackedLinear), error

    assert packed(torch.float32, 16) == (False, 0)
    for dtype, width, allowed in ((torch.float32, 1024, 1e-5), (torch.bfloat16, 16, 2e-2)):
        found, error = packed(dtype, width)
        assert found is calculates_in(dtype)
        assert error < allowed


def test_what_cannot_be_prepacked_stays() -> None:
    network = nn.Sequential(nn.Conv2d(2, 2, 3, dtype=torch.float64), nn.Linear(2, 2, device="meta"))
    prepack(network)
    assert [type(part) for part in network] == [nn.Conv2d, nn.Linear]
