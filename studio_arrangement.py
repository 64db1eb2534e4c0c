"""Arrangement: the layers of a picture, each where it lies, and what is seen of them meanwhile."""

from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from cldm.model import LayerDiffusion
from cldm.relation.guides import LightHint
from cldm.relation.learned import LearnedRelation
from cldm.relation.live import LivePicture
from cldm.relation.placed import Placed, placed
from cldm.relation.tones import Box
from ldm.effects import shown
from ldm.values import Effects, Layers

_SOLID = 0.5  # alpha above which a layer is taken hold of


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


@dataclass(frozen=True, kw_only=True, eq=False)
class Arrangement:
    """The layers of one picture of a `size`, height and width, the back first.

    What lies beyond the picture is kept. `order` has the slot in which each was drawn, `picked` the
    present slot of the one that was pulled last.
    """

    placed: tuple[Placed, ...]
    size: tuple[int, int]
    order: tuple[int, ...]
    picked: int | None = None

    @property
    def layers(self) -> Layers:
        """What lies in the picture."""
        height, width = self.size
        box = Box(rows=range(height), columns=range(width))
        rgba = torch.zeros(1, len(self.placed), 4, height, width)
        for slot, layer in enumerate(self.placed):
            seen = box.common(layer.box)
            seen.cut(rgba[0, slot]).copy_(layer.own(seen))
        return Layers(rgba=rgba, present=torch.ones(rgba.shape[:2], dtype=torch.bool))

    def pulled(self, pull: Pull) -> "Arrangement | None":
        """After a pull; None where there is nothing to be pulled. The back stays, and no layer
        leaves the picture altogether."""
        height, width = self.size
        slot = self.picked
        if pull.start is not None:
            right, down = pull.start
            slot = self._topmost(int(down * height), int(right * width))
        if slot is None:
            return None
        layer = self.placed[slot]
        top = _kept(layer.top + round(pull.down * height), layer.rgba.shape[1], height)
        left = _kept(layer.left + round(pull.right * width), layer.rgba.shape[2], width)
        moved = (*self.placed[:slot], layer.at(top, left), *self.placed[slot + 1 :])
        return replace(self, placed=moved, picked=slot)

    def stepped(self, towards: int) -> "Arrangement | None":
        """With the layer that was pulled last a step towards the viewer, or away from him (-1);
        None where there is none and where it would leave its place before the back."""
        if self.picked is None or not 1 <= self.picked + towards < len(self.placed):
            return None
        slots = list(range(len(self.placed)))
        slots.insert(self.picked + towards, slots.pop(self.picked))
        return replace(
            self,
            placed=tuple(self.placed[slot] for slot in slots),
            order=tuple(self.order[slot] for slot in slots),
            picked=self.picked + towards,
        )

    def _topmost(self, row: int, column: int) -> int | None:
        """The slot of the frontmost layer that is solid at a pixel, but for the back."""
        for slot in range(len(self.placed) - 1, 0, -1):
            layer = self.placed[slot]
            there = row in layer.box.rows and column in layer.box.columns
            if there and layer.rgba[3, row - layer.top, column - layer.left] > _SOLID:
                return slot
        return None


def arranged(layers: Layers) -> Arrangement:
    """The layers of one picture where they were drawn."""
    objects = tuple(map(placed, layers.rgba[0]))
    return Arrangement(placed=objects, size=layers.size, order=tuple(range(len(objects))))


class Viewport:
    """One visitor's view of layers while they move; `num_shown` pictures were asked for so far."""

    def __init__(self, model: LayerDiffusion, size: tuple[int, int]) -> None:
        self.model = model
        self.num_shown = 0
        self._lock = Lock()  # a browser may ask for the next picture before it has the last
        learned = isinstance(model.relation, LearnedRelation) and model.device.type == "cpu"
        self._live = LivePicture(model.relation, size) if learned else None

    def show(self, arrangement: Arrangement, hint: LightHint) -> Float[Tensor, "1 c h w"]:
        """The picture of an arrangement in a light."""
        self.num_shown += 1
        with self._lock:
            if self._live is not None:
                return self._live.show(arrangement.placed, hint).clone()
            layers = arrangement.layers
            with torch.no_grad():
                return shown(layers, self.model.relate(layers, hint))

    def effects(self, arrangement: Arrangement, hint: LightHint) -> Effects:
        """The effects that its picture shows."""
        layers = arrangement.layers
        with self._lock, torch.no_grad():
            if self._live is None:
                return self.model.relate(layers, hint)
            self._live.show(arrangement.placed, hint)
            return self._live.effects(layers)


def _kept(start: int, length: int, whole: int) -> int:
    """Where something begins that shall not lie outside of a line."""
    return min(max(start, 1 - length), whole - 1)
