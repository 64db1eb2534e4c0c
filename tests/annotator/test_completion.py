"""Laws of completion: what is known stays, what is plain goes on, what is missing is named."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from annotator.completion import CheckpointError, Completion, LamaCompletion, OpenCvCompletion

# The tests make TorchScript files; torch would rather have them exported.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.(script|save|_script):FutureWarning")

CPU = torch.device("cpu")
RANDOM = np.random.default_rng(7)


class Inverting(nn.Module):
    """Stands for LaMa: hidden pixels become the inverse of what the picture shows."""

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        assert image.shape[2] % 8 == 0
        assert image.shape[3] % 8 == 0
        return torch.where(mask > 0.5, 1 - image, torch.zeros_like(image))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "big-lama.pt"
    torch.jit.script(Inverting()).save(str(path))
    return path


def noise(height: int, width: int) -> np.ndarray:
    return RANDOM.integers(0, 256, (height, width, 3)).astype(np.uint8)


def hole(height: int, width: int) -> np.ndarray:
    hidden = np.zeros((height, width), bool)
    hidden[height // 4 : 3 * height // 4, width // 5 : 3 * width // 4] = True
    return hidden


def test_known_pixels_stay(checkpoint: Path) -> None:
    pixels, hidden = noise(45, 70), hole(45, 70)
    methods: list[Completion] = [OpenCvCompletion(), LamaCompletion(checkpoint, CPU)]
    for method in methods:
        answers = [method(pixels, hidden, "a meadow") for _ in range(2)]
        assert np.array_equal(answers[0][~hidden], pixels[~hidden])
        assert answers[0].tobytes() == answers[1].tobytes()
        assert np.array_equal(method(pixels, np.zeros_like(hidden), ""), pixels)


@pytest.mark.parametrize("size", [(64, 64), (61, 97), (200, 150)])
def test_graded_backdrops_go_on(size: tuple[int, int]) -> None:
    rows, columns = np.mgrid[: size[0], : size[1]] / max(size)
    backdrop = np.stack([255 * rows, 200 * columns, 80 + 90 * rows - 70 * columns], axis=-1)
    hidden = hole(*size)
    pixels = np.where(hidden[..., None], 255, backdrop.round()).astype(np.uint8)
    found = OpenCvCompletion()(pixels, hidden, "")
    assert np.abs(found - backdrop).max() < 2.5


def test_plain_backdrops_go_on_past_the_border() -> None:
    pixels, hidden = np.full((50, 40, 3), 77, np.uint8), np.zeros((50, 40), bool)
    hidden[10:, :30] = True
    assert (OpenCvCompletion()(np.where(hidden[..., None], 0, pixels), hidden, "") == 77).all()


def test_what_is_all_hidden_comes_out_grey() -> None:
    pixels = noise(9, 5)
    assert (OpenCvCompletion()(pixels, np.ones((9, 5), bool), "") == 128).all()


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (8, 16), (17, 30)])
def test_lama_draws_what_its_network_says(checkpoint: Path, size: tuple[int, int]) -> None:
    pixels, hidden = noise(*size), np.ones(size, bool)
    found = LamaCompletion(checkpoint, CPU)(pixels, hidden, "")
    assert np.array_equal(found, 255 - pixels)


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    path = tmp_path / "big-lama.pt"
    with pytest.raises(CheckpointError, match=r"big-lama\.pt.*completion=opencv") as error:
        LamaCompletion(path, CPU)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"not a model", b"PK\x03\x04 torn"])
def test_what_is_no_torchscript_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "big-lama.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="not a TorchScript file") as error:
        LamaCompletion(path, CPU)
    assert "\n" not in str(error.value)


def test_weights_alone_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"weight": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match="not a TorchScript file"):
        LamaCompletion(path, CPU)
