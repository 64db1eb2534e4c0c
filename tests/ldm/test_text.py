"""Laws of text: tokens and vectors are those of open_clip and transformers."""

import pytest
import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from open_clip.tokenizer import SimpleTokenizer
from text_peers import peer_of
from transformers import CLIPTokenizer

from ldm.text import ClipTower, OpenClipTower, TextFamily, TextTower, Tokenizer, sense

LENGTH, DEPTH, END = 12, 3, 49407
PROMPTS = ["a duck on a lawn", "the sphinx before a pyramid, photographed at noon in Giza, Egypt"]
EITHER = pytest.mark.parametrize("kind", [OpenClipTower, ClipTower])
PADDINGS = pytest.mark.parametrize("family", TextFamily)


def tower(kind: type[TextTower] = OpenClipTower, skip: int = 0) -> TextTower:
    """One small transformer, its weights wide enough for words to matter."""
    small = kind(width=32, depth=DEPTH, num_heads=2, length=LENGTH, skip=skip).eval()
    with torch.no_grad():
        for weight in small.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.1)
    return small


def test_tokens_are_open_clips() -> None:
    expected = SimpleTokenizer()(PROMPTS, context_length=LENGTH)
    tokens = Tokenizer(LENGTH)(PROMPTS)
    assert torch.equal(tokens, expected)
    assert tokens.shape == (2, LENGTH)
    assert int(tokens[1, -1]) == END  # cut, but ended


def test_tokens_of_clip_are_those_of_its_own_tokenizer() -> None:
    ours = SimpleTokenizer()
    names = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocabulary = {names.get(word, word): number for word, number in ours.encoder.items()}
    foreign = CLIPTokenizer(vocab=vocabulary, merges=list(ours.bpe_ranks))
    prompts = [*PROMPTS, "", "!", "Wow!!! 3 ducks' naïve café, 草原  ☕", "it's  (masterpiece:1.2)"]
    expected = foreign(
        prompts, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt"
    )
    tokens = Tokenizer(LENGTH, TextFamily.clip.padding)(prompts)
    assert tokens.tolist() == expected["input_ids"].tolist()
    assert int(tokens[1, -1]) == END


@pytest.mark.parametrize(("family", "padding"), [(TextFamily.open_clip, 0), (TextFamily.clip, END)])
def test_an_empty_prompt_is_begin_and_end(family: TextFamily, padding: int) -> None:
    assert Tokenizer(5, family.padding)([""])[0].tolist() == [49406, END, *[padding] * 3]


@torch.no_grad()
@EITHER
@pytest.mark.parametrize("skip", [0, 1])
def test_vectors_are_those_of_transformers(kind: type[TextTower], skip: int) -> None:
    ours = tower(kind, skip)
    family = TextFamily.clip if kind is ClipTower else TextFamily.open_clip
    tokens = Tokenizer(LENGTH, family.padding)([*PROMPTS, ""])
    expected = peer_of(ours, heard=DEPTH - skip)(tokens)
    found = ours(tokens)
    pooled = found[torch.arange(3), tokens.argmax(dim=-1)]
    for mine, theirs in (
        (found, expected.last_hidden_state),
        (pooled, expected.pooler_output),
    ):
        assert (mine - theirs).abs().max() < 1e-4 * theirs.abs().max()


@torch.no_grad()
def test_vectors_are_open_clips() -> None:
    text = CLIPTextCfg(context_length=LENGTH, vocab_size=49408, width=32, heads=2, layers=DEPTH)
    vision = CLIPVisionCfg(layers=1, width=16, head_width=8, image_size=8, patch_size=8)
    clip, ours = CLIP(embed_dim=8, vision_cfg=vision, text_cfg=text).eval(), tower()
    ours.network.load_state_dict(
        {
            key: weight
            for key, weight in clip.state_dict().items()
            if key in ours.network.state_dict()
        }
    )
    tokens = Tokenizer(LENGTH)(PROMPTS)
    ends = ours(tokens)[torch.arange(2), tokens.argmax(dim=-1)]
    expected = clip.encode_text(tokens)
    torch.testing.assert_close(ends @ clip.text_projection, expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
@EITHER
def test_weights_are_filled_into_a_tower_without_memory(kind: type[TextTower]) -> None:
    ours, tokens = tower(kind), Tokenizer(LENGTH)(PROMPTS)
    expected = ours(tokens)
    with torch.device("meta"):
        empty = kind(width=32, depth=DEPTH, num_heads=2, length=LENGTH).eval()
    assert all(weight.is_meta for weight in empty.parameters())
    empty.load_state_dict(ours.state_dict(), assign=True)
    assert torch.equal(empty(tokens), expected)
    halves = {key: weight.bfloat16() for key, weight in ours.state_dict().items()}
    empty.load_state_dict(halves, assign=True)
    for half in (empty, empty.to(torch.bfloat16)):
        found = half(tokens)
        assert found.dtype is torch.bfloat16
        assert (found.float() - expected).abs().max() < 0.05 * expected.abs().max()


@torch.no_grad()
@EITHER
def test_any_number_of_axes_goes_before_the_tokens(kind: type[TextTower]) -> None:
    ours, tokens = tower(kind), Tokenizer(LENGTH)(PROMPTS)
    flat = ours(tokens)
    torch.testing.assert_close(ours(tokens[:, None])[:, 0], flat, atol=1e-6, rtol=1e-5)


@torch.no_grad()
@EITHER
def test_later_words_do_not_change_earlier_ones(kind: type[TextTower]) -> None:
    ours, tokens = tower(kind), Tokenizer(LENGTH)(["a duck", "a duck on a lawn"])
    first, second = ours(tokens)
    torch.testing.assert_close(first[:3], second[:3], atol=1e-5, rtol=1e-4)
    assert (first[3] - second[3]).abs().max() > 1e-3


@PADDINGS
def test_the_sense_of_a_prompt_is_the_mean_over_its_own_tokens(family: TextFamily) -> None:
    tokens = Tokenizer(LENGTH, family.padding)(["a duck", "", PROMPTS[1]])
    vectors = torch.randn(3, LENGTH, 4)
    own = [vectors[0, :4], vectors[1, :2], vectors[2]]
    expected = torch.stack([part.mean(dim=0) for part in own])
    torch.testing.assert_close(sense(tokens, vectors), expected)
