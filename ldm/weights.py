"""Tables of names: the same weights in our words, in the original's (LDM) and in diffusers'.

A block table follows the sizes of a U-Net; times what stands inside each kind of block, it gives
one row for each leaf module.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from torch import Tensor

from ldm.checkpoint import WeightsError
from ldm.unet import Widths


class Naming(Enum):
    """Whose names: those of Stable Diffusion's and ControlNet's first code, or diffusers'."""

    LDM = "ldm"
    DIFFUSERS = "diffusers"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One leaf module; `.weight` and `.bias` follow its name."""

    ours: str
    ldm: str
    diffusers: str

    def foreign(self, naming: Naming) -> str:
        """Its foreign name."""
        return self.ldm if naming is Naming.LDM else self.diffusers


Table = tuple[Row, ...]


def unet_table(widths: Widths) -> Table:
    """All leaf modules that our `UNet` shares with LDM's `UNetModel` and diffusers'
    `UNet2DConditionModel`."""
    return (*_TIME, *_encoder(widths), *_MIDDLE, *_decoder(widths))


def control_table(widths: Widths, hint_widths: Sequence[int]) -> Table:
    """All leaf modules that our `ControlNet` shares with the original's and diffusers'
    `ControlNetModel`."""
    return (*_TIME, *_encoder(widths), *_MIDDLE, *_hint(hint_widths), *_zeros(len(widths.taps)))


def to_ours(weights: Mapping[str, Tensor], table: Table, naming: Naming) -> dict[str, Tensor]:
    """Foreign weights of one part under our names; linear projections become 1x1 convolutions.

    Raises WeightsError naming the first key that the table does not know.
    """
    ours = {row.foreign(naming): row.ours for row in table}
    renamed = {_renamed(key, ours): tensor for key, tensor in weights.items()}
    return {
        key: _convolution(tensor) if is_projection(key) else tensor
        for key, tensor in renamed.items()
    }


def to_foreign(
    weights: Mapping[str, Tensor], table: Table, naming: Naming, *, linear: bool
) -> dict[str, Tensor]:
    """The way back; `linear` writes projections as Stable Diffusion 2 has them, [c, c].

    Raises WeightsError naming the first key that the table does not know.
    """
    foreign = {row.ours: row.foreign(naming) for row in table}
    return {
        _renamed(key, foreign): tensor.flatten(1) if linear and is_projection(key) else tensor
        for key, tensor in weights.items()
    }


def is_projection(key: str) -> bool:
    """Whether a key of ours is the weight of a spatial transformer's first or last projection,
    linear in Stable Diffusion 2 and a 1x1 convolution in 1."""
    return key.endswith((".project_in.weight", ".project_out.weight"))


def _renamed(key: str, names: Mapping[str, str]) -> str:
    module, _, parameter = key.rpartition(".")
    if module not in names:
        raise WeightsError(f"weights: {key} is not in the table of names")
    return f"{names[module]}.{parameter}"


def _convolution(tensor: Tensor) -> Tensor:
    return tensor[:, :, None, None] if tensor.ndim == 2 else tensor


def row(ours: str, ldm: str, diffusers: str) -> Row:
    """A row, in the order of its columns."""
    return Row(ours=ours, ldm=ldm, diffusers=diffusers)


def within(block: Row, parts: Sequence[Row]) -> Table:
    """The parts of a block, each under the block's name."""
    return tuple(
        row(
            f"{block.ours}.{part.ours}",
            f"{block.ldm}.{part.ldm}",
            f"{block.diffusers}.{part.diffusers}",
        )
        for part in parts
    )


