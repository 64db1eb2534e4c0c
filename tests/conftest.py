"""Fixtures that many laws share: tiny models, pictures of layers, what is asked of them."""

import resource

import pytest
import torch
from subjects import awake, config, picture, planet

from cldm.build import build_model
from cldm.condition import Condition
from cldm.config import Layout, ModelConfig
from cldm.model import LayerDiffusion
from ldm.compositing import mask_frames
from ldm.text import Tokenizer
from ldm.values import Layers, Masks


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Laws at full size have a price."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    terminalreporter.write_line(f"peak memory {peak:.1f} GiB, with pages of mapped files")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def tiny_config() -> ModelConfig:
    """The shipped default in small: stacked, with frames and linear latents."""
    return config(Layout.stacked)


@pytest.fixture(scope="session")
def packed_config() -> ModelConfig:
    """The same with its slots in the channels."""
    return config(Layout.packed)


@pytest.fixture(scope="session")
def tiny_model(tiny_config: ModelConfig) -> LayerDiffusion:
    """A model none of whose parts is silent, so that nothing hides behind a zero; look, do not
    train."""
    torch.manual_seed(0)
    return awake(build_model(tiny_config)).eval()


@pytest.fixture
def photographs() -> Layers:
    """Two pictures of three layers, 48 px: a photograph, soft-edged parts of others before it."""
    rgb = torch.stack(
        [
            torch.stack([picture(f"{name}.jpg", 48) for name in row])
            for row in (("horses", "duck", "sheep"), ("pyramid", "windmill", "duck"))
        ]
    )
    soft = torch.stack([torch.ones(48, 48), planet(48)[3], planet(48)[3].roll(9, 1) * 0.6])
    alpha = soft[None, :, None].expand(2, -1, -1, -1, -1)
    return Layers(rgba=torch.cat([rgb, alpha], dim=2), present=torch.ones(2, 3, dtype=torch.bool))


@pytest.fixture
def condition(tiny_config: ModelConfig) -> Condition:
    """Two pictures of 64 px with a back and two boxes; the last is absent in the second."""
    area = torch.zeros(2, 3, 64, 64)
    area[:, 0], area[:, 1, 8:40, 8:30], area[0, 2, 20:60, 24:50] = 1, 1, 1
    masks = Masks(area=area, present=torch.tensor([[True, True, True], [True, True, False]]))
    words = ["a lawn", "a duck", "a sheep", "sand", "a windmill", ""]
    tokens = Tokenizer(tiny_config.text.length)(words).unflatten(0, (2, 3))
    return Condition(tokens=tokens, masks=masks, frames=mask_frames(masks, 0.1))
