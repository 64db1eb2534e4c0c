"""Training what colours say: wrong colours are undone on one batch; all else stays."""

import pytest
import pytorch_lightning as pl
import torch
from subjects import picture
from torch.utils.data import DataLoader

from cldm.config import StageConfig
from cldm.relation.transformer import RelationTransformer
from cldm.training.colours import ColourTraining
from ldm.scene import Scene
from ldm.values import Layers, Light, identity_effects


def scene() -> Scene:
    """Photographs on a photograph, in even light."""
    rgba = torch.ones(2, 3, 4, 24, 24)
    rgba[:, 0, :3] = picture("pyramid.jpg", 24)
    rgba[:, 1, :3] = picture("duck.jpg", 24)
    rgba[:, 2, :3] = picture("sheep.jpg", 24)
    rgba[:, 1, 3, :, 12:] = rgba[:, 2, 3, :, :14] = 0
    layers = Layers(rgba=rgba, present=torch.ones(2, 3, dtype=torch.bool))
    one = torch.ones(2)
    light = Light(
        azimuth=0 * one,
        elevation=one,
        colour=one[:, None].expand(-1, 3),
        softness=0.5 * one,
        ambient=0.5 * one,
    )
    return Scene(layers=layers, light=light, effects=identity_effects(layers))


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_wrong_colours_are_undone() -> None:
    torch.manual_seed(0)
    network = RelationTransformer(width=32, depth=1, num_heads=2, working_size=32, patch=8)
    module = ColourTraining(network, StageConfig(num_steps=400, batch_size=2, learning_rate=3e-3))
    others = {name: weight.clone() for name, weight in network.head.state_dict().items()}
    trainer = pl.Trainer(
        max_steps=200,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    batches = DataLoader([scene()], batch_size=None)
    before = trainer.validate(module, batches, verbose=False)[0]
    assert abs(before["validation/unknown_light_undone"]) < 1e-6
    trainer.fit(module, DataLoader([scene()] * 200, batch_size=None))
    after = trainer.validate(module, batches, verbose=False)[0]
    assert after["validation/unknown_light_undone"] > 0.1
    assert module.example(scene()).shape == (2, 3, 3, 24, 24)
    assert all(torch.equal(others[name], new) for name, new in network.head.state_dict().items())
