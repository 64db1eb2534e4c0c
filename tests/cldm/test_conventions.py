"""Laws of sampling as the original ControlNet has it: guidance, guess mode, negative prompts."""

from dataclasses import replace

import pytest
import torch
from subjects import awake
from torch import Tensor

from cldm.build import build_model
from cldm.condition import Condition
from cldm.config import ModelConfig
from cldm.model import LayerDiffusion, Sampling, scaled
from ldm.compositing import whole_frames

FIRM = Sampling(guidance_scale=7.5, control_strength=0.7)


def inputs() -> tuple[Tensor, Tensor]:
    """Noisy latents of the pictures in `condition`, and their noise levels."""
    return torch.randn(2, 3, 4, 8, 8), torch.tensor([[0.0, 1.0, 5.0], [2.0, 0.5, 1.0]])


def far(first: Tensor, second: Tensor) -> bool:
    """Not the same by rounding."""
    return float((first - second).abs().max()) > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("layout", ["tiny_config", "packed_config"])
def test_guidance_in_one_batch_is_guidance_in_two_passes(
    layout: str, condition: Condition, request: pytest.FixtureRequest
) -> None:
    config: ModelConfig = request.getfixturevalue(layout)
    model = awake(build_model(config)).eval()
    if not config.framed or layout == "packed_config":
        condition = replace(condition, frames=whole_frames(2, 3))
    given = inputs()
    together = model.guided(condition, FIRM)(*given)
    model.batched_guidance = False
    apart = model.guided(condition, FIRM)(*given)
    seen = condition.masks.present
    error = (together - apart)[seen].abs().max()
    assert error < 1e-5 * apart[seen].abs().max()


@torch.no_grad()
@pytest.mark.parametrize("batched", [True, False])
def test_guidance_leads_away_from_the_negative_prompt(
    tiny_model: LayerDiffusion,
    condition: Condition,
    batched: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At scale 0, only what is led away from remains."""
    monkeypatch.setattr(tiny_model, "batched_guidance", batched)
    given, how = inputs(), replace(FIRM, guidance_scale=0.0)
    found = {
        words: tiny_model.guided(condition, replace(how, negative_prompt=words))(*given)
        for words in ("", "a sheep")
    }
    assert far(found[""], found["a sheep"])
    assert Sampling().negative_prompt == ""
    for words, clean in found.items():
        asked = condition.empty(tiny_model.tokenizer([words])[0])
        expected = tiny_model.denoiser(asked, 0.7)(*given)
        torch.testing.assert_close(clean, expected, atol=1e-5, rtol=1e-4)


def test_guess_mode_scales_thirteen_taps_as_the_original_does() -> None:
    ones = tuple(torch.ones(1) for _ in range(13))
    guessed = [float(tap) for tap in scaled(ones, 1.5, 0.825)]
    assert guessed == pytest.approx([1.5 * 0.825 ** (12 - tap) for tap in range(13)])
    assert [float(tap) for tap in scaled(ones, 1.5, 1.0)] == [1.5] * 13


@torch.no_grad()
def test_guess_mode_controls_the_conditional_half_alone(
    tiny_model: LayerDiffusion, condition: Condition
) -> None:
    given, how = inputs(), replace(FIRM, guess_mode=True)
    conditional = tiny_model.denoiser(condition, 0.7, 0.825)(*given)
    asked = condition.empty(tiny_model.tokenizer([""])[0])
    free = tiny_model.denoiser(asked, 0.0)(*given)
    expected = free + 7.5 * (conditional - free)
    found = tiny_model.guided(condition, how)(*given)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    alone = tiny_model.guided(condition, replace(how, guidance_scale=1.0))(*given)
    assert torch.equal(alone, conditional)
    assert far(conditional, tiny_model.denoiser(condition, 0.7)(*given))


@torch.no_grad()
def test_at_strength_zero_the_controlnet_does_not_run(
    tiny_model: LayerDiffusion, condition: Condition, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, calls = inputs(), []
    monkeypatch.setattr(tiny_model.control, "forward", lambda *_: calls.append("ran"))
    tiny_model.denoiser(condition, 0.0)(*given)
    assert not calls
