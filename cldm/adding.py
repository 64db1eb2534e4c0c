"""Foreign weights as a layered model: what is taken, widened, new and left."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cldm.config import ModelConfig
from cldm.flat import (
    Entry,
    Shape,
    base_entries,
    control_entries,
    model_shapes,
    require_flat,
    widenings,
)
from ldm.autoencoder import STABLE_DIFFUSION_SCALE
from ldm.foreign import Foreign, same_shape
from ldm.unneeded import BASE_PARTS, CONTROL_PART, Unneeded, unneeded


@dataclass(frozen=True, kw_only=True)
class Match:
    """Foreign weights that fit a model: flat tensors under our names, reasons by key left, and what
    a person should know."""

    weights: Mapping[str, Tensor]
    left: Mapping[str, str]
    warnings: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Report:
    """What became of each key: ours in the first three, foreign ones with reasons in `left`."""

    taken: Sequence[str]
    widened: Sequence[str]
    new: Sequence[str]
    left: Mapping[str, str]

    def lines(self) -> list[str]:
        """For a person: counts, and groups of keys where something is to be known."""
        left = Counter(self.left.values())
        return [
            f"taken   {len(self.taken)} tensors",
            f"widened {len(self.widened)} tensors",
            *(f"    {key}" for key in self.widened),
            f"new     {len(self.new)} tensors",
            *(f"    {group} ({count})" for group, count in Counter(map(_group, self.new)).items()),
            f"left    {len(self.left)} tensors",
            *(f"    {count}: {reason}" for reason, count in left.items()),
        ]


def match(
    base: Foreign, control: Foreign | None, relation: Foreign | None, config: ModelConfig
) -> Match:
    """Hold foreign weights against a model that is not made yet.

    A ControlNet comes from `control`, else from the base's own file, else it begins as a copy of
    the U-Net's encoder and middle (Zhang et al., 2023). `relation` is a file of ours of which only
    the relation network is taken. Raises WeightsError naming the first key that is missing, unknown
    or of another shape or type, and what the file looks like.
    """
    require_flat(config)
    shapes = model_shapes(config)
    found = _flat_match(base, control, config, shapes)
    return replace(found, weights={**found.weights, **_relation(relation, shapes)})


def _flat_match(
    base: Foreign, control: Foreign | None, config: ModelConfig, shapes: Mapping[str, Shape]
) -> Match:
    entries, control_part = base_entries(config, shapes), control_entries(config, shapes)
    reasons = unneeded(config.text.depth)
    if control is not None:
        found = _matched(base, entries, (*reasons, CONTROL_PART))
        added = _matched(control, control_part, (*reasons, BASE_PARTS))
        return Match(
            weights={**found.weights, **added.weights},
            left={**found.left, **added.left},
            warnings=_changed_decoder(found.weights, control, entries),
        )
    if any(map(CONTROL_PART.holds, base.weights)):
        return _matched(base, [*entries, *control_part], reasons)
    found = _matched(base, entries, reasons)
    return replace(found, weights=_copied(found.weights, control_part))


def _relation(ours: Foreign | None, shapes: Mapping[str, Shape]) -> dict[str, Tensor]:
    if ours is None:
        return {}
    part = {key: shape for key, shape in shapes.items() if key.startswith("relation.")}
    return {key: ours.tensor(key, shape) for key, shape in part.items()}


def complete(
    match: Match, born: Mapping[str, Tensor], config: ModelConfig, dtype: torch.dtype
) -> tuple[dict[str, Tensor], Report]:
    """All weights of a model in one type, and what became of each key; `born` has a new model's."""
    given = {**match.weights, **_latent_scale(config.autoencoder.latent_channels)}
    widened = [key for key in given if given[key].shape != born[key].shape]
    weights = {key: _fitted(key, given, new, config).to(dtype) for key, new in born.items()}
    report = Report(
        taken=[key for key in match.weights if key not in widened],
        widened=widened,
        new=[key for key in born if key not in match.weights],
        left=match.left,
    )
    return weights, report


def _group(key: str) -> str:
    """A key's part of the model: numbers as stars, cut after the last of them."""
    words = ["*" if word.isdigit() else word for word in key.split(".")]
    last = max((place for place, word in enumerate(words) if word == "*"), default=1)
    return ".".join(words[: last + 1])


def _matched(foreign: Foreign, entries: Iterable[Entry], reasons: Sequence[Unneeded]) -> Match:
    """Each entry's tensor; every other key must have a reason to be left."""
    remaining, weights = dict(foreign.weights), dict[str, Tensor]()
    for entry in entries:
        names, shape = entry.names.foreign(foreign.naming), entry.foreign_shape(foreign.naming)
        weights[entry.ours] = _joined([foreign.tensor(name, shape) for name in names], entry)
        for name in names:
            del remaining[name]
    left = {key: _reason(foreign, key, reasons) for key in remaining}
    return Match(weights=weights, left=left)


def _joined(tensors: Sequence[Tensor], entry: Entry) -> Tensor:
    return (torch.cat(list(tensors)) if len(tensors) > 1 else tensors[0]).reshape(entry.shape)


def _reason(foreign: Foreign, key: str, reasons: Sequence[Unneeded]) -> str:
    """Why a key is left; it is refused when there is no reason."""
    for entry in reasons:
        if entry.holds(key):
            return entry.reason
    raise foreign.refusal(f"{key} is not part of this model")


def _copied(weights: Mapping[str, Tensor], control: Sequence[Entry]) -> dict[str, Tensor]:
    """The weights with the U-Net's encoder, middle and time embedding as the ControlNet's."""
    twins = {entry.ours: f"unet.{entry.ours.removeprefix('control.')}" for entry in control}
    shared = {key: weights[twin].clone() for key, twin in twins.items() if twin in weights}
    return {**weights, **shared}


def _changed_decoder(
    weights: Mapping[str, Tensor], control: Foreign, entries: Iterable[Entry]
) -> list[str]:
    """A warning when a ControlNet's file holds another decoder than the base."""
    for entry in entries:
        (name, *_) = entry.names.foreign(control.naming)
        if entry.ours.startswith("unet.decoder.") and name in control.weights:
            found, base = control.weights[name].float(), weights[entry.ours].float()
            if not same_shape(found.shape, base.shape) or not torch.allclose(
                found.reshape(base.shape), base, rtol=1e-2, atol=1e-4
            ):
                differs = f"carries a decoder that differs from the base, first in {name}"
                return [f"weights {control.path}: {differs}; the base's own is used"]
    return []


def _latent_scale(channels: int) -> dict[str, Tensor]:
    """Stable Diffusion's latents have one scale for all channels and no shift."""
    return {
        "autoencoder.shift": torch.zeros(channels),
        "autoencoder.scale": torch.full((channels,), STABLE_DIFFUSION_SCALE),
        "autoencoder.spread": torch.ones(channels),
    }


def _fitted(key: str, given: Mapping[str, Tensor], born: Tensor, config: ModelConfig) -> Tensor:
    """The given tensor at our size, or the one that is born."""
    if key not in given:
        return born
    if given[key].shape == born.shape:
        return given[key]
    widening = widenings(config)[key]
    return widening.widen(given[key], born.shape[widening.axis])
