"""Laws of text: tokens and vectors are open_clip's, later words do not change earlier ones."""

import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from open_clip.tokenizer import SimpleTokenizer

from ldm.text import TextTower, Tokenizer, sense

PROMPTS = ["a duck on a lawn", "the sphinx before a pyramid, photographed at noon in Giza, Egypt"]


def tower() -> TextTower:
    """One small transformer."""
    return TextTower(width=32, depth=2, num_heads=2, length=12).eval()


def test_tokens_are_open_clips() -> None:
    expected = SimpleTokenizer()(PROMPTS, context_length=12)
    tokens = Tokenizer(12)(PROMPTS)
    assert torch.equal(tokens, expected)
    assert tokens.shape == (2, 12)
    assert int(tokens[1, -1]) == 49407  # cut, but ended


def test_an_empty_prompt_is_begin_and_end() -> None:
    assert Tokenizer(5)([""])[0].tolist() == [49406, 49407, 0, 0, 0]


@torch.no_grad()
def test_vectors_are_open_clips() -> None:
    text = CLIPTextCfg(context_length=12, vocab_size=49408, width=32, heads=2, layers=2)
    vision = CLIPVisionCfg(layers=1, width=16, head_width=8, image_size=8, patch_size=8)
    clip, ours = CLIP(embed_dim=8, vision_cfg=vision, text_cfg=text).eval(), tower()
    ours.network.load_state_dict(
        {
            key: weight
            for key, weight in clip.state_dict().items()
            if key in ours.network.state_dict()
        }
    )
    tokens = Tokenizer(12)(PROMPTS)
    ends = ours(tokens)[torch.arange(2), tokens.argmax(dim=-1)]
    expected = clip.encode_text(tokens)
    torch.testing.assert_close(ends @ clip.text_projection, expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_any_number_of_axes_goes_before_the_tokens() -> None:
    ours, tokens = tower(), Tokenizer(12)(PROMPTS)
    flat = ours(tokens)
    torch.testing.assert_close(ours(tokens[:, None])[:, 0], flat, atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_later_words_do_not_change_earlier_ones() -> None:
    ours, tokens = tower(), Tokenizer(12)(["a duck", "a duck on a lawn"])
    first, second = ours(tokens)
    torch.testing.assert_close(first[:3], second[:3], atol=1e-5, rtol=1e-4)
    assert (first[3] - second[3]).abs().max() > 1e-3


def test_the_sense_of_a_prompt_is_the_mean_over_its_own_tokens() -> None:
    tokens = Tokenizer(12)(["a duck", ""])
    vectors = torch.randn(2, 12, 4)
    expected = torch.stack([vectors[0, :4].mean(dim=0), vectors[1, :2].mean(dim=0)])
    torch.testing.assert_close(sense(tokens, vectors), expected)
