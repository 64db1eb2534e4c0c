"""Text towers: prompts to tokens, tokens to the vectors that the U-Net attends to."""

from collections.abc import Sequence
from enum import Enum
from functools import cache

import torch
from jaxtyping import Bool, Float, Int
from open_clip.tokenizer import SimpleTokenizer
from open_clip.transformer import TextTransformer
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

_VOCABULARY = 49408
_BEGIN, _END = 49406, 49407


class TextFamily(Enum):
    """Whose tower reads the prompts: open_clip's (SD 2) or OpenAI's CLIP (SD 1)."""

    open_clip = "open_clip"
    clip = "clip"

    @property
    def padding(self) -> int:
        """The token that the family learned to find after a prompt's end."""
        return 0 if self is TextFamily.open_clip else _END


class Tokenizer:
    """open_clip's byte-pair tokenizer with a fixed length; longer prompts are cut, and ended."""

    def __init__(self, length: int, padding: int = TextFamily.open_clip.padding) -> None:
        self.length = length
        self.padding = padding
        self._tokenizer = _byte_pairs()

    def __call__(self, prompts: Sequence[str]) -> Int[Tensor, "k l"]:
        """Prompts to token numbers, padded after their end."""
        tokens = self._tokenizer(list(prompts), context_length=self.length)
        return torch.where(_own(tokens), tokens, self.padding)


@cache
def _byte_pairs() -> SimpleTokenizer:
    """Read once: a quarter of a million lines."""
    return SimpleTokenizer()


class OpenClipTower(nn.Module):
    """open_clip's text transformer (Cherti et al., "Reproducible Scaling Laws", 2023).

    The last `skip` blocks are not heard; every token's vector passes the final normalisation.
    """

    def __init__(
        self, *, width: int, depth: int, num_heads: int, length: int, skip: int = 0
    ) -> None:
        super().__init__()
        self._heard = depth - skip
        self.network = TextTransformer(
            context_length=length,
            vocab_size=_VOCABULARY,
            width=width,
            heads=num_heads,
            layers=depth,
            output_dim=None,
        )
        # No file holds the mask: it must be real even where weights are yet to be filled in.
        with torch.device("cpu"):
            mask = self.network.build_causal_mask()
        self.network.register_buffer("attn_mask", mask, persistent=False)

    def forward(self, tokens: Int[Tensor, "*b l"]) -> Float[Tensor, "*b l d"]:
        """Vectors of all tokens."""
        found = self.network.forward_intermediates(
            tokens.reshape(-1, tokens.shape[-1]),
            indices=[self._heard - 1],
            stop_early=True,
            normalize_intermediates=True,
            intermediates_only=True,
            output_fmt="NLC",
        )
        (vectors,) = found["text_intermediates"]
        return vectors.reshape(*tokens.shape, vectors.shape[-1])


class ClipTower(nn.Module):
    """The text transformer of OpenAI's CLIP (Radford et al., 2021), transformers' CLIPTextModel.

    The last `skip` blocks are not heard; every token's vector passes the final normalisation.
    """

    def __init__(
        self, *, width: int, depth: int, num_heads: int, length: int, skip: int = 0
    ) -> None:
        super().__init__()
        self._heard = depth - skip
        self.network = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=_VOCABULARY,
                hidden_size=width,
                intermediate_size=4 * width,
                num_hidden_layers=depth,
                num_attention_heads=num_heads,
                max_position_embeddings=length,
                hidden_act="quick_gelu",
                bos_token_id=_BEGIN,
                eos_token_id=_END,
                pad_token_id=_END,
            )
        )
        # No file holds the places: they must be real even where weights are yet to be filled in.
        with torch.device("cpu"):
            places = torch.arange(length)[None]
        self.network.embeddings.register_buffer("position_ids", places, persistent=False)

    def forward(self, tokens: Int[Tensor, "*b l"]) -> Float[Tensor, "*b l d"]:
        """Vectors of all tokens."""
        flat = tokens.reshape(-1, tokens.shape[-1])
        found = self.network(input_ids=flat, output_hidden_states=True)
        # The first are the embeddings.
        vectors = self.network.final_layer_norm(found.hidden_states[self._heard])
        return vectors.reshape(*tokens.shape, vectors.shape[-1])


TextTower = OpenClipTower | ClipTower


def sense(tokens: Int[Tensor, "*b l"], vectors: Float[Tensor, "*b l d"]) -> Float[Tensor, "*b d"]:
    """The whole prompt in one vector: the mean over its tokens, without the padding after its
    end."""
    own = _own(tokens)[..., None]
    return (vectors * own).sum(dim=-2) / own.sum(dim=-2)


def _own(tokens: Int[Tensor, "*b l"]) -> Bool[Tensor, "*b l"]:
    """A prompt's own tokens: up to its end, the greatest number, wherever that comes first."""
    place = torch.arange(tokens.shape[-1], device=tokens.device)
    return place <= tokens.argmax(dim=-1, keepdim=True)