_STRAIGHT = row("straight", "skip_connection", "conv_shortcut")
_RESIDUAL = (
    row("norm_in", "in_layers.0", "norm1"),
    row("conv_in", "in_layers.2", "conv1"),
    row("time", "emb_layers.1", "time_emb_proj"),
    row("norm_out", "out_layers.0", "norm2"),
    row("conv_out", "out_layers.3", "conv2"),
)
_ATTENTION = (
    row("query", "to_q", "to_q"),
    row("key", "to_k", "to_k"),
    row("value", "to_v", "to_v"),
    row("out", "to_out.0", "to_out.0"),
)
_TRANSFORMER = (
    row("norm_self", "norm1", "norm1"),
    *within(row("attend_self", "attn1", "attn1"), _ATTENTION),
    row("norm_text", "norm2", "norm2"),
    *within(row("attend_text", "attn2", "attn2"), _ATTENTION),
    row("norm_forward", "norm3", "norm3"),
    row("forward_block.first", "ff.net.0.proj", "ff.net.0.proj"),
    row("forward_block.second", "ff.net.2", "ff.net.2"),
)
_TEXT = (
    row("norm", "norm", "norm"),
    row("project_in", "proj_in", "proj_in"),
    *(
        row(part.ours, f"transformer_blocks.0.{part.ldm}", f"transformer_blocks.0.{part.diffusers}")
        for part in _TRANSFORMER
    ),
    row("project_out", "proj_out", "proj_out"),
)
_TIME = within(
    row("layout.time", "time_embed", "time_embedding"),
    (row("first", "0", "linear_1"), row("second", "2", "linear_2")),
)
_MIDDLE = (
    *within(row("middle.residual_in", "middle_block.0", "mid_block.resnets.0"), _RESIDUAL),
    *within(row("middle.text", "middle_block.1", "mid_block.attentions.0"), _TEXT),
    *within(row("middle.residual_out", "middle_block.2", "mid_block.resnets.1"), _RESIDUAL),
)


def _step(place: Row, number: int, *, straight: bool, attention: bool) -> Table:
    """One step of a level; diffusers lists a level's residual blocks and attentions apart."""
    names, foreign = f"{place.ours}.{number}", place.diffusers
    residual = row(f"{names}.residual", f"{place.ldm}.0", f"{foreign}.resnets.{number}")
    text = row(f"{names}.text.0", f"{place.ldm}.1", f"{foreign}.attentions.{number}")
    return (
        *within(residual, (*_RESIDUAL, _STRAIGHT) if straight else _RESIDUAL),
        *(within(text, _TEXT) if attention else ()),
    )


def _encoder(widths: Widths) -> Table:
    """The original numbers all steps and downsamples in one row, beginning with the first
    convolution."""
    rows = [row("encoder.conv_in", "input_blocks.0.0", "conv_in")]
    period, previous = widths.num_residuals + 1, widths.channels[0]
    for level, channels in enumerate(widths.channels):
        foreign = f"down_blocks.{level}"
        for number in range(widths.num_residuals):
            ldm = f"input_blocks.{level * period + number + 1}"
            place = row(f"encoder.levels.{level}", ldm, foreign)
            straight, attention = previous != channels, widths.attention[level]
            rows += _step(place, number, straight=straight, attention=attention)
            previous = channels
        if level + 1 < len(widths.channels):
            ldm = f"input_blocks.{(level + 1) * period}.0.op"
            rows.append(row(f"encoder.downsamples.{level}", ldm, f"{foreign}.downsamplers.0.conv"))
    return tuple(rows)


def _decoder(widths: Widths) -> Table:
    """Levels from coarse to fine; the original puts an upsample behind its level's last step."""
    rows: list[Row] = []
    period, previous, taps = widths.num_residuals + 1, widths.channels[-1], widths.taps
    for rise, level in enumerate(reversed(range(len(widths.channels)))):
        foreign, attention = f"up_blocks.{rise}", widths.attention[level]
        for number in range(period):
            channels = widths.channels[level]
            place = row(
                f"decoder.levels.{rise}", f"output_blocks.{rise * period + number}", foreign
            )
            straight = previous + taps.pop() != channels
            rows += _step(place, number, straight=straight, attention=attention)
            previous = channels
        if level:
            ldm = f"output_blocks.{(rise + 1) * period - 1}.{2 if attention else 1}.conv"
            rows.append(row(f"decoder.upsamples.{rise}", ldm, f"{foreign}.upsamplers.0.conv"))
    return (
        *rows,
        row("decoder.norm_out", "out.0", "conv_norm_out"),
        row("decoder.conv_out", "out.2", "conv_out"),
    )


def _hint(hint_widths: Sequence[int]) -> Table:
    """The mask encoder; the original counts the activations between its convolutions."""
    foreign, last = "controlnet_cond_embedding", 2 * len(hint_widths) - 1
    between = [f"blocks.{index}" for index in range(last - 1)]
    return (
        *(
            row(f"hint.convolutions.{index}", f"input_hint_block.{2 * index}", f"{foreign}.{name}")
            for index, name in enumerate(["conv_in", *between])
        ),
        row("hint.conv_out", f"input_hint_block.{2 * last}", f"{foreign}.conv_out"),
    )


def _zeros(num_taps: int) -> Table:
    return (
        *(
            row(f"taps.{index}", f"zero_convs.{index}.0", f"controlnet_down_blocks.{index}")
            for index in range(num_taps)
        ),
        row("tap_middle", "middle_block_out.0", "controlnet_mid_block"),
    )
