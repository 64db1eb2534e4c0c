"""The components of the studio's page: on the left what is asked, on the right what comes out."""

from dataclasses import dataclass

import gradio as gr

from cldm.brief import Brief, LightBrief
from cldm.config import ModelConfig
from cldm.model import Order
from ldm.sampler import Sampler
from studio_rows import Rows, colour
from studio_stage import Hand, Stage


@dataclass(frozen=True, kw_only=True)
class Desk:
    """The components of the left column: what is asked.

    `sampling` and `light` are in the order in which `Studio.generate` takes them.
    """

    editor: gr.ImageEditor
    state: gr.State
    rows: list[gr.Row]
    thumbnails: list[gr.Image]
    prompts: list[gr.Textbox]
    background: gr.Textbox
    added: gr.Textbox
    sampling: list[gr.Component]
    light: list[gr.Component]
    drawn: gr.State

    @property
    def row_parts(self) -> list[gr.State | gr.Row | gr.Image]:
        """The rows but for their prompts."""
        return [self.state, *self.rows, *self.thumbnails]

    @property
    def described(self) -> list[gr.Component]:
        """What an example says besides masks and their prompts."""
        _, _, _, seed, _, order = self.sampling
        return [self.background, self.added, seed, order, *self.light]


def lay_desk(config: ModelConfig, num_rows: int) -> Desk:
    """Editor, prompts and settings."""
    colours = ["#{:02x}{:02x}{:02x}".format(*colour(row)) for row in range(num_rows)]
    editor = gr.ImageEditor(
        label="Masks, one per layer, back to front",
        format="png",
        sources=(),
        transforms=(),
        canvas_size=(config.picture, config.picture),
        fixed_canvas=True,
        brush=gr.Brush(colors=colours, default_size=config.picture // 12, color_mode="fixed"),
        placeholder=" ",
        elem_id="editor",
    )
    background = gr.Textbox(label="Background prompt", elem_id="background")
    lines = [_prompt_row(row) for row in range(num_rows)]
    rows, thumbnails, prompts = (list(column) for column in zip(*lines, strict=True))
    added = gr.Textbox(label="Added Prompt", info="joined to every prompt", max_lines=2)
    with gr.Accordion("Advanced options", open=False):
        sampling = _sampling()
    with gr.Accordion("Light", open=False):
        light = _light()
    return Desk(
        editor=editor,
        state=gr.State(Rows(masks=(None,) * num_rows)),
        rows=rows,
        thumbnails=thumbnails,
        prompts=prompts,
        background=background,
        added=added,
        sampling=sampling,
        light=light,
        drawn=gr.State(None),
    )


def _prompt_row(row: int) -> tuple[gr.Row, gr.Image, gr.Textbox]:
    """A mask's thumbnail and its prompt."""
    with gr.Row(visible=row == 0, equal_height=True) as line:
        picture = gr.Image(
            format="png",
            show_label=False,
            interactive=False,
            height=72,
            buttons=[],
            elem_classes="mask",
        )
        label = f"Layer {row + 1} prompt" + (" (the rearmost mask)" if row == 0 else "")
        prompt = gr.Textbox(label=label, scale=1, elem_id=f"prompt_{row + 1}")
    return line, picture, prompt


def _sampling() -> list[gr.Component]:
    """How layers are drawn."""
    default = Brief()
    with gr.Row():
        steps = gr.Slider(1, 100, default.steps, step=1, label="Steps")
        guidance = gr.Slider(1, 20, default.guidance_scale, step=0.1, label="Guidance Scale")
        strength = gr.Slider(0, 2, default.control_strength, step=0.05, label="Control Strength")
    with gr.Row():
        seed = gr.Number(-1, precision=0, label="Seed", info="-1 is random")
        samplers = [sampler.value for sampler in Sampler]
        sampler = gr.Dropdown(samplers, value=default.sampler, label="Sampler")
        orders = [order.value for order in Order]
        order = gr.Radio(orders, value=default.order, label="Order")
    return [steps, guidance, strength, seed, sampler, order]


def _light() -> list[gr.Component]:
    """The light on the picture."""
    default = LightBrief()
    given = gr.Checkbox(
        False, label="Set the light", info="else it is estimated, and the sliders show it"
    )
    with gr.Row():
        azimuth = gr.Slider(
            -180, 180, default.azimuth, step=1, label="Direction", info="0 right, 90 behind"
        )
        elevation = gr.Slider(0, 90, default.elevation, step=1, label="Height", info="degrees")
        softness = gr.Slider(0, 1, default.softness, step=0.05, label="Softness", info="of shadows")
    return [given, azimuth, elevation, softness]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The components of the right column: what comes out, and what moves the layers of it.

    `parts` are in the order in which `Studio.generate` yields them; `steps` are buttons with how
    far towards the viewer each brings a layer.
    """

    parts: list[gr.Component]
    picture: Stage
    hand: Hand
    steps: list[tuple[gr.Button, int]]


def lay_outcome() -> Outcome:
    """Status, picture, layers and downloads."""
    status = gr.Textbox(label="Status", interactive=False, elem_id="status")
    picture = Stage(
        label="Picture",
        format="png",
        height=400,
        buttons=["download"],
        interactive=False,
        elem_id="picture",
    )
    with gr.Row():
        backward = gr.Button("Send backward", size="sm", elem_id="backward")
        forward = gr.Button("Bring forward", size="sm", elem_id="forward")
    layers = gr.Gallery(
        label="Layers, back to front",
        format="png",
        columns=4,
        height=240,
        object_fit="contain",
        interactive=False,
        elem_id="layers",
        elem_classes="transparent",
    )
    with gr.Row():
        files = [
            gr.DownloadButton(f"Download {kind}", interactive=False, elem_id=kind.lower())
            for kind in ("PSD", "ORA", "ZIP")
        ]
    return Outcome(
        parts=[status, picture, layers, *files],
        picture=picture,
        hand=Hand(),
        steps=[(backward, -1), (forward, 1)],
    )
