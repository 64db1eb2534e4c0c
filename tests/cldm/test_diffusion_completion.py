"""Laws of completion by the model: what is seen stays, what is drawn meets it at the rim."""

import numpy as np
import torch
from subjects import picture

from cldm.completion import DiffusionCompletion, adapted
from cldm.config import ModelConfig
from cldm.model import LayerDiffusion, Sampling


def photograph() -> np.ndarray:
    """A real one, not square."""
    pixels = (picture("horses.jpg", 64).movedim(0, -1) * 255).byte().numpy()
    return np.ascontiguousarray(pixels[:48])


def test_seen_pixels_stay_bit_for_bit(tiny_model: LayerDiffusion, tiny_config: ModelConfig) -> None:
    pixels, hidden = photograph(), np.zeros((48, 64), bool)
    hidden[10:30, 20:45] = True
    complete = DiffusionCompletion(tiny_model, tiny_config, Sampling(num_steps=2))
    found = complete(pixels, hidden, "horses")
    assert found.dtype == np.uint8
    assert np.array_equal(found[~hidden], pixels[~hidden])
    assert not np.array_equal(found[hidden], pixels[hidden])
    assert np.array_equal(found, complete(pixels, hidden, "horses"))
    assert not np.array_equal(found, complete(pixels, hidden, "pyramid"))


def test_nothing_hidden_is_nothing_to_do(
    tiny_model: LayerDiffusion, tiny_config: ModelConfig
) -> None:
    complete = DiffusionCompletion(tiny_model, tiny_config, Sampling(num_steps=1))
    pixels = photograph()
    assert np.array_equal(complete(pixels, np.zeros((48, 64), bool), ""), pixels)


def test_a_tint_of_all_that_was_drawn_is_taken_back() -> None:
    seen = picture("sheep.jpg", 32)[None]
    away = torch.zeros(1, 1, 32, 32)
    away[..., 10:20, 12:25] = 1
    tinted = seen + torch.tensor([0.1, -0.1, 0.05])[:, None, None]
    torch.testing.assert_close(adapted(tinted, seen, away), seen, atol=2e-3, rtol=0)
