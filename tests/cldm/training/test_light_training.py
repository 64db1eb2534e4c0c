"""Training the light's estimator: its loss falls on one batch; the rest of the network stays."""

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from cldm.config import LightStageConfig
from cldm.relation.transformer import RelationTransformer
from cldm.training.light import LightTraining
from ldm.scene import LitLayers
from ldm.values import Layers, Light


def scene() -> LitLayers:
    """Four pictures of a white post in the middle; its dark shadow falls to the left, or right."""
    traces = torch.zeros(4, 2, 32, 32)
    traces[:, 0, 8:20, 14:18] = 1
    traces[:, 1, 18:22, 4:14] = 0.6
    traces[1::2] = traces[1::2].flip(-1)
    body, shadow = traces.split(1, dim=1)
    picture = (0.5 * (1 - shadow) + 0.5 * body).expand(-1, 3, -1, -1)
    layers = Layers(
        rgba=torch.cat([picture, torch.ones_like(body)], dim=1)[:, None],
        present=torch.ones(4, 1, dtype=torch.bool),
    )
    one = torch.ones(4)
    light = Light(
        azimuth=torch.tensor([0.0, torch.pi, 0.0, torch.pi]),
        elevation=0.5 * one,
        colour=one[:, None].expand(-1, 3),
        softness=0.2 * one,
        ambient=0.4 * one,
    )
    return LitLayers(layers=layers, light=light, traces=traces, agreed=layers.present)


def training() -> LightTraining:
    """A tiny training."""
    torch.manual_seed(0)
    network = RelationTransformer(width=16, depth=1, num_heads=2, working_size=32, patch=8)
    return LightTraining(network, LightStageConfig(num_steps=240, batch_size=4, learning_rate=5e-3))


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_the_side_of_the_light_is_learned() -> None:
    module, batch = training(), scene()
    with torch.no_grad():
        before = float(module.estimator.loss(module.seen(batch)))
    trainer = pl.Trainer(
        max_steps=80,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader([batch] * 80, batch_size=None))
    told = trainer.validate(module, DataLoader([batch], batch_size=None), verbose=False)[0]
    assert told["validation/light"] < 0.7 * before
    assert told["validation/direction_explained"] > 0.5
    assert told["validation/direction_error_deg"] < 45
    with torch.no_grad():
        sight = module.estimator.sight(module.seen(batch).layers)
    right = torch.cos(sight.estimate.light.azimuth) > 0
    assert torch.equal(right, torch.tensor([True, False, True, False]))
    shadow = sight.found.traces.sigmoid()[0, 1, 4:6]
    assert shadow[:, 1:3].mean() > 2 * shadow[:, 5:7].mean()


def test_example_shows_pictures_and_traces() -> None:
    pictures = training().example(scene())
    assert pictures.shape == (4, 4, 3, 32, 32)
    assert torch.equal(pictures[:, 0], pictures[:, 1])
    assert torch.equal(pictures[:, 3, :2], scene().traces)
