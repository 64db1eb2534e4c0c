"""What the studio does when something on its page is pressed or painted."""

import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, count
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from cldm.brief import (
    Brief,
    BriefError,
    LayerBrief,
    LightBrief,
    MaskBrief,
    light_brief,
    read_brief,
    task_of,
)
from cldm.config import ModelConfig
from cldm.model import LayerDiffusion
from studio_arrangement import Pull, read_pull
from studio_painting import Drawn, Painted, light_up, paint
from studio_rows import Mask, Rows, coloured, follow, read_masks, thumbnail
from studio_stage import Frame

_WAITING = [gr.update(value=None, interactive=False)] * 3  # of the downloads


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
        light = _light(azimuth, elevation, softness)
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
        """Status, picture, layers, downloads and what was drawn, again and again; the last two only
        at the end."""
        yield [f"Drawing. Seed {brief.seed}", gr.skip(), gr.skip(), *_WAITING, None]
        try:
            for painted in paint(self.model, self.config, brief, folder):
                # Gradio copies the files to a cache of its own before it asks for more.
                yield _outcome(painted, brief)
        except BriefError as error:
            raise _mistake(str(error)) from error

    def show_light(self, drawn: Drawn | None) -> list[Any]:
        """The light on what was drawn, for the sliders."""
        if drawn is None:
            return [gr.skip()] * 3
        return [drawn.light.azimuth, drawn.light.elevation, drawn.light.softness]

    def relight(
        self,
        drawn: Drawn | None,
        light_given: bool,
        azimuth: float,
        elevation: float,
        softness: float,
    ) -> list[Any]:
        """What was drawn in another light, or in the one that is estimated, and its picture."""
        if drawn is None:
            return _edited(None)
        light = _light(azimuth, elevation, softness) if light_given else None
        estimated = light_brief(self.model.estimated_light(drawn.layers))
        brief = replace(drawn.brief, light=light)
        return _edited(replace(drawn, brief=brief, light=light or estimated))

    def drag(self, drawn: Drawn | None, pull: Pull | None) -> Any:
        """The picture while a layer is pulled."""
        _, picture = _edited(drawn.pulled(pull) if drawn and pull else None)
        return picture

    def drop(self, drawn: Drawn | None, event: gr.EventData) -> list[Any]:
        """What was drawn with the layer where the pull has ended, and its picture."""
        pull = read_pull(event._data)
        return _edited(drawn.pulled(pull) if drawn and pull else None)

    def step(self, towards: int, drawn: Drawn | None) -> list[Any]:
        """What was drawn with the layer that was pulled last a step towards the viewer, or away
        from him (-1), and its picture."""
        if drawn and drawn.arrangement.picked is None:
            gr.Info("Drag a layer first: the last one dragged is the one that steps.")
        return _edited(drawn.stepped(towards) if drawn else None)

    def finish(self, drawn: Drawn | None) -> Iterator[list[Any]]:
        """Picture, layers and files of what was drawn as it is now."""
        if drawn is None:
            return
        num_shown = drawn.viewport.num_shown
        yield [f"Lighting. Seed {drawn.brief.seed}", gr.skip(), gr.skip(), *_WAITING]
        with tempfile.TemporaryDirectory() as name:
            *shown, _ = _outcome(light_up(drawn, Path(name)), drawn.brief)
            # Where a layer is being pulled again, this is the past; its drop will finish anew.
            if drawn.viewport.num_shown == num_shown:
                yield shown

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


def _edited(drawn: Drawn | None) -> list[Any]:
    """What was drawn and is edited now, and how it looks; where it is None, all stays as it is."""
    return [drawn, Frame(picture=drawn.seen())] if drawn else [gr.skip(), gr.skip()]


def _outcome(painted: Painted, brief: Brief) -> list[Any]:
    """What the right column shows."""
    ready = [gr.update(value=file, interactive=True) for file in painted.files]
    said = "Finished" if ready else f"Drawing, {painted.share:.0%}"
    status = f"{said}. Seed {brief.seed}"
    return [status, painted.picture, painted.layers, *(ready or _WAITING), painted.drawn]


def _light(azimuth: float, elevation: float, softness: float) -> LightBrief:
    """Sliders hand out whole numbers as int."""
    return LightBrief(azimuth=float(azimuth), elevation=float(elevation), softness=float(softness))


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


def _mistake(line: str) -> gr.Error:
    """What a visitor is told, without a traceback for whoever runs the server."""
    return gr.Error(line, title="Please look again", print_exception=False)
