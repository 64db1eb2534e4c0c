"""Laws of the first two trainings: one seed gives one course, truth costs nothing, only the right
parts learn."""

from dataclasses import fields
from itertools import islice

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from subjects import backdrops, cutouts
from torch import Tensor
from torch.utils.data import DataLoader

from cldm.build import build_autoencoder, build_model
from cldm.config import ModelConfig
from cldm.data import Assets, CanvasDataset
from cldm.examples import ExampleDataset, Examples
from cldm.latents import CanvasLatents, LatentCache
from cldm.training.autoencoder import AutoencoderTraining, faded
from cldm.training.layers import LayersTraining, slot_clean, slot_timesteps
from cldm.training.learning import choose
from cldm.training.mean import fit_mean
from ldm.denoiser import per_slot
from ldm.text import Tokenizer

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
ASSETS = Assets(cutouts=cutouts(), backdrops=backdrops())


def trained(module: pl.LightningModule, batches: list[Tensor] | list[Examples]) -> pl.Trainer:
    """Fitted to batches, one step for each."""
    trainer = pl.Trainer(
        max_steps=len(batches),
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader(batches, batch_size=None))  # pyright: ignore
    return trainer


def canvases(count: int) -> list[Tensor]:
    """Batches of one canvas."""
    return [canvas[None] for canvas in islice(CanvasDataset(ASSETS, size=32, seed=0), count)]


def examples(config: ModelConfig, count: int) -> list[Examples]:
    """Batches of scenes of random latents."""
    tokens = Tokenizer(config.text.length)(["a duck", "jupiter"])
    alpha = torch.full((2, 32, 32), 255, dtype=torch.uint8)
    part = CanvasLatents(latents=torch.randn(2, 4, 8, 8), alpha=alpha, tokens=tokens)
    cache = LatentCache(cutouts=part, backdrops=part, framed=config.has_frames)
    dataset = ExampleDataset(cache, batch_size=2, num_slots=3, picture=64, seed=0)
    return list(islice(dataset, count))


def layers_training(config: ModelConfig) -> LayersTraining:
    """A new one."""
    torch.manual_seed(0)
    model = build_model(config)
    choose(model, config)
    return LayersTraining(model, learning_rate=1e-3, num_steps=9, timestep_shift=1.0)


def course(config: ModelConfig) -> list[float]:
    """The losses of three steps."""
    module, losses = layers_training(config), []
    step = module.training_step
    module.training_step = lambda batch: losses.append(step(batch)) or losses[-1]
    torch.manual_seed(1)
    trained(module, examples(config, 3))
    return [float(loss) for loss in losses]


@pytest.mark.parametrize("layout", ["tiny_config", "packed_config"])
def test_one_seed_gives_one_course(layout: str, request: pytest.FixtureRequest) -> None:
    config: ModelConfig = request.getfixturevalue(layout)
    first, again = course(config), course(config)
    assert len(first) == 3
    assert first == again


def test_only_words_control_and_network_learn(tiny_config: ModelConfig) -> None:
    module = layers_training(tiny_config)
    before = {name: weight.clone() for name, weight in module.state_dict().items()}
    trained(module, examples(tiny_config, 2))
    changed = {
        name.split(".")[1]
        for name, weight in module.state_dict().items()
        if not torch.equal(weight, before[name])
    }
    assert changed == {"text", "control", "unet"}


