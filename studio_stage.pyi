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

_JPEG_QUALITY = 95
_LISTEN = """
const ARROWS = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
let start = null;  // where the pointer took hold
let nudged = null;  // how far arrow keys have gone
const onStage = event => event.target.matches?.("#picture img");
const inside = share => Math.min(Math.max(share, 0), 1);

// The picture is as large as fits its element, in the middle.
const place = (event, image) => {
    const box = image.getBoundingClientRect();
    const [own, high] = [image.naturalWidth, image.naturalHeight];
    const scale = Math.min(box.width / own, box.height / high);
    return [
        inside((event.clientX - box.left - box.width / 2) / (own * scale) + 0.5),
        inside((event.clientY - box.top - box.height / 2) / (high * scale) + 0.5),
    ];
};
const pulled = event => {
    const [right, down] = place(event, event.target);
    return [...start, right - start[0], down - start[1]];
};
// Of many positions the last is sent when the answer to an earlier one has come.
const drag = pull => { props.value = pull; trigger("drag"); };
// What waits to be sent is forgotten: the layer lies where it was dropped.
const drop = pull => { props.value = null; trigger("drop", pull); };

document.addEventListener("pointerdown", event => {
    if (!onStage(event) || event.button) return;
    event.preventDefault();
    event.target.tabIndex = 0;
    event.target.focus({preventScroll: true});
    event.target.setPointerCapture(event.pointerId);
    start = place(event, event.target);
});
document.addEventListener("pointermove", event => {
    if (start) drag(pulled(event));
});
for (const end of ["pointerup", "pointercancel"]) {
    document.addEventListener(end, event => {
        if (start) drop(pulled(event));
        start = null;
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


@dataclass(frozen=True, kw_only=True)
class Pull:
    """How far a layer is pulled, right and down, in shares of the picture's width and height.

    `start` is a point on it, right and down; None means the layer that was pulled before.
    """

    start: tuple[float, float] | None
    right: float
    down: float


def read_pull(told: Any) -> Pull | None:
    """What a browser tells, four numbers or, without a start, two; None for anything else."""
    if not isinstance(told, list) or len(told) not in (2, 4):
        return None
    if not all(type(number) in (int, float) and -1 <= number <= 1 for number in told):
        return None
    *start, right, down = told
    return Pull(start=(start[0], start[1]) if start else None, right=right, down=down)

from gradio.events import Dependency

class Hand(gr.HTML):
    """An invisible component that tells of pulls on the stage: "drag" while they last, "drop" at
    their end. Its value is a Pull, or None."""

    def __init__(self) -> None:
        super().__init__(js_on_load=_LISTEN)

    def preprocess(self, payload: Any) -> Pull | None:
        """Nobody has checked what comes from a browser."""
        return read_pull(payload)
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component


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
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component