"""What learns in the second stage: chosen before training, written alone after it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from cldm.build import widths_of
from cldm.callbacks import trainable
from cldm.config import Learning, ModelConfig
from cldm.flat import widenings
from cldm.model import LayerDiffusion
from ldm.adapters import add_lora, save_lora
from ldm.checkpoint import WeightsError, save_weights, write_halved
from ldm.weights import control_table, unet_table

_ADAPTER = ".lora_"


def choose(model: LayerDiffusion, config: ModelConfig) -> None:
    """Let those weights learn that the config asks for, and truly freeze all others.

    Load weights first: adapters change names.
    """
    training = config.training
    if Learning.lora in training.learning:
        add_lora(model.unet, training.lora_rank)
    new = new_weights(model, config)
    for name, weight in model.named_parameters():
        asked = any(_learns(name, part, new) for part in training.learning)
        # The mean is fitted by itself in the end.
        weight.requires_grad_(asked and not name.startswith("control.mean."))


def new_weights(model: LayerDiffusion, config: ModelConfig) -> frozenset[str]:
    """Weights of U-Net and ControlNet that Stable Diffusion and its ControlNet do not have, or have
    with fewer channels."""
    widths, _ = widths_of(config)
    tables = {"unet": unet_table(widths), "control": control_table(widths, config.hint_channels)}
    flat = {f"{part}.{row.ours}" for part, table in tables.items() for row in table}
    widened = widenings(config)
    new: set[str] = set()
    for name, weight in model.named_parameters():
        if name.startswith(("unet.", "control.")) and _ADAPTER not in name:
            known = name.replace(".base_layer.", ".").rpartition(".")[0] in flat
            wider = name in widened and weight.shape[widened[name].axis] > widened[name].flat
            new |= {name} if wider or not known else set()
    return frozenset(new)


def _learns(name: str, part: Learning, new: frozenset[str]) -> bool:
    match part:
        case Learning.everything:
            return name.startswith(("text.", "control.", "unet."))
        case Learning.control:
            return name.startswith("control.")
        case Learning.new:
            return name in new
        case Learning.lora:
            return _ADAPTER in name


def save_learned(model: LayerDiffusion, config: ModelConfig, path: Path) -> tuple[Path, ...]:
    """Write what was trained in half precision; the files that were written.

    The whole model when everything learns. Else only what does, for
    `ldm.checkpoint.overlay_weights`, and adapters beside it (`NAME_lora`), for `ldm.lora`.
    """
    learning = config.training.learning
    if Learning.everything in learning:
        save_weights(model, path)
        return (path,)
    written: list[Path] = []
    own = {name: weight for name, weight in trainable(model).items() if _ADAPTER not in name}
    if own:
        write_halved(own, path)
        written.append(path)
    if Learning.lora in learning:
        adapters = path.with_stem(f"{path.stem}_lora")
        save_lora(model.unet, widths_of(config)[0], adapters)
        written.append(adapters)
    return tuple(written)


def require_same(checkpoint: Mapping[str, Any], learned: Mapping[str, nn.Parameter]) -> None:
    """Raise WeightsError unless a Lightning checkpoint is of a training where the same learned."""
    (group,) = checkpoint["optimizer_states"][0]["param_groups"]
    whole = learned.keys() <= checkpoint["state_dict"].keys()
    if len(group["params"]) != len(learned) or not whole:
        expected = "expected the same training.learning, or a new folder"
        raise WeightsError(f"checkpoint: found other weights than those that learn, {expected}")
