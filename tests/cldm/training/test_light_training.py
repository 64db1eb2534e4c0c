"""Training the light's estimator: its loss falls on one batch; the rest of the network stays."""

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from cldm.config import StageConfig
from cldm.relation.transformer import RelationTransformer
from cldm.training.light import LightTraining
from ldm.scene import LitLayers
from ldm.values import Layers, Light


def scene() -> LitLayers:
    """Four pictures that are bright on the side that the light comes from."""
    ramp = torch.linspace(0, 1, 32).expand(4, 1, 3, 32, 32).clone()
    ramp[1::2] = ramp[1::2].flip(-1)
    layers = Layers(
        rgba=torch.cat([ramp, torch.ones_like(ramp[:, :, :1])], dim=2),
        present=torch.ones(4, 1, dtype=torch.bool),
    )
    one = torch.ones(4)
    light = Light(
        azimuth=torch.tensor([0.0, torch.pi, 0.0, torch.pi]),
        elevation=0.3 * one,
        colour=one[:, None].expand(-1, 3),
        softness=0.2 * one,
        ambient=0.4 * one,
    )
    return LitLayers(layers=layers, light=light)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_the_side_of_the_light_is_learned() -> None:
    torch.manual_seed(0)
    network = RelationTransformer(width=16, depth=1, num_heads=2, working_size=32, patch=8)
    module = LightTraining(network, StageConfig(num_steps=60, batch_size=4, learning_rate=3e-3))
    others = {name: weight.clone() for name, weight in network.head.state_dict().items()}
    trainer = pl.Trainer(
        max_steps=40,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader([scene()] * 40, batch_size=None))
    told = trainer.validate(module, DataLoader([scene()], batch_size=None), verbose=False)[0]
    assert told["validation/direction_explained"] > 0.5
    found = network.estimated(scene().layers).light
    right = torch.cos(found.azimuth) > 0
    assert torch.equal(right, torch.tensor([True, False, True, False]))
    assert all(torch.equal(others[name], new) for name, new in network.head.state_dict().items())
