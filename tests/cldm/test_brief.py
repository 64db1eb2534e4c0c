"""Laws of briefs: what is asked is what is sampled, and what the picture says of itself."""

import json
from pathlib import Path

import pytest
import torch

from cldm.brief import Brief, BriefError, LayerBrief, read_brief, sampling_of, task_of
from cldm.config import ModelConfig
from cldm.model import Sampling
from cldm.results import parameters
from ldm.text import Tokenizer

WORDS = Brief(
    layers=[LayerBrief(name="lawn", prompt="a lawn"), LayerBrief(name="duck", picture="duck.png")],
    negative_prompt="blurry, low quality",
    guess_mode=True,
    guidance_scale=4.0,
    seed=3,
)


def test_defaults_are_those_of_sampling() -> None:
    assert sampling_of(Brief()) == Sampling()


def test_what_is_asked_is_what_is_sampled() -> None:
    sampling = sampling_of(WORDS)
    assert sampling.guess_mode
    assert sampling.negative_prompt == "blurry, low quality"
    assert sampling.guidance_scale == 4.0


@pytest.mark.parametrize("steps", [1, 3, 999, 1000])
def test_any_number_of_steps_is_taken(steps: int) -> None:
    assert sampling_of(Brief(steps=steps)).num_steps == steps


@pytest.mark.parametrize("steps", [-1, 0, 1001])
def test_other_numbers_of_steps_are_refused(steps: int) -> None:
    with pytest.raises(BriefError, match=rf"^steps: found {steps}, expected 1"):
        sampling_of(Brief(steps=steps))


def test_a_picture_says_how_it_was_made_in_the_words_of_others() -> None:
    chunks = parameters(WORDS)
    prompt, negative, settings = chunks["parameters"].split("\n")
    assert prompt == "a lawn | [duck.png]"
    assert negative == "Negative prompt: blurry, low quality"
    assert settings.startswith("Steps: 20, Sampler: dpm++ 2m, CFG scale: 4.0, Seed: 3")
    assert "Guess mode: True" in settings
    told = json.loads(chunks["layers"])
    assert (told["negative_prompt"], told["guess_mode"]) == ("blurry, low quality", True)
    assert "Negative prompt" not in parameters(Brief(layers=WORDS.layers))["parameters"]


def test_the_added_prompt_is_joined_to_each(tiny_config: ModelConfig) -> None:
    brief = Brief(layers=[LayerBrief(prompt="a lawn")], prompt="best quality", size=[32, 32])
    tokenizer = Tokenizer(16)
    found = task_of(brief, tiny_config, tokenizer, Path()).condition.tokens
    assert torch.equal(found[0], tokenizer(["a lawn, best quality"]))


def test_seed_minus_one_is_random_and_is_told(tmp_path: Path) -> None:
    (tmp_path / "brief.yaml").write_text("seed: -1\nguess_mode: true\nnegative_prompt: grain")
    first, second = (read_brief(tmp_path / "brief.yaml", []) for _ in range(2))
    assert min(first.seed, second.seed) >= 0
    assert first.seed != second.seed
    assert f"Seed: {first.seed}" in parameters(first)["parameters"]
    assert first.guess_mode
    assert first.negative_prompt == "grain"
