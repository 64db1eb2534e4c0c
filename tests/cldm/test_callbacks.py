"""Laws of what accompanies a training: averages are averages, and swaps can be undone."""

from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from torch import Tensor, nn

from cldm.callbacks import EMA, Fixed, Pictures, TimeLimit, trainable


class Whole(pl.LightningModule):
    """Two parts, one of which is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.learns, self.frozen = nn.Linear(2, 3), nn.Linear(2, 3)
        self.frozen.requires_grad_(False)

    def example(self, batch: Tensor) -> Tensor:
        """One picture of one colour, taken from the weights."""
        return self.learns.bias[0].clamp(0, 1) + torch.zeros_like(batch)


@pytest.fixture
def trainer() -> pl.Trainer:
    """A trainer that has not begun."""
    return pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def moved(ema: EMA, trainer: pl.Trainer, module: Whole, value: float) -> None:
    """One training step that ends with all learning weights at one value."""
    with torch.no_grad():
        for weight in trainable(module).values():
            weight.fill_(value)
    ema.on_train_batch_end(trainer, module, None, None, 0)


def test_only_what_learns_is_averaged(trainer: pl.Trainer) -> None:
    ema, module = EMA(0.999), Whole()
    moved(ema, trainer, module, 1.0)
    assert ema.average.keys() == {"learns.weight", "learns.bias"}


def test_the_average_moves_by_its_decay(trainer: pl.Trainer) -> None:
    ema, module = EMA(0.05), Whole()
    moved(ema, trainer, module, 1.0)
    moved(ema, trainer, module, 2.0)
    torch.testing.assert_close(ema.average["learns.bias"], torch.full((3,), 1 * 0.05 + 2 * 0.95))
    early = EMA(0.999)  # at step 0 the decay is 1/10 only
    moved(early, trainer, module, 1.0)
    moved(early, trainer, module, 2.0)
    torch.testing.assert_close(early.average["learns.bias"], torch.full((3,), 1 * 0.1 + 2 * 0.9))


def test_swapping_twice_is_the_identity(trainer: pl.Trainer) -> None:
    ema, module = EMA(0.5), Whole()
    moved(ema, trainer, module, 1.0)
    moved(ema, trainer, module, 3.0)
    before = {name: weight.clone() for name, weight in module.state_dict().items()}
    average = {name: weight.clone() for name, weight in ema.average.items()}
    ema.swap(module)
    assert torch.equal(module.learns.bias, average["learns.bias"])
    assert torch.equal(module.frozen.bias, before["frozen.bias"])
    ema.swap(module)
    assert all(torch.equal(weight, before[name]) for name, weight in module.state_dict().items())
    assert all(torch.equal(weight, average[name]) for name, weight in ema.average.items())


def test_a_checkpoint_carries_the_average(trainer: pl.Trainer) -> None:
    ema, again = EMA(0.5), EMA(0.5)
    moved(ema, trainer, Whole(), 1.0)
    again.load_state_dict(ema.state_dict())
    assert again.average.keys() == ema.average.keys()


@pytest.mark.parametrize("channels", [3, 4])
def test_pictures_are_drawn_with_averaged_weights(
    trainer: pl.Trainer, tmp_path: Path, channels: int
) -> None:
    ema, module = EMA(0.0), Whole()
    moved(ema, trainer, module, 1.0)
    with torch.no_grad():
        module.learns.bias.zero_()
    batch = torch.zeros(2, 3, channels, 8, 8)
    pictures = Pictures(batch, every=5, folder=tmp_path / "new", ema=ema)
    pictures.on_train_batch_end(trainer, module, None, None, 0)
    (written,) = (tmp_path / "new").iterdir()
    assert written.name == "000000.png"
    shown = torch.from_numpy(np.asarray(Image.open(written)).copy()).movedim(-1, 0)
    assert shown.shape == (3, 2 * 10 + 2, 3 * 10 + 2)
    assert (shown[:, 5, 5] == 255).all()
    assert module.training
    assert not module.learns.bias.any()


def test_a_training_stops_when_its_time_is_up(trainer: pl.Trainer) -> None:
    for minutes, stopped in ((10.0, False), (-1.0, True)):
        TimeLimit(minutes).on_train_batch_end(trainer, Whole(), None, None, 0)
        assert trainer.should_stop is stopped


def test_fixed_batches_come_again() -> None:
    fixed = Fixed([1, 2])
    assert list(fixed) == list(fixed) == [1, 2]
