"""Documents as the relation network makes them, of random smooth content, for tests and tables."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ldm.document import Blend, Document, Sheet

NAMES = ("りんご", "تفاحة", "🍎 apple")
_GROUND = "地面"


def example_document(seed: int, size: tuple[int, int], edge: float) -> Document:
    """A ground and three discs, each with reflection, shadow and light clipped to it.

    `size`: height and width; `edge`: over how many pixels the discs fade out, 0 for hard edges.
    One light is hidden, one disc and one light are half transparent.
    """
    painter = _Painter(generator=torch.Generator().manual_seed(seed), size=size, edge=edge)
    ground = Sheet(rgba=_opaque(painter.smooth()), name=_GROUND, group=_GROUND)
    groups = [painter.group(name, index) for index, name in enumerate(NAMES)]
    return Document(sheets=(ground, *(sheet for group in groups for sheet in group)))


@dataclass(frozen=True, kw_only=True)
class _Painter:
    generator: torch.Generator
    size: tuple[int, int]
    edge: float

    def smooth(self) -> Tensor:
        """Random colours `[1 3 h w]` without edges."""
        coarse = torch.rand(1, 3, 6, 6, generator=self.generator)
        return F.interpolate(coarse, self.size, mode="bicubic").clamp(0, 1)

    def group(self, name: str, index: int) -> list[Sheet]:
        """The sheets of one disc, back to front."""
        height, width = self.size
        place = torch.rand(2, generator=self.generator) * 0.5 + 0.25
        across, down, radius = float(place[0]) * width, float(place[1]) * height, height / 5
        disc = self.disc(across, down, radius, self.edge)
        shade = self.disc(across + radius / 2, down + radius / 2, radius, radius) * 0.6
        mirrored = self.disc(across, down + 2 * radius, radius, radius) * 0.3
        multiply, add = 1 - 0.6 * self.smooth(), 0.5 * self.smooth()
        return [
            Sheet(
                rgba=torch.cat([self.smooth(), mirrored], dim=1),
                name=f"{name} reflection",
                group=name,
            ),
            Sheet(
                rgba=_opaque(1 - shade * self.smooth()),
                name=f"{name} shadow",
                blend=Blend.MULTIPLY,
                group=name,
            ),
            Sheet(
                rgba=torch.cat([self.smooth(), disc], dim=1),
                name=name,
                opacity=0.8 if index == 1 else 1.0,
                group=name,
            ),
            Sheet(
                rgba=_opaque(multiply),
                name=f"{name} multiply",
                blend=Blend.MULTIPLY,
                clipped=True,
                opacity=0.6 if index == 2 else 1.0,
                group=name,
            ),
            Sheet(
                rgba=_opaque(add * disc),
                name=f"{name} add",
                blend=Blend.ADD,
                clipped=True,
                visible=index != 0,
                group=name,
            ),
        ]

    def disc(self, across: float, down: float, radius: float, edge: float) -> Tensor:
        """Alpha `[1 1 h w]` of a disc that fades out over `edge` pixels."""
        height, width = self.size
        rows, columns = torch.arange(height)[:, None], torch.arange(width)
        distance = ((columns - across) ** 2 + (rows - down) ** 2).sqrt()
        return ((radius - distance) / max(edge, 1e-6) + 0.5).clamp(0, 1)[None, None]


def _opaque(rgb: Tensor) -> Tensor:
    return torch.cat([rgb, torch.ones_like(rgb[:, :1])], dim=1)
