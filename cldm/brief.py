"""`Brief`: what is asked of a picture - layers back to front with masks and prompts, from YAML."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float
from omegaconf import DictConfig, OmegaConf
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from cldm.condition import Condition, frames_of
from cldm.config import ModelConfig
from cldm.model import Order, Sampling, Task
from cldm.relation.guides import LightHint, unknown_hint
from ldm.mistake import MistakeError
from ldm.sampler import Sampler
from ldm.settings import one_line
from ldm.text import Tokenizer
from ldm.values import Layers, Light, Masks

_RANDOM_SEED_END = 2**31


class BriefError(MistakeError):
    """A brief that cannot be followed; its text is one line for a person."""


@dataclass
class MaskBrief:
    """Where a layer may be: one of a PNG, a box or an ellipse (left, top, right, bottom), or a
    polygon (a list of points x, y); shares of the picture's width and height."""

    file: str | None = None
    box: list[float] | None = None
    ellipse: list[float] | None = None
    polygon: list[list[float]] | None = None


@dataclass
class LayerBrief:
    """One layer: a name, and either a prompt (with a mask, except the background) or a picture that
    is kept as it is."""

    name: str = ""
    prompt: str | None = None
    mask: MaskBrief | None = None
    picture: str | None = None


@dataclass
class LightBrief:
    """The light, angles in degrees: `azimuth` 0 from the right, 90 from behind, -90 from the front;
    `elevation` 0 to 90; `softness` and `ambient` 0 to 1; `colour` a tint."""

    azimuth: float = -60
    elevation: float = 45
    softness: float = 0.4
    ambient: float = 0.4
    colour: list[float] = field(default_factory=lambda: [1.0, 1.0, 1.0])


@dataclass
class Brief:
    """All that is asked. `prompt` is joined to each layer's; `negative_prompt` needs a guidance
    scale other than 1; seed -1 is random; `size` is width and height in pixels (the model's own
    when absent)."""

    layers: list[LayerBrief] = field(default_factory=list)
    prompt: str = ""
    negative_prompt: str = Sampling.negative_prompt
    size: list[int] | None = None
    seed: int = 0
    sampler: str = Sampling.sampler.value
    steps: int = Sampling.num_steps
    guidance_scale: float = Sampling.guidance_scale
    control_strength: float = Sampling.control_strength
    guess_mode: bool = Sampling.guess_mode
    order: str = Sampling.order.value
    light: LightBrief | None = None


def read_brief(path: Path, overrides: list[str]) -> Brief:
    """The brief in a YAML file, with `key=value` overrides.

    Raises BriefError or ConfigError with one line for anything that cannot be read.
    """
    with one_line(f"brief {path}"):
        given = OmegaConf.merge(OmegaConf.load(path), OmegaConf.from_dotlist(overrides))
        if not isinstance(given, DictConfig):
            raise BriefError(f"brief {path}: found a list, expected keys such as layers, seed")
        for layer in given.get("layers") or []:
            if isinstance(layer.get("mask"), str):
                layer["mask"] = {"file": layer["mask"]}
        brief = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Brief), given))
    assert isinstance(brief, Brief)
    if brief.seed < 0:
        brief.seed = int(torch.randint(_RANDOM_SEED_END, ()).item())
    return brief


def sampling_of(brief: Brief) -> Sampling:
    """How the brief wants layers drawn; raises BriefError for values that make no sense."""
    _require(brief.steps >= 1, "steps", brief.steps, "1 or more")
    _require(brief.steps <= 1000, "steps", brief.steps, "1000 or fewer")
    _require(
        math.isfinite(brief.guidance_scale), "guidance_scale", brief.guidance_scale, "a number"
    )
    strength = brief.control_strength
    _require(0 <= strength <= 2, "control_strength", strength, "0 to 2")
    samplers = {sampler.value: sampler for sampler in Sampler}
    orders = {order.value: order for order in Order}
    _require(brief.sampler in samplers, "sampler", brief.sampler, " or ".join(samplers))
    _require(brief.order in orders, "order", brief.order, " or ".join(orders))
    return Sampling(
        sampler=samplers[brief.sampler],
        num_steps=brief.steps,
        guidance_scale=brief.guidance_scale,
        negative_prompt=brief.negative_prompt,
        control_strength=strength,
        guess_mode=brief.guess_mode,
        order=orders[brief.order],
        seed=brief.seed,
    )


