"""Laws of portability: networks answer alike compiled, in half precision, and on any device."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from subjects import awake, config
from torch import Tensor

from cldm.build import build_model
from cldm.condition import Condition, hint
from cldm.config import Layout
from cldm.model import LayerDiffusion
from cldm.runtime import hasten_compilation
from ldm.compositing import whole_frames
from ldm.text import Tokenizer
from ldm.values import Masks

ROOT = Path(__file__).parents[2]
LAYOUTS = pytest.mark.parametrize("layout", list(Layout), ids=lambda layout: layout.value)
HALVES = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])


def model_of(layout: Layout) -> LayerDiffusion:
    """A small model, nothing silent."""
    return awake(build_model(config(layout))).eval()


def conditioned(layout: Layout) -> Condition:
    """A back and two boxes."""
    area = torch.zeros(1, 3, 64, 64)
    area[:, 0], area[:, 1, 8:40, 8:30], area[:, 2, 20:60, 24:50] = 1, 1, 1
    masks = Masks(area=area, present=torch.ones(1, 3, dtype=torch.bool))
    tokens = Tokenizer(config(layout).text.length)(["a lawn", "a duck", "a sheep"])
    return Condition(tokens=tokens[None], masks=masks, frames=whole_frames(1, 3))


def predicted(model: LayerDiffusion, condition: Condition, noisy: Tensor) -> Tensor:
    """U-Net under control, at three noise levels."""
    prompts = model.prompts(condition)
    encoded = model.control.encode(hint(condition, model.canvas).to(model.dtype), prompts)
    timestep = torch.tensor([[3.0, 500.0, 998.0]], device=noisy.device)
    return model.predict(noisy, timestep, model.unet.read(prompts), encoded, 1.0)


def noise() -> Tensor:
    """Latents."""
    return torch.randn(1, 3, 4, 8, 8, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def compiled_answer_as_before(layout: Layout) -> None:
    """Without a graph break; an error if there is one."""
    model, condition = model_of(layout), conditioned(layout)
    expected = predicted(model, condition, noise())
    hasten_compilation()
    for network in (model.unet, model.control):
        network.compile(fullgraph=True, backend="eager")
    torch.testing.assert_close(predicted(model, condition, noise()), expected)


def test_compiled_networks_have_no_graph_breaks() -> None:
    """In a process of its own: here the checks of shapes would be compiled as well."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    run = [sys.executable, __file__]
    done = subprocess.run(run, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@torch.no_grad()
@HALVES
@LAYOUTS
def test_half_precision_is_near_to_full(layout: Layout, dtype: torch.dtype) -> None:
    model, condition = model_of(layout), conditioned(layout)
    expected = predicted(model, condition, noise())
    for network in (model.text, model.control, model.unet):
        network.to(dtype)
    found = predicted(model, condition, noise()).float()
    assert found.isfinite().all()
    assert (found - expected).abs().max() < 5e-2 * expected.abs().max()


@torch.no_grad()
@HALVES
def test_in_half_precision_a_thousand_timesteps_stay_apart(dtype: torch.dtype) -> None:
    time = model_of(Layout.stacked).unet.layout.time
    steps = torch.arange(1000.0)
    expected = time(steps)
    found = time.to(dtype)(steps)
    assert len(found.unique(dim=0)) == 1000
    assert (found.float() - expected).abs().max() < 5e-2 * expected.abs().max()


@torch.no_grad()
@LAYOUTS
def test_nothing_is_made_on_another_device_than_the_models(layout: Layout) -> None:
    """No memory is behind the device `meta`: a tensor made elsewhere would not fit to it."""
    model, meta = model_of(layout).to("meta"), torch.device("meta")
    condition, sigma = conditioned(layout).to(meta), torch.ones(1, 3, device=meta)
    denoiser = model.denoiser(condition, 1.0)
    assert predicted(model, condition, noise().to(meta)).device == meta
    assert denoiser(noise().to(meta), sigma).device == meta


if __name__ == "__main__":
    for each in Layout:
        compiled_answer_as_before(each)
