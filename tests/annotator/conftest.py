"""Fixtures of photographs."""

from pathlib import Path

import pytest
from PIL import Image

FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.fixture(scope="session")
def truth() -> Image.Image:
    """A photograph of 160 x 120 pixels that nothing has been done to."""
    with Image.open(FIXTURES / "sheep.jpg") as image:
        return image.convert("RGB").resize((160, 120))
