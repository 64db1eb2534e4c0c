"""Fitting a prepared stage: checkpoints, averaged weights, pictures, and weights written out."""

from datetime import timedelta
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import TensorBoardLogger
from torch.utils.data import DataLoader

from cldm.callbacks import EMA, Fixed, Pictures, StillFinite, TimeLimit
from cldm.config import RunConfig
from cldm.training.stage import Prepared

_DECAY = 0.999


def fit(prepared: Prepared, run: RunConfig) -> tuple[Path, ...]:
    """Train to the end or to the time limit, then write the averaged weights; their files."""
    ema = EMA(_DECAY)
    checkpoint = _checkpoint(run)
    folder = checkpoint.parent
    trainer = pl.Trainer(
        max_steps=prepared.num_steps,
        precision=run.precision,
        accelerator="auto",
        logger=TensorBoardLogger(folder, name="log"),
        callbacks=[
            StillFinite(),
            ema,
            TimeLimit(run.minutes),
            Pictures(
                prepared.validation[0],
                every=run.picture_every,
                folder=folder / "pictures",
                ema=ema,
            ),
            ModelCheckpoint(
                dirpath=folder,
                save_last=True,
                save_top_k=0,
                enable_version_counter=False,
                train_time_interval=timedelta(minutes=run.checkpoint_minutes),
            ),
        ],
        val_check_interval=run.picture_every,
        num_sanity_val_steps=0,
        gradient_clip_val=1.0,
        log_every_n_steps=10,
        enable_model_summary=False,
    )
    trainer.fit(
        prepared.module,
        prepared.batches,
        DataLoader(Fixed(prepared.validation), batch_size=None),
        ckpt_path=str(checkpoint) if checkpoint.is_file() else None,
        weights_only=True,
    )
    trainer.save_checkpoint(checkpoint)
    ema.swap(prepared.module)
    prepared.module.eval()
    prepared.finish()
    return prepared.save(folder.with_suffix(".safetensors"))


def finished_steps(run: RunConfig) -> int:
    """How many steps the run's last checkpoint has behind it; 0 where there is none."""
    checkpoint = _checkpoint(run)
    if not checkpoint.is_file():
        return 0
    return int(torch.load(checkpoint, weights_only=True, mmap=True)["global_step"])


def _checkpoint(run: RunConfig) -> Path:
    return Path(run.folder) / run.stage.value / "last.ckpt"
