"""The evaluation of drawn layers finds its data where training does."""

import math
from pathlib import Path

import pytest
from subjects import write_data

import paper.generation
from cldm.config import ModelConfig
from cldm.model import LayerDiffusion


def test_the_autoencoder_is_measured_on_what_it_never_saw(
    tiny_model: LayerDiffusion,
    tiny_config: ModelConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(paper.generation, "DATA", write_data(tmp_path))
    found = paper.generation.autoencoder_psnr(tiny_model, tiny_config)
    assert len(found) == 64
    assert all(math.isfinite(value) for value in found)
