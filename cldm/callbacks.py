"""What accompanies a training: averaged weights, and pictures to look at."""

import time
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor
from torch.utils.data import IterableDataset
from torchvision.utils import make_grid, save_image

from ldm.mistake import MistakeError

_LOOKED_AT = 10


class EMA(Callback):
    """Exponential moving average of the trainable weights (frozen ones are not kept twice).

    The average runs over about `1 / (1 - decay)` steps, fewer at the beginning. It is saved with
    the checkpoint; `swap` puts it in place.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.average: dict[str, Tensor] = {}

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Move the average towards the present weights."""
        step = trainer.global_step
        decay = min(self.decay, (1 + step) / (10 + step))
        present = trainable(pl_module)
        if not self.average:
            self.average = {name: weight.detach().clone() for name, weight in present.items()}
        with torch.no_grad():
            for name, weight in present.items():
                # A checkpoint's average comes from the CPU.
                average = self.average[name].to(weight.device)
                self.average[name] = average.lerp_(weight, 1 - decay)

    def swap(self, module: torch.nn.Module) -> None:
        """Exchange the module's weights with the average; a second call undoes the first."""
        with torch.no_grad():
            for name, weight in trainable(module).items():
                if name in self.average:
                    held = weight.detach().clone()
                    weight.copy_(self.average[name])
                    self.average[name].copy_(held)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"average": self.average}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the average of a checkpoint."""
        self.average = state_dict["average"]


class TimeLimit(Callback):
    """Stops this run after some minutes. Unlike Lightning's own timer it does not count the time of
    earlier runs when a training goes on."""

    def __init__(self, minutes: float) -> None:
        self.minutes = minutes
        self.begin = time.monotonic()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Ask the trainer to stop when the time is up."""
        if time.monotonic() - self.begin > 60 * self.minutes:
            trainer.should_stop = True


class DivergedError(MistakeError):
    """A training whose loss is no number any more."""


class StillFinite(Callback):
    """Ends a training whose loss is no number, which no later step can mend: its last checkpoint
    stays as it was. Looks at every tenth step, as an accelerator has to be waited for."""

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Raises DivergedError where the loss is not finite."""
        step = trainer.global_step
        if step % _LOOKED_AT == 0 and not torch.isfinite(outputs["loss"]):
            raise DivergedError(
                f"loss: found {float(outputs['loss'])} at step {step}, expected a number: "
                "try a lower learning rate"
            )


def trainable(module: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """The parameters that learn, by name."""
    return {name: weight for name, weight in module.named_parameters() if weight.requires_grad}


@runtime_checkable
class Illustrated(Protocol):
    """A training that can show what it does: pictures `[b n c h w]` in 0..1."""

    def example(self, batch: Any) -> Tensor:
        """Pictures of one batch."""
        ...


class Pictures(Callback):
    """Every `every` steps: pictures of one fixed batch, with averaged weights.

    They go to the TensorBoard log and as PNG into `folder`.
    """

    def __init__(self, batch: Any, *, every: int, folder: Path, ema: EMA) -> None:
        self.batch = batch
        self.every = every
        self.folder = folder
        self.ema = ema

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Draw when it is time."""
        if trainer.global_step % self.every == 0:
            self.draw(trainer, pl_module)

    def draw(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """One sheet: a row for each picture of the batch."""
        pl_module.eval()
        self.ema.swap(pl_module)
        with torch.no_grad():
            shown = cast(Illustrated, pl_module).example(self.batch.to(pl_module.device)).cpu()
        self.ema.swap(pl_module)
        pl_module.train()
        if shown.shape[2] == 4:
            rgb, alpha = shown.split([3, 1], dim=2)
            shown = torch.lerp(torch.tensor(0.8), rgb, alpha)
        sheet = make_grid(shown.flatten(0, 1).clamp(0, 1), nrow=shown.shape[1])
        self.folder.mkdir(parents=True, exist_ok=True)
        save_image(sheet, self.folder / f"{trainer.global_step:06d}.png")
        if isinstance(trainer.logger, TensorBoardLogger):
            trainer.logger.experiment.add_image("example", sheet, trainer.global_step)


class Fixed(IterableDataset[Any]):
    """A few batches, the same each time: what validation sees."""

    def __init__(self, batches: list[Any]) -> None:
        super().__init__()
        self.batches = batches

    def __iter__(self) -> Any:
        return iter(self.batches)
