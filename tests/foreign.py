"""Foreign weights to try laws on: what published files hold, and diffusers' networks in small."""

import gzip

from diffusers import ControlNetModel
from subjects import FIXTURES, HEADS, TEXT

HINT_WIDTHS = (4, 8)


def manifest(name: str) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of a whole ControlNet 1.0 file, `sd15` or `sd21`."""
    lines = gzip.decompress((FIXTURES / f"{name}_controlnet.txt.gz").read_bytes()).decode()
    found: dict[str, tuple[int, ...]] = {}
    for line in lines.splitlines():
        key, _, shape = line.partition(" ")
        found[key] = tuple(int(size) for size in shape.split(",") if size)
    return found


def foreign_control() -> ControlNetModel:
    """Diffusers' ControlNet in the sizes of `subjects.WIDTHS`."""
    return ControlNetModel(
        in_channels=4,
        block_out_channels=(32, 64),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        layers_per_block=2,
        cross_attention_dim=TEXT,
        attention_head_dim=HEADS,
        conditioning_embedding_out_channels=HINT_WIDTHS,
    ).eval()
