"""Laws of how a model draws: devices are refused in one line, haste and thrift change no picture,
weights come to memory once."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from subjects import awake
from torch import Tensor, nn

from cldm.build import build_model, load_model
from cldm.condition import Condition
from cldm.config import ModelConfig
from cldm.model import LayerDiffusion, Sampling, visiting
from cldm.runtime import NetworkPrecision, Runtime, RuntimeChoiceError, ready, usable_device
from ldm.checkpoint import save_weights
from ldm.compositing import whole_frames
from ldm.prepacked import PrepackedConvolution

PLAIN = Runtime(
    device=torch.device("cpu"),
    precision=NetworkPrecision.float32,
    low_vram=False,
    compiled=False,
)
QUICK = Sampling(num_steps=2, guidance_scale=2.0)
MAPS = Path("/proc/self/maps")


def places(model: nn.Module) -> dict[str, torch.device]:
    """Where all weights lie."""
    return {name: weight.device for name, weight in model.named_parameters()}


def test_a_device_that_is_here_is_taken() -> None:
    assert usable_device("cpu") == torch.device("cpu")
    here = torch.accelerator.current_accelerator(check_available=True)
    assert usable_device("auto") == (here or torch.device("cpu"))


@pytest.mark.parametrize("name", ["toaster", "", "cpu:x", "cuda:99", "meta"])
def test_a_device_that_is_not_here_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(RuntimeChoiceError, match=f"^device: found {name}, expected") as refusal:
        usable_device(name)
    assert "\n" not in str(refusal.value)


@torch.no_grad()
@pytest.mark.parametrize("layout", ["tiny_config", "packed_config"])
def test_prepacked_networks_answer_as_before(
    layout: str, condition: Condition, request: pytest.FixtureRequest
) -> None:
    config: ModelConfig = request.getfixturevalue(layout)
    model = awake(build_model(config)).eval()
    if layout == "packed_config":
        condition = replace(condition, frames=whole_frames(2, 3))
    noisy, sigma = torch.randn(2, 3, 4, 8, 8), torch.tensor([[0.5, 1.0, 5.0], [2.0, 0.5, 1.0]])
    expected = model.denoiser(condition, 1.0)(noisy, sigma)
    assert ready(model, PLAIN) is model
    for network in (model.unet, model.control):
        assert any(isinstance(part, PrepackedConvolution) for part in network.modules())
    assert not any(weight.requires_grad for weight in model.parameters())
    found = model.denoiser(condition, 1.0)(noisy, sigma)
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


def test_a_model_that_saves_memory_draws_the_same_and_its_parts_lie_where_they_lay(
    tiny_model: LayerDiffusion, condition: Condition
) -> None:
    device = usable_device("auto")
    whole, thrifty = (
        ready(deepcopy(tiny_model), replace(PLAIN, device=device, low_vram=low_vram))
        for low_vram in (False, True)
    )
    lay = places(thrifty)
    assert thrifty.device.type == device.type
    expected, found = (model.generate(condition, QUICK).rgba for model in (whole, thrifty))
    # Guidance takes one pass or two: sums are made in another order.
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    assert places(thrifty) == lay
    assert {place.type for place in lay.values()} == {"cpu"}


class Traveller(nn.Linear):
    """A part that remembers where it was told to go."""

    def __init__(self) -> None:
        super().__init__(1, 1)
        self.journey: list[str] = []

    def to(self, device: torch.device) -> "Traveller":  # pyright: ignore
        """Note it, and stay."""
        self.journey.append(device.type)
        return self


def test_a_visiting_part_goes_home_whatever_happens() -> None:
    part, away = Traveller(), torch.device("meta")
    with visiting(part, away):
        assert part.journey == ["meta"]
    assert part.journey == ["meta", "cpu"]
    with pytest.raises(OSError, match="while away"), visiting(part, away):
        raise OSError("while away")
    assert part.journey == ["meta", "cpu"] * 2


def mapped(tensor: Tensor, path: Path) -> bool:
    """Whether a tensor's memory is a file's."""
    for line in MAPS.read_text().splitlines():
        begin, _, end = line.split()[0].partition("-")
        if line.endswith(str(path)) and int(begin, 16) <= tensor.data_ptr() < int(end, 16):
            return True
    return False


@pytest.mark.skipif(not MAPS.exists(), reason="only Linux tells what is mapped")
def test_half_precision_weights_stay_mapped_to_their_file(
    tiny_config: ModelConfig, tiny_model: LayerDiffusion, tmp_path: Path
) -> None:
    config = replace(tiny_config, weights="tiny.safetensors")
    save_weights(tiny_model, tmp_path / config.weights)
    model = load_model(config, tmp_path, torch.half)
    state = model.state_dict(keep_vars=True) | dict(model.named_buffers())
    assert not any(tensor.is_meta for tensor in state.values())
    for network in (model.text, model.control, model.unet):
        for name, weight in network.named_parameters():
            assert weight.dtype is torch.half, name
            assert mapped(weight, tmp_path / config.weights), name
    for network in (model.autoencoder, model.relation):
        assert {weight.dtype for weight in network.parameters()} == {torch.float32}
