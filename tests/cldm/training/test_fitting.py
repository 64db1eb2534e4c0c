"""Whole runs of the first two stages on a tiny model: fitted, stopped, taken up again."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from subjects import STAGE, write_data

from cldm.build import build_autoencoder, build_model
from cldm.callbacks import DivergedError
from cldm.condition import frames_of
from cldm.config import ModelConfig, RunConfig, Stage
from cldm.training.fitting import fit
from cldm.training.optimisation import one_cycle
from cldm.training.stage import Prepared, prepare_autoencoder, prepare_layers
from ldm.checkpoint import WeightsError, load_weights, save_weights

# Lightning remarks on workers, lengths and folders that are as they should be.
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def planned(config: ModelConfig, num_steps: int) -> ModelConfig:
    """The config with so many steps for the first two stages."""
    stage = replace(STAGE, num_steps=num_steps)
    return replace(config, training=replace(config.training, autoencoder=stage, layers=stage))


def steps_counted(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The losses of all steps that this training is about to make."""
    losses: list[float] = []
    step = prepared.module.training_step

    def counted(batch: Any) -> Any:
        loss = step(batch)
        losses.append(float(loss))
        return loss

    monkeypatch.setattr(prepared.module, "training_step", counted)
    return losses


def test_stages_are_fitted_one_after_the_other(
    tiny_config: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, folder = write_data(tmp_path / "data"), tmp_path / "run"
    run = RunConfig(
        stage=Stage.autoencoder,
        data=str(data),
        folder=str(folder),
        picture_every=2,
        precision="32-true",
    )
    with pytest.raises(WeightsError, match="train stage=autoencoder first"):
        prepare_layers(tiny_config, run)

    (written,) = fit(prepare_autoencoder(planned(tiny_config, 2), run), run)
    assert written == folder / "autoencoder.safetensors"
    load_weights(build_autoencoder(tiny_config), written)
    assert [path.name for path in (folder / "autoencoder" / "pictures").iterdir()] == ["000002.png"]

    run = replace(run, stage=Stage.layers, precision="bf16-mixed", picture_every=4)
    prepared = prepare_layers(planned(tiny_config, 2), run)
    losses = steps_counted(prepared, monkeypatch)
    fit(prepared, run)
    assert len(losses) == 2

    # Taken up again: two steps more, not four; its checkpoints take the place of the first's.
    run = replace(run, checkpoint_minutes=0.0)
    prepared = prepare_layers(planned(tiny_config, 4), run)
    losses = steps_counted(prepared, monkeypatch)
    (written,) = fit(prepared, run)
    assert len(losses) == 2
    assert [path.name for path in (folder / "layers").glob("*.ckpt")] == ["last.ckpt"]
    checkpoint = torch.load(folder / "layers" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 4
    assert [path.name for path in (folder / "layers" / "pictures").iterdir()] == ["000004.png"]
    model = build_model(tiny_config)
    load_weights(model, written)
    assert all(weight.isfinite().all() for weight in model.parameters())

    # Another training may begin with these weights, and needs no autoencoder then.
    run = replace(run, begin=str(written), folder=str(tmp_path / "other"))
    begun = prepare_layers(tiny_config, run)
    found = begun.module.state_dict()
    for key, weight in model.state_dict().items():
        assert torch.equal(found[f"model.{key}"], weight)


def test_a_training_whose_loss_is_no_number_ends(
    tiny_config: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And leaves no weights behind."""
    monkeypatch.setattr("cldm.callbacks._LOOKED_AT", 1)
    run = RunConfig(
        stage=Stage.autoencoder,
        data=str(write_data(tmp_path / "data")),
        folder=str(tmp_path / "run"),
        precision="32-true",
    )
    prepared = prepare_autoencoder(planned(tiny_config, 2), run)
    step = prepared.module.training_step
    monkeypatch.setattr(prepared.module, "training_step", lambda batch: math.nan * step(batch))
    with pytest.raises(DivergedError, match="loss: found nan at step 1, expected a number"):
        fit(prepared, run)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_packed_layers_learn_from_whole_pictures(
    packed_config: ModelConfig, tmp_path: Path
) -> None:
    """What is learned is drawn: frames of training are those of drawing."""
    base = tmp_path / "base.safetensors"
    save_weights(build_model(packed_config), base)
    run = RunConfig(
        data=str(write_data(tmp_path / "data")),
        folder=str(tmp_path / "run"),
        begin=str(base),
        picture_every=2,
        precision="32-true",
    )
    prepared = prepare_layers(planned(packed_config, 2), run)
    (batch,) = prepared.validation
    frames = frames_of(batch.condition.masks, packed_config)
    assert torch.equal(batch.condition.frames.box, frames.box)
    (written,) = fit(prepared, run)
    load_weights(build_model(packed_config), written)
    drawn = tmp_path / "run" / "layers" / "pictures" / "000002.png"
    assert drawn.is_file()


@pytest.mark.parametrize("begun", [True, False])
def test_only_new_latents_are_scaled_anew(
    tiny_config: ModelConfig, tmp_path: Path, begun: bool
) -> None:
    """A diffusion network to begin with knows its own scale alone."""
    learned = replace(tiny_config.autoencoder, linear=False)
    config = replace(planned(tiny_config, 1), autoencoder=learned)
    base, model = tmp_path / "base.safetensors", build_model(config)
    model.autoencoder.scale.fill_(5.5)
    save_weights(model, base)
    run = RunConfig(
        stage=Stage.autoencoder,
        data=str(write_data(tmp_path / "data")),
        folder=str(tmp_path / "run"),
        begin=str(base) if begun else "",
        precision="32-true",
    )
    (written,) = fit(prepare_autoencoder(config, run), run)
    found = build_autoencoder(config)
    load_weights(found, written)
    assert bool((found.scale == 5.5).all()) == begun
    assert bool((found.shift == 0).all()) == begun


def test_the_learning_rate_rises_stays_and_falls() -> None:
    prepared = one_cycle([torch.nn.Parameter(torch.zeros(2))], 1.0, 600)
    optimizer = prepared["optimizer"]
    schedule = prepared["lr_scheduler"]["scheduler"]  # pyright: ignore
    rates: list[float] = []
    for _ in range(600):
        optimizer.step()
        rates.append(schedule.get_last_lr()[0])  # pyright: ignore
        schedule.step()  # pyright: ignore
    assert rates[0] == pytest.approx(0.01)
    assert rates[49] == pytest.approx(0.5)
    assert rates[99:401] == pytest.approx([1.0] * 302)
    assert rates[500] == pytest.approx(0.5)
    assert rates[-1] == pytest.approx(0.01)