def task_of(brief: Brief, config: ModelConfig, tokenizer: Tokenizer, folder: Path) -> Task:
    """The brief as tensors; files are looked for in `folder`. Raises BriefError."""
    _require(bool(brief.layers), "layers", "none", "at least a background")
    count = len(brief.layers)
    _require(count <= config.max_slots, "layers", count, f"at most {config.max_slots}")
    width, height = brief.size or [config.picture, config.picture]
    _require(min(width, height) >= 16, "size", [width, height], "16 pixels or more each way")
    kept = [_kept(layer, folder, (height, width)) for layer in brief.layers]
    areas = [
        _area(layer, slot, picture, folder, (height, width))
        for slot, (layer, picture) in enumerate(zip(brief.layers, kept, strict=True))
    ]
    present = torch.ones(1, count, dtype=torch.bool)
    masks = Masks(area=torch.stack(areas)[None], present=present)
    words = [", ".join(filter(None, [layer.prompt, brief.prompt])) for layer in brief.layers]
    condition = Condition(
        tokens=tokenizer(words)[None], masks=masks, frames=frames_of(masks, config)
    )
    redraw = torch.tensor([[layer.picture is None for layer in brief.layers]])
    return Task(
        layers=Layers(rgba=torch.stack(kept)[None], present=present),
        condition=condition,
        redraw=redraw,
    )


def light_of(brief: Brief) -> LightHint:
    """What the brief says of the light; raises BriefError."""
    if brief.light is None:
        return unknown_hint(1)
    light = brief.light
    _require(math.isfinite(light.azimuth), "light.azimuth", light.azimuth, "a number of degrees")
    _require(0 <= light.elevation <= 90, "light.elevation", light.elevation, "0 to 90 degrees")
    _require(0 <= light.softness <= 1, "light.softness", light.softness, "0 to 1")
    _require(0 <= light.ambient <= 1, "light.ambient", light.ambient, "0 to 1")
    bright = len(light.colour) == 3 and all(0 <= part < math.inf for part in light.colour)
    _require(bright, "light.colour", light.colour, "three numbers, 0 or more")
    given = Light(
        azimuth=torch.tensor([math.radians(light.azimuth)]),
        elevation=torch.tensor([math.radians(light.elevation)]),
        colour=torch.tensor([light.colour]),
        softness=torch.tensor([light.softness]),
        ambient=torch.tensor([light.ambient]),
    )
    return LightHint(light=given, given=torch.ones(1, dtype=torch.bool))


def light_brief(light: Light) -> LightBrief:
    """A light of one picture as a brief says it, in whole degrees and hundredths."""
    return LightBrief(
        azimuth=float(round(math.degrees(light.azimuth.item()))),
        elevation=float(round(math.degrees(light.elevation.item()))),
        softness=round(light.softness.item(), 2),
        ambient=round(light.ambient.item(), 2),
        colour=[round(part, 2) for part in light.colour[0].tolist()],
    )


def words_of_light(light: LightBrief) -> str:
    """A light as it is given on the command line."""
    colour = ",".join(f"{part:g}" for part in light.colour)
    return (
        f"azimuth={light.azimuth:g} elevation={light.elevation:g} softness={light.softness:g}"
        f" ambient={light.ambient:g} colour=[{colour}]"
    )


def names_of(brief: Brief) -> list[str]:
    """The layers' names; those without one are numbered."""
    return [layer.name or f"layer {slot}" for slot, layer in enumerate(brief.layers)]