def test_the_true_velocity_costs_nothing(
    tiny_config: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = layers_training(tiny_config)
    (batch,) = examples(tiny_config, 1)

    def ideal(noisy: Tensor, timestep: Tensor, *_: object, strength: float) -> Tensor:
        level = per_slot(module.model.schedule.sigma(timestep))
        return (noisy - (1 + level**2).sqrt() * batch.latents) / level * strength

    monkeypatch.setattr(module.model, "predict", ideal)
    assert float(module.loss(batch)) < 1e-3
    monkeypatch.setattr(module.model, "predict", lambda noisy, *_, **__: 0 * noisy)
    assert float(module.loss(batch)) > 0.1


def test_pictures_show_masks_layers_and_their_stack(tiny_config: ModelConfig) -> None:
    module = layers_training(tiny_config).eval()
    (batch,) = examples(tiny_config, 1)
    shown = module.example(batch)
    assert shown.shape == (2, 2 + 3 + 1, 4, 64, 64)
    assert torch.equal(shown[:, 0, 0], batch.condition.masks.area[:, 1])


def test_only_detail_fades_and_only_of_some_canvases() -> None:
    raw = torch.rand(400, 1, 8, 2, 2) + 1
    found = faded(raw)
    assert torch.equal(found[:, :, :4], raw[:, :, :4])
    left = (found / raw)[:, 0, 4:].flatten(1)
    torch.testing.assert_close(left, left[:, :1].expand_as(left))
    assert abs(float((left[:, 0] == 1).float().mean()) - 0.5) < 0.1
    assert left.min() >= 0


def test_the_mean_is_fitted_to_what_guesses_lack(tiny_config: ModelConfig) -> None:
    module = layers_training(tiny_config)
    (scene,) = examples(tiny_config, 1)
    others = {name: weight.clone() for name, weight in module.model.state_dict().items()}

    def error() -> float:
        # A shift without bounds: every timestep is the last.
        still = LayersTraining(module.model, learning_rate=1.0, num_steps=9, timestep_shift=1e9)
        torch.manual_seed(3)
        return float(still.loss(scene))

    before = error()
    fit_mean(module.model, [scene] * 4, module.wordless, 150)
    assert error() < 0.8 * before
    weights = module.model.state_dict().items()
    changed = {name for name, weight in weights if (weight != others[name]).any()}
    assert changed
    assert all(name.startswith("control.mean.") for name in changed)


def test_noise_levels_are_shared_in_two_pictures_of_three() -> None:
    present = torch.ones(3000, 3, dtype=torch.bool)
    timestep = slot_timesteps(present, 1.0)
    assert timestep.min() >= 0
    assert timestep.max() <= 999
    shared = (timestep == timestep[:, :1]).all(dim=1).float().mean()
    assert abs(float(shared) - 2 / 3) < 0.04
    assert abs(float(slot_clean(present).float().mean()) - 1 / 8) < 0.02


@pytest.mark.parametrize(("shift", "share"), [(1.0, 0.4), (3.0, 2 / 3)])
def test_a_shift_dwells_on_high_noise(shift: float, share: float) -> None:
    timestep = slot_timesteps(torch.ones(9000, 1, dtype=torch.bool), shift)
    assert abs(float((timestep > 0.6 * 999).float().mean()) - share) < 0.03


def test_the_autoencoder_learns_its_canvases(tiny_config: ModelConfig) -> None:
    autoencoder = build_autoencoder(tiny_config)
    autoencoder.begin_linear(torch.cat(canvases(24)))
    module = AutoencoderTraining(
        autoencoder, learning_rate=0.05, num_steps=999, divergence_weight=3e-5
    )
    batch, unseen = torch.cat(canvases(4)), DataLoader(canvases(4), batch_size=None)
    trainer = trained(module, [batch])
    (before,) = trainer.validate(module, unseen, verbose=False)
    (after,) = trained(module, [batch] * 30).validate(module, unseen, verbose=False)
    assert after["validation/rgba_psnr"] > before["validation/rgba_psnr"]
    assert module.eval().example(batch).shape == (4, 1, 4, 32, 64)


def test_batches_move_as_one(tiny_config: ModelConfig) -> None:
    (batch,) = examples(tiny_config, 1)
    moved = batch.to(torch.float64)
    assert moved.condition.masks.area.dtype is moved.latents.dtype is torch.float64
    assert {field.name for field in fields(moved)} == {"condition", "latents", "weight"}
    assert np.isfinite(moved.weight.numpy()).all()
