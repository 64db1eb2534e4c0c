"""Fixtures of photographs, and of what scenes are made of."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Generator

from annotator.scenes.supply import Supply

FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.fixture(scope="session")
def truth() -> Image.Image:
    """A photograph of 160 x 120 pixels that nothing has been done to."""
    with Image.open(FIXTURES / "sheep.jpg") as image:
        return image.convert("RGB").resize((160, 120))


@pytest.fixture(scope="session")
def supply() -> Supply:
    """Five soft discs in random colours, and two noisy backdrops."""
    generator = Generator().manual_seed(1)
    grid = (torch.arange(32) + 0.5) / 16 - 1
    disc = ((0.95 - (grid[:, None].square() + grid.square()).sqrt()) * 8).clamp(0, 1)
    colour = torch.rand(5, 3, 1, 1, generator=generator).expand(-1, -1, 32, 32)
    backdrops = [torch.rand(3, *size, generator=generator) for size in ((60, 80), (70, 64))]
    return Supply(
        cutouts=torch.cat([colour, disc.expand(5, 1, -1, -1)], dim=1), backdrops=tuple(backdrops)
    )
