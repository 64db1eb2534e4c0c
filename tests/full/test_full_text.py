"""Laws of text at the sizes of Stable Diffusion."""

import pytest
import torch
from text_peers import peer_of
from torch import Tensor
from transformers import CLIPTextModel

from cldm.build import build_text
from cldm.config import TextConfig
from ldm.text import TextFamily, TextTower, Tokenizer

pytestmark = pytest.mark.full

PROMPTS = ["a duck on a lawn", "", "a photograph of the sphinx " * 30]
SD15 = TextConfig(family=TextFamily.clip, width=768, depth=12, num_heads=12)
SD21 = TextConfig(width=1024, depth=23, num_heads=16)


def tokens_of(config: TextConfig) -> Tensor:
    """A prompt, none, and one that is too long."""
    return Tokenizer(config.length, config.family.padding)(PROMPTS)


def assert_agree(tower: TextTower, peer: CLIPTextModel, tokens: Tensor) -> None:
    """All vectors, and those at the prompts' ends."""
    found, expected = tower(tokens), peer(tokens)
    pooled = found[torch.arange(len(tokens)), tokens.argmax(dim=-1)]
    for mine, theirs in ((found, expected.last_hidden_state), (pooled, expected.pooler_output)):
        assert (mine - theirs).abs().max() < 1e-4 * theirs.abs().max()


@torch.no_grad()
@pytest.mark.parametrize("skip", [0, 1])
def test_the_tower_of_sd15_is_that_of_transformers(skip: int) -> None:
    tower = build_text(
        TextConfig(family=SD15.family, width=768, depth=12, num_heads=12, skip=skip)
    ).eval()
    assert sum(weight.numel() for weight in tower.parameters()) == 123_060_480
    assert_agree(tower, peer_of(tower, heard=12 - skip), tokens_of(SD15))


@torch.no_grad()
def test_the_tower_of_sd21_hears_23_of_24_blocks() -> None:
    whole = build_text(TextConfig(width=1024, depth=24, num_heads=16, skip=1)).eval()
    tower = build_text(SD21).eval()
    weights = whole.state_dict()
    tower.load_state_dict({key: weights[key] for key in tower.state_dict()})
    tokens = tokens_of(SD21)
    assert torch.equal(tower(tokens), whole(tokens))
    assert_agree(tower, peer_of(tower, heard=23), tokens)
