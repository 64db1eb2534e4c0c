"""The stage: the picture that comes out, whose layers are pulled about with pointer and arrow keys.

The browser sends nothing but where a layer is pulled; which one that is, and the picture, are the
server's affair.
"""

from base64 import b64encode
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import gradio as gr
from gradio.data_classes import ImageData
from PIL import Image

from studio_arrangement import Pull, read_pull

_JPEG_QUALITY = 95
_LISTEN = """
const ARROWS = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
let start = null;  // where the pointer took hold
let pull = null;  // how far it has gone since
let nudged = null;  // how far arrow keys have gone
const onStage = event => event.target.matches?.("#picture img");
const inside = share => Math.min(Math.max(share, 0), 1);

// The picture is as large as fits its element, in the middle.
const place = (event, image) => {
    const box = image.getBoundingClientRect();
    const [wide, high] = [image.naturalWidth, image.naturalHeight];
    const scale = Math.min(box.width / wide, box.height / high);
    return [
        inside((event.clientX - box.left - box.width / 2) / (wide * scale) + 0.5),
        inside((event.clientY - box.top - box.height / 2) / (high * scale) + 0.5),
    ];
};
// Of many pulls the last is sent when the answer to an earlier one has come.
const drag = told => { props.value = told; trigger("drag"); };
// One that still waits is forgotten: the layer lies where it was dropped.
const drop = told => { props.value = null; trigger("drop", told); };

document.addEventListener("pointerdown", event => {
    if (!onStage(event) || event.button) return;
    event.preventDefault();
    event.target.tabIndex = 0;
    event.target.focus({preventScroll: true});
    event.target.setPointerCapture(event.pointerId);
    [start, pull] = [place(event, event.target), null];
});
document.addEventListener("pointermove", event => {
    if (!start) return;
    const [right, down] = place(event, event.target);
    pull = [...start, right - start[0], down - start[1]];
    drag(pull);
});
for (const end of ["pointerup", "pointercancel"]) {
    document.addEventListener(end, () => {
        if (pull) drop(pull);
        start = pull = null;
    });
}
document.addEventListener("keydown", event => {
    if (!onStage(event) || !(event.key in ARROWS) || start) return;
    event.preventDefault();
    const {naturalWidth, naturalHeight} = event.target;
    const [right, down] = ARROWS[event.key].map(step => step * (event.shiftKey ? 10 : 1));
    nudged ??= [0, 0];
    nudged = [nudged[0] + right / naturalWidth, nudged[1] + down / naturalHeight];
    drag(nudged);
});
document.addEventListener("keyup", event => {
    if (!nudged || !(event.key in ARROWS)) return;
    drop(nudged);
    nudged = null;
});
"""


class Hand(gr.HTML):
    """An invisible component that tells of pulls on the stage: "drag" while they last, "drop" at
    their end. Its value is a Pull, or None."""

    def __init__(self) -> None:
        super().__init__(js_on_load=_LISTEN)

    def preprocess(self, payload: Any) -> Pull | None:
        """Nobody has checked what comes from a browser."""
        return read_pull(payload)


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A picture for the moment of a drag: sent as it is, never a file."""

    picture: Image.Image

    def address(self) -> str:
        """As a URL that holds the whole picture."""
        file = BytesIO()
        self.picture.convert("RGB").save(file, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
        return "data:image/jpeg;base64," + b64encode(file.getvalue()).decode()


class Stage(gr.Image):
    """Gradio's picture, which also shows frames."""

    is_template = True  # the browser shows it as its parent

    def postprocess(self, value: Any) -> Any:
        """A frame, or what Gradio's takes."""
        if isinstance(value, Frame):
            return ImageData(url=value.address())
        return super().postprocess(value)
