"""The optimiser that all stages share."""

import torch
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

_WARM_UP = 100


def one_cycle(
    parameters: list[nn.Parameter], learning_rate: float, num_steps: int
) -> OptimizerLRSchedulerConfig:
    """AdamW; the learning rate rises for 100 steps, stays, and falls linearly in the last third.

    The plateau lets a training go on beyond its first plan: only the fall depends on `num_steps`.
    """
    optimizer = torch.optim.AdamW(
        parameters, lr=learning_rate, betas=(0.9, 0.99), weight_decay=0.01
    )

    def share(step: int) -> float:
        fall = (num_steps - step) / (num_steps / 3)
        return max(min(1.0, (step + 1) / _WARM_UP, fall), 0.01)

    return {
        "optimizer": optimizer,
        "lr_scheduler": {"scheduler": LambdaLR(optimizer, share), "interval": "step"},
    }
