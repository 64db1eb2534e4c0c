"""Weights in the order that a CPU's kernels want them, laid out once instead of at every call.

oneDNN reorders the weight of a convolution before it multiplies. At Stable Diffusion's coarse
levels, where weights are large and pictures are small, that takes longer than the multiplication.
"""

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn


def prepack(module: nn.Module) -> None:
    """Lay out the weights of all convolutions and linear blocks within a module, in place.

    For drawing only: afterwards the module has no gradients, and its state holds no weights to be
    saved. Does nothing where there is no oneDNN, or for weights on another device than the CPU or
    in another precision than float32 and, on processors that calculate in it, bfloat16.
    """
    for name, child in module.named_children():
        if type(child) is nn.Conv2d and _fits(child.weight):
            setattr(module, name, PrepackedConvolution(child))
        elif type(child) is nn.Linear and _fits(child.weight) and _gains(child.weight):
            setattr(module, name, PrepackedLinear(child))
        else:
            prepack(child)


def _fits(weight: Tensor) -> bool:
    known = weight.dtype is torch.float32 or (
        weight.dtype is torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )
    return known and weight.device.type == "cpu" and torch.backends.mkldnn.is_available()


def _gains(weight: Tensor) -> bool:
    """Small matrices in float32 are multiplied by MKL, which needs no reordering."""
    return weight.dtype is not torch.float32 or weight.numel() >= 2**20


class PrepackedConvolution(nn.Module):
    """A convolution that keeps its weight in oneDNN's order where that is faster, fit for the first
    size it meets (others work, more slowly)."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.bias = convolution.bias
        self.stride, self.padding = (
            list(convolution.stride),
            [int(side) for side in convolution.padding],
        )
        self._weight = convolution.weight.detach()
        self._is_met = False

    def forward(self, cells: Float[Tensor, "k c y x"]) -> Float[Tensor, "k d v u"]:
        """Convolve."""
        if not self._is_met:
            self._is_met = True
            if self._gains(cells):
                self._weight = cast(
                    Tensor,
                    torch._C._nn.mkldnn_reorder_conv2d_weight(  # pyright: ignore
                        self._weight.to_mkldnn(),
                        self.padding,
                        self.stride,
                        [1, 1],
                        1,
                        cells.shape,
                    ),
                )
        if not self._weight.is_mkldnn:
            return torch.conv2d(cells, self._weight, self.bias, self.stride, self.padding)
        return torch.ops.mkldnn._convolution_pointwise(
            cells, self._weight, self.bias, self.padding, self.stride, [1, 1], 1, "none", [], ""
        )

    def _gains(self, cells: Tensor) -> bool:
        """In float32, where the picture outweighs the weight, the reordering of it costs more."""
        is_large = self._weight.numel() >= 4 * cells.numel()
        return is_large or cells.dtype is not torch.float32


class PrepackedLinear(nn.Module):
    """A linear block that keeps its weight in oneDNN's order, fit for the first number of rows."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.bias = linear.bias
        self._plain: Tensor | None = linear.weight.detach()
        self._weight: Tensor | None = None

    def forward(self, rows: Float[Tensor, "*k c"]) -> Float[Tensor, "*k d"]:
        """Multiply."""
        if self._plain is not None:
            count = rows.shape[:-1].numel()
            self._weight = torch.ops.mkldnn._reorder_linear_weight(self._plain, count)
            self._plain = None
        return torch.ops.mkldnn._linear_pointwise(rows, self._weight, self.bias, "none", [], "")
