"""What the studio does when something on its page is pressed or painted."""

import random
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

import gradio as gr
import torch
from omegaconf import OmegaConf
from PIL import Image
from torch import Tensor

from cldm.brief import (
    Brief,
    BriefError,
    LayerBrief,
    LightBrief,
    MaskBrief,
    light_of,
    names_of,
    read_brief,
    sampling_of,
    task_of,
)
from cldm.config import ModelConfig
from cldm.model import LayerDiffusion
from cldm.results import Results, write_results
from ldm.compositing import stack
from ldm.document import flatten
from ldm.export.bitmap import quantised
from ldm.values import Layers
from studio_rows import Mask, Rows, coloured, follow, read_masks, thumbnail

_NUM_PREVIEWS = 8


@dataclass(frozen=True, kw_only=True)
class Painted:
    """Layers and their picture after a `share` of the work; at the end `files`: PSD, ORA, ZIP."""

    picture: Image.Image
    layers: list[tuple[Image.Image, str]]
    share: float
    files: tuple[Path, ...] = ()


def paint(
    model: LayerDiffusion, config: ModelConfig, brief: Brief, folder: Path
) -> Iterator[Painted]:
    """Follow a brief whose masks lie in `folder`: previews, then the result with files beside them.

    Raises BriefError with one line for a brief that cannot be followed.
    """
    sampling, names = sampling_of(brief), names_of(brief)
    task = task_of(brief, config, model.tokenizer, folder)
    every = max(1, sampling.num_steps // _NUM_PREVIEWS)
    layers = task.layers
    for preview in model.draw(task, sampling):
        if preview.step % every == 0 or preview.step == preview.num_steps:
            layers = model.show(task, preview)
            shown = _shown(layers, names)
            share = preview.step / preview.num_steps
            yield Painted(picture=_image(stack(layers)), layers=shown, share=share)
    with torch.no_grad():
        effects = model.relate(layers, light_of(brief))
    masks = task.condition.masks
    results = Results(layers=layers, effects=effects, names=names, masks=masks)
    picture = _image(flatten(results.document()))
    files = _files(results, brief, folder)
    yield Painted(picture=picture, layers=_shown(layers, names), share=1, files=files)


class Studio:
    """What happens when something on the page is pressed or painted."""

    def __init__(self, model: LayerDiffusion, config: ModelConfig) -> None:
        self.model = model
        self.config = config
        self.num_rows = config.max_slots - 1

    def follow_editor(self, editor: Any, rows: Rows, *prompts: str) -> list[Any]:
        """The editor changed: prompts follow their masks, as many are shown as it has layers."""
        masks = self._masks(editor)
        if len(masks) > self.num_rows:
            gr.Warning(f"At most {self.num_rows} layers fit: those in front have no prompt.")
        masks = masks[: self.num_rows]
        order = follow(rows, masks)
        # Only prompts that move are sent: what is being typed is left alone.
        moved = [gr.skip() if row == old else prompts[old] for row, old in enumerate(order)]
        return [*self._show_rows(rows.with_masks(masks, order)), *moved]

    def open_example(self, path: Path) -> list[Any]:
        """An example's masks, prompts and settings."""
        brief = read_brief(path, [])
        area = task_of(brief, self.config, self.model.tokenizer, path.parent).condition.masks.area
        masks = [mask > 0.5 for mask in area[0, 1:].numpy()]
        blank = self.num_rows - len(masks)
        rows = Rows(masks=(*masks, *[None] * blank), shown=len(masks))
        editor = {
            "background": None,
            "layers": [coloured(mask, row) for row, mask in enumerate(masks)],
            "composite": None,
        }
        back, *others = [layer.prompt for layer in brief.layers]
        light = brief.light or LightBrief()
        lights = [brief.light is not None, light.azimuth, light.elevation, light.softness]
        prompts = [*others, *[""] * blank]
        settings = [back, brief.prompt, brief.seed, brief.order, *lights]
        return [editor, *self._show_rows(rows), *prompts, *settings]

    def generate(
        self,
        editor: Any,
        background_prompt: str,
        added_prompt: str,
        num_inference_steps: int,
        guidance_scale: float,
        controlnet_conditioning_scale: float,
        seed: int | None,
        sampler: str,
        order: str,
        light_given: bool,
        azimuth: float,
        elevation: float,
        softness: float,
        *layer_prompts: str,
    ) -> Iterator[list[Any]]:
        """Previews on the way, then picture, layers and files; names are those of diffusers."""
        masks = self._masks(editor)
        self._require_complete(masks, background_prompt, layer_prompts)
        # Sliders hand out whole numbers as int.
        light = LightBrief(
            azimuth=float(azimuth), elevation=float(elevation), softness=float(softness)
        )
        brief = Brief(
            prompt=added_prompt.strip(),
            seed=random.randrange(2**31) if seed is None or seed < 0 else int(seed),
            sampler=sampler,
            steps=int(num_inference_steps),
            guidance_scale=float(guidance_scale),
            control_strength=float(controlnet_conditioning_scale),
            order=order,
            light=light if light_given else None,
        )
        with tempfile.TemporaryDirectory() as name:
            brief.layers = _layers(background_prompt, layer_prompts, masks, Path(name))
            yield from self._outcomes(brief, Path(name))

    def _outcomes(self, brief: Brief, folder: Path) -> Iterator[list[Any]]:
        """Status, picture, layers and downloads, again and again; files only at the end."""
        waiting = [gr.update(value=None, interactive=False)] * 3
        yield [f"Drawing. Seed {brief.seed}", gr.skip(), gr.skip(), *waiting]
        try:
            for painted in paint(self.model, self.config, brief, folder):
                # Gradio copies the files to a cache of its own before it asks for more.
                ready = [gr.update(value=file, interactive=True) for file in painted.files]
                said = "Finished" if ready else f"Drawing, {painted.share:.0%}"
                status = f"{said}. Seed {brief.seed}"
                yield [status, painted.picture, painted.layers, *(ready or waiting)]
        except BriefError as error:
            raise _mistake(str(error)) from error

    def _masks(self, editor: Any) -> list[Mask]:
        return read_masks(editor["layers"] if editor else [], self.config.picture)

    def _require_complete(
        self, masks: Sequence[Mask], background: str, prompts: Sequence[str]
    ) -> None:
        """Raises gr.Error with one line that says what is missing."""
        filled = [row for row, mask in enumerate(masks) if mask.any()]
        if not filled:
            raise _mistake("No masks yet: paint on a layer of the editor, or open an example.")
        if len(masks) > self.num_rows:
            raise _mistake(f"{len(masks)} layers, at most {self.num_rows} fit: delete some.")
        if not background.strip():
            raise _mistake("Background prompt is empty: say what lies behind the layers.")
        for row in filled:
            if not prompts[row].strip():
                raise _mistake(f"Layer {row + 1} has a mask but no prompt: say what it shows.")

    def _show_rows(self, rows: Rows) -> list[Any]:
        """The rows themselves, which are visible, and their thumbnails."""
        visible = [gr.update(visible=row < rows.shown) for row in range(self.num_rows)]
        pictures = [thumbnail(mask) for mask in rows.masks]
        return [rows, *visible, *pictures]


def _layers(
    background: str, prompts: Sequence[str], masks: Sequence[Mask], folder: Path
) -> list[LayerBrief]:
    """The background and each mask that is not empty, its picture written to `folder`.

    A layer is named by its prompt; equal prompts are numbered.
    """
    layers = [LayerBrief(name="background", prompt=background.strip())]
    for row, mask in enumerate(masks):
        if mask.any():
            file = f"mask_{row + 1}.png"
            Image.fromarray(mask).save(folder / file)
            prompt = prompts[row].strip()
            name = _free_name(prompt, {layer.name for layer in layers})
            layers.append(LayerBrief(name=name, prompt=prompt, mask=MaskBrief(file=file)))
    return layers


def _free_name(name: str, taken: set[str]) -> str:
    numbered = (f"{name} {number}" for number in count(2))
    return next(free for free in chain([name], numbered) if free not in taken)


def _files(results: Results, brief: Brief, folder: Path) -> tuple[Path, Path, Path]:
    """PSD, ORA, and a ZIP of everything, with the brief that `generate_layers.py` can follow."""
    out = folder / "layers"
    write_results(results, brief, out)
    for mask in folder.glob("mask_*.png"):
        shutil.copy(mask, out)
    (out / "brief.yaml").write_text(OmegaConf.to_yaml(asdict(brief)), encoding="utf-8")
    archive = shutil.make_archive(str(folder / "layers"), "zip", out)
    return out / "document.psd", out / "document.ora", Path(archive)


def _shown(layers: Layers, names: Sequence[str]) -> list[tuple[Image.Image, str]]:
    return [(_image(layers.rgba[:, slot]), name) for slot, name in enumerate(names)]


def _image(pixels: Tensor) -> Image.Image:
    """A picture of one batch entry, RGB or RGBA."""
    return Image.fromarray(quantised(pixels))


def _mistake(line: str) -> gr.Error:
    """What a visitor is told, without a traceback for whoever runs the server."""
    return gr.Error(line, title="Please look again", print_exception=False)