def _require(fits: bool, name: str, found: Any, expected: str) -> None:
    if not fits:
        raise BriefError(f"{name}: found {found}, expected {expected}")


def _kept(layer: LayerBrief, folder: Path, size: tuple[int, int]) -> Float[Tensor, "4 h w"]:
    """The pixels of a kept layer; zeros where one is to be drawn."""
    if layer.picture is None:
        said = bool(layer.prompt and layer.prompt.strip())
        _require(said, f"layer {layer.name!r}", "neither prompt nor picture", "one of them")
        return torch.zeros(4, *size)
    pixels = _opened(folder / layer.picture, f"layer {layer.name!r} picture", "RGBA", size)
    return torch.from_numpy(pixels).movedim(-1, 0).float() / 255


def _area(
    layer: LayerBrief, slot: int, kept: Tensor, folder: Path, size: tuple[int, int]
) -> Float[Tensor, "h w"]:
    """Where a layer may be: its mask, a kept picture's alpha, the whole picture at the back."""
    if slot == 0:
        return torch.ones(size)
    name = f"layer {layer.name!r} mask"
    if layer.picture is not None:
        area = kept.split([3, 1])[1][0]
    else:
        _require(layer.mask is not None, name, "none", "file, box, ellipse or polygon")
        assert layer.mask is not None
        area = _drawn(layer.mask, name, folder, size)
    _require(bool((area > 0.5).any()), name, "nothing in it", "some area")
    return area


def _drawn(mask: MaskBrief, name: str, folder: Path, size: tuple[int, int]) -> Float[Tensor, "h w"]:
    """A mask from its file or shape."""
    kinds = [mask.file, mask.box, mask.ellipse, mask.polygon]
    given = sum(kind is not None for kind in kinds)
    _require(given == 1, name, f"{given} shapes", "one of file, box, ellipse, polygon")
    if mask.file is not None:
        pixels = _opened(folder / mask.file, name, "L", size)
        return torch.from_numpy(pixels).float() / 255
    height, width = size
    drawn = np.zeros(size, np.uint8)
    scale = np.array([width, height])
    if mask.polygon is not None:
        right_shape = len(mask.polygon) >= 3 and all(len(point) == 2 for point in mask.polygon)
        _require(right_shape, name, mask.polygon, "three or more points x, y")
        cv2.fillPoly(drawn, [np.rint(np.array(mask.polygon) * scale).astype(np.int32)], 1)
        return torch.from_numpy(drawn).float()
    sides = mask.box if mask.box is not None else mask.ellipse
    assert sides is not None
    _require(len(sides) == 4, name, sides, "left, top, right, bottom")
    left, top, right, bottom = sides
    across = _centred(left, right, width)
    down = _centred(top, bottom, height)[:, None]
    if mask.box is not None:
        inside = (np.abs(across) <= 1) & (np.abs(down) <= 1)
    else:
        inside = across**2 + down**2 <= 1
    return torch.from_numpy(inside).float()


def _centred(begin: float, end: float, size: int) -> np.ndarray:
    """Pixel centres along one side, in half lengths from the middle of the part begin..end."""
    half = max(abs(end - begin) / 2, 1e-6)
    return ((np.arange(size) + 0.5) / size - (begin + end) / 2) / half


def _opened(path: Path, name: str, mode: str, size: tuple[int, int]) -> np.ndarray:
    """A picture file's pixels in a mode; raises BriefError when it cannot be used."""
    try:
        with Image.open(path) as picture:
            picture.load()
            found = (picture.height, picture.width)
            pixels = np.array(picture.convert(mode))
    except FileNotFoundError as error:
        raise BriefError(f"{name}: {path} does not exist") from error
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise BriefError(f"{name}: {path} is not a readable picture") from error
    expected = f"{size[1]} x {size[0]} pixels (the picture's size)"
    _require(found == size, name, f"{found[1]} x {found[0]} pixels", expected)
    return pixels
