"""The studio: paint masks, give each a prompt, see the layers come, take them to an image editor.

    python gradio_layers.py
    python gradio_layers.py --model models/layers_tiny.yaml --weights-folder models --port 7860

The page is served on 127.0.0.1 only, and asks nothing of any other computer.
"""

import argparse
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

# Gradio reads these when it is imported: no usage report, no look for a newer version, no Hub.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_OFFLINE"] = "1"

import gradio as gr
from gradio.events import Dependency

from cldm.build import load_model
from cldm.config import ModelConfig, read_config
from cldm.model import LayerDiffusion
from cldm.runtime import add_runtime_arguments, ready, runtime_of
from ldm.mistake import MistakeError
from studio import Studio
from studio_desk import Desk, Outcome, lay_desk, lay_outcome

EXAMPLES = sorted((Path(__file__).parent / "examples").glob("*.yaml"))
TITLE = "ControlNet Layers"
INTRODUCTION = (
    "Paint one mask on each layer of the editor, say what it shows, press **Generate**: every mask "
    "becomes an RGBA layer, with its light and shadow as sheets of their own. **Drag** a layer in "
    "the picture, and they follow."
)
CSS = """
.transparent img { background: repeating-conic-gradient(#ddd 0 25%, #fff 0 50%) 0 0 / 16px 16px }
.mask { flex: 0 0 72px !important; min-width: 72px !important }
#picture img { width: 100%; height: 100%; object-fit: contain; cursor: grab; touch-action: none }
#picture img:active { cursor: grabbing }
"""
_CACHE_SECONDS = 3600
_A_MOMENT = "() => new Promise(done => setTimeout(() => done([]), 100))"


def page(model: LayerDiffusion, config: ModelConfig) -> gr.Blocks:
    """The whole page over a model that is ready to draw."""
    studio = Studio(model, config)
    cache = (_CACHE_SECONDS, _CACHE_SECONDS)
    with gr.Blocks(title=TITLE, delete_cache=cache, fill_width=True) as blocks:
        gr.Markdown(f"# {TITLE}\n{INTRODUCTION}")
        with gr.Row():
            with gr.Column():
                examples = _example_buttons()
                desk = lay_desk(config, studio.num_rows)
            with gr.Column():
                start = gr.Button("Generate", variant="primary", elem_id="generate")
                outcome = lay_outcome()
        for button, path in zip(examples, EXAMPLES, strict=True):
            _wire_example(button, partial(studio.open_example, path), desk)
        _wire_generation(studio, desk, start, outcome)
        _wire_edits(studio, desk, outcome)
    return blocks.queue(default_concurrency_limit=1)


def _wire_example(button: gr.Button, opened: Callable[[], list[Any]], desk: Desk) -> None:
    """Pressing an example's button fills the desk."""
    button.click(
        opened,
        None,
        [desk.editor, *desk.row_parts, *desk.prompts, *desk.described],
        show_progress="hidden",
        api_visibility="private",
    )


def _wire_generation(studio: Studio, desk: Desk, start: gr.Button, outcome: Outcome) -> None:
    """Prompts follow the editor; Generate brings them up to date first."""

    def follow(happens: Callable[..., Dependency]) -> Dependency:
        return happens(
            studio.follow_editor,
            [desk.editor, desk.state, *desk.prompts],
            [*desk.row_parts, *desk.prompts],
            show_progress="hidden",
            api_visibility="private",
        )

    # When the editor tells of a moved layer it still hands out the old order; a moment later not.
    follow(desk.editor.change(None, js=_A_MOMENT, trigger_mode="always_last").then)
    generated = follow(start.click).success(
        studio.generate,
        [desk.editor, desk.background, desk.added, *desk.sampling, *desk.light, *desk.prompts],
        [*outcome.parts, desk.drawn],
        show_progress="hidden",
        api_name="generate",
    )
    _show_light(studio, desk, generated.success)


def _wire_edits(studio: Studio, desk: Desk, outcome: Outcome) -> None:
    """Light and layers can be moved; picture, gallery and files are made anew after that."""

    def edited(
        happens: Callable[..., Dependency], edit: Callable[..., Any], *told: gr.Component
    ) -> Dependency:
        changed = happens(
            edit,
            [desk.drawn, *told],
            [desk.drawn, outcome.picture],
            show_progress="hidden",
            trigger_mode="multiple",
            concurrency_id="edit",
            api_visibility="private",
        )
        changed.success(
            studio.finish,
            desk.drawn,
            outcome.parts,
            show_progress="hidden",
            trigger_mode="always_last",
            concurrency_id="finish",
            api_visibility="private",
        )
        return changed

    given, *sliders = desk.light
    _show_light(studio, desk, edited(given.input, studio.relight, *desk.light).success)
    turned = gr.on(
        [slider.release for slider in sliders],
        lambda: True,
        None,
        given,
        api_visibility="private",
    )
    edited(turned.then, studio.relight, *desk.light)
    edited(outcome.hand.drop, studio.drop)
    for button, towards in outcome.steps:
        edited(button.click, partial(studio.step, towards))
    outcome.hand.drag(
        studio.drag,
        [desk.drawn, outcome.hand],
        outcome.picture,
        queue=False,  # the queue takes as long as a picture
        show_progress="hidden",
        trigger_mode="always_last",
        api_visibility="private",
    )


def _show_light(studio: Studio, desk: Desk, happens: Callable[..., Dependency]) -> None:
    """The sliders say in which light the layers stand."""
    happens(studio.show_light, [desk.drawn], desk.light[1:], api_visibility="private")


def serve(blocks: gr.Blocks, port: int | None) -> str:
    """Begin to serve the page, on this computer alone; its address. Port None takes a free one.

    Raises OSError when the port is taken.
    """
    _, address, _ = blocks.launch(
        server_name="127.0.0.1",
        server_port=port,
        inbrowser=False,
        share=False,
        prevent_thread_lock=True,
        css=CSS,
        footer_links=[],
        quiet=True,
    )
    return address


def _example_buttons() -> list[gr.Button]:
    """One button per example."""
    with gr.Row():
        gr.Markdown("Examples", container=False)
        return [
            gr.Button(path.stem.replace("_", " ").capitalize(), size="sm", min_width=80)
            for path in EXAMPLES
        ]


def main() -> None:
    """Read the arguments, load the model, open the page."""
    arguments = _arguments()
    config = read_config(arguments.model)
    runtime = runtime_of(arguments)
    model = load_model(config, arguments.weights_folder, runtime.precision.dtype)
    blocks = page(ready(model, runtime), config)
    try:
        address = serve(blocks, arguments.port)
    except OSError:
        sys.exit(f"error: port {arguments.port} is taken; name another one with --port")
    print(f"the studio is open at {address} (Ctrl+C closes it)", flush=True)
    blocks.block_thread()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, default=Path("models/layers_tiny.yaml"))
    parser.add_argument("--weights-folder", type=Path, default=Path("models"))
    parser.add_argument("--port", type=int, default=7860)
    add_runtime_arguments(parser)
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except MistakeError as error:
        sys.exit(f"error: {error}")
