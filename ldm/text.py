"""Text towers: prompts to tokens, tokens to the vectors that the U-Net attends to."""

from collections.abc import Sequence
from functools import cache

import torch
from jaxtyping import Float, Int
from open_clip.tokenizer import SimpleTokenizer
from open_clip.transformer import TextTransformer
from torch import Tensor, nn

_VOCABULARY = 49408


class Tokenizer:
    """open_clip's byte-pair tokenizer with a fixed length; longer prompts are cut."""

    def __init__(self, length: int) -> None:
        self.length = length
        self._tokenizer = _byte_pairs()

    def __call__(self, prompts: Sequence[str]) -> Int[Tensor, "k l"]:
        """Prompts to token numbers, padded with 0."""
        return self._tokenizer(list(prompts), context_length=self.length)


@cache
def _byte_pairs() -> SimpleTokenizer:
    """Read once: a quarter of a million lines."""
    return SimpleTokenizer()


class TextTower(nn.Module):
    """open_clip's text transformer; every token's last vector is kept (Radford et al., 2021)."""

    def __init__(self, *, width: int, depth: int, num_heads: int, length: int) -> None:
        super().__init__()
        self.network = TextTransformer(
            context_length=length,
            vocab_size=_VOCABULARY,
            width=width,
            heads=num_heads,
            layers=depth,
            output_dim=None,
            output_tokens=True,
        )

    def forward(self, tokens: Int[Tensor, "*b l"]) -> Float[Tensor, "*b l d"]:
        """Vectors of all tokens, after the last normalisation."""
        _, vectors = self.network(tokens.reshape(-1, tokens.shape[-1]))
        return vectors.reshape(*tokens.shape, vectors.shape[-1])


def sense(tokens: Int[Tensor, "*b l"], vectors: Float[Tensor, "*b l d"]) -> Float[Tensor, "*b d"]:
    """The whole prompt in one vector: the mean over its tokens, without the padding after its end.

    The end of a prompt is the greatest token number, wherever it comes first.
    """
    place = torch.arange(tokens.shape[-1], device=tokens.device)
    own = (place <= tokens.argmax(dim=-1, keepdim=True))[..., None]
    return (vectors * own).sum(dim=-2) / own.sum(dim=-2)
