"""Laws of the U-Net's blocks."""

import pytest
import torch

from ldm.blocks import GroupNorm


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_group_norm_is_that_of_torch_in_any_memory_format(layout: torch.memory_format) -> None:
    cells = torch.randn(3, 64, 6, 4).to(memory_format=layout)
    norm = GroupNorm(32, 64, eps=1e-5)
    torch.nn.init.normal_(norm.weight)
    truth = torch.nn.functional.group_norm(cells, 32, norm.weight, norm.bias, 1e-5)
    found = norm(cells)
    torch.testing.assert_close(found, truth)
    assert found.is_contiguous(memory_format=layout)
