"""Names of the weights in those parts whose code is a library's: autoencoder and text towers."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
from torch import Tensor

from ldm.weights import Naming, Row, Table, row


@dataclass(frozen=True, kw_only=True)
class Names:
    """Foreign names of one tensor of ours; several lie one after the other along its first axis."""

    ldm: tuple[str, ...]
    diffusers: tuple[str, ...]

    def foreign(self, naming: Naming) -> tuple[str, ...]:
        """Those of one naming."""
        return self.ldm if naming is Naming.LDM else self.diffusers

    def under(self, ldm: str, diffusers: str) -> "Names":
        """The same with prefixes."""
        return Names(
            ldm=tuple(ldm + name for name in self.ldm),
            diffusers=tuple(diffusers + name for name in self.diffusers),
        )


def table_names(table: Table, keys: Iterable[str]) -> dict[str, Names]:
    """Foreign names of those of our keys whose modules the table has."""
    rows = {row.ours: row for row in table}
    split = ((key, *key.rpartition(".")[::2]) for key in keys)
    return {
        key: _parameter(rows[module], parameter)
        for key, module, parameter in split
        if module in rows
    }


def autoencoder_table(num_levels: int, num_residuals: int) -> Table:
    """All leaf modules of diffusers' AutoencoderKL and LDM's, through diffusers' own converter; a
    row for each shortcut that there may be."""
    original = _autoencoder_modules(num_levels, num_residuals)
    kinds = ("weight", "bias")
    marks = {module: torch.tensor(mark) for mark, module in enumerate(original)}
    marked = {f"{module}.{kind}": mark for module, mark in marks.items() for kind in kinds}
    levels = {"down_block_types": range(num_levels), "up_block_types": range(num_levels)}
    converted: dict[str, Tensor] = convert_ldm_vae_checkpoint(marked, levels)
    found = {key.rpartition(".")[0]: original[int(mark)] for key, mark in converted.items()}
    return tuple(row(f"network.{name}", module, name) for name, module in found.items())


def clip_names(keys: Iterable[str]) -> dict[str, Names]:
    """Stable Diffusion 1's tower (transformers' CLIPTextModel): the same names everywhere."""
    return {
        key: Names(
            ldm=(f"transformer.text_model.{key.removeprefix('network.')}",),
            diffusers=(key.removeprefix("network."),),
        )
        for key in keys
    }


def open_clip_names(keys: Iterable[str]) -> dict[str, Names]:
    """Stable Diffusion 2's tower: open_clip's names in LDM's files, transformers' in diffusers',
    where queries, keys and values lie apart."""
    own = {key: key.removeprefix("network.") for key in keys}
    return {
        key: Names(ldm=(f"model.{name}",), diffusers=_transformers_names(name))
        for key, name in own.items()
    }


def _parameter(module: Row, parameter: str) -> Names:
    return Names(ldm=(f"{module.ldm}.{parameter}",), diffusers=(f"{module.diffusers}.{parameter}",))


def _autoencoder_modules(num_levels: int, num_residuals: int) -> list[str]:
    """LDM's names for all leaf modules of an autoencoder."""
    inner = ("norm1", "conv1", "norm2", "conv2", "nin_shortcut")
    attention = ("norm", "q", "k", "v", "proj_out")
    modules = ["quant_conv", "post_quant_conv"]
    for half, way, move in (("encoder", "down", "downsample"), ("decoder", "up", "upsample")):
        steps = num_residuals + (half == "decoder")
        blocks = [f"{way}.{level}.block.{i}" for level in range(num_levels) for i in range(steps)]
        blocks += ["mid.block_1", "mid.block_2"]
        parts = [f"{block}.{part}" for block in blocks for part in inner]
        parts += [f"mid.attn_1.{part}" for part in attention]
        parts += [f"{way}.{level}.{move}.conv" for level in range(num_levels)]
        modules += [f"{half}.{part}" for part in (*parts, "conv_in", "norm_out", "conv_out")]
    return modules


_TRANSFORMERS = {
    "token_embedding": "embeddings.token_embedding",
    "ln_final": "final_layer_norm",
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}


def _transformers_names(name: str) -> tuple[str, ...]:
    """Transformers' names for one tensor of open_clip's text transformer."""
    if name == "positional_embedding":
        return ("embeddings.position_embedding.weight",)
    block, module, parameter = _split(name)
    if module == "attn":
        kind = parameter.removeprefix("in_proj_")
        return tuple(f"{block}self_attn.{part}_proj.{kind}" for part in "qkv")
    return (f"{block}{_TRANSFORMERS[module]}.{parameter}",)


def _split(name: str) -> tuple[str, str, str]:
    """A name as its block (in transformers' words), module and parameter."""
    module, _, parameter = name.rpartition(".")
    if not module.startswith("transformer.resblocks."):
        return "", module, parameter
    number, _, within = module.removeprefix("transformer.resblocks.").partition(".")
    return f"encoder.layers.{number}.", within, parameter
