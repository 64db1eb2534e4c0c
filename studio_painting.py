"""Painting: a brief followed to layers, their picture and files, and lit anew without drawing."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf
from PIL import Image
from torch import Tensor

from cldm.brief import Brief, LightBrief, light_brief, light_of, names_of, sampling_of, task_of
from cldm.config import ModelConfig
from cldm.model import LayerDiffusion
from cldm.relation.guides import LightHint
from cldm.results import Results, write_results
from ldm.compositing import stack
from ldm.document import flatten
from ldm.export.bitmap import quantised
from ldm.values import Effects, Layers, Masks
from studio_arrangement import Arrangement, Pull, Viewport, arranged
from studio_rows import Mask

_NUM_PREVIEWS = 8


@dataclass(frozen=True, kw_only=True)
class Painted:
    """Layers and their picture after a `share` of the work; at the end `files`, PSD, ORA and ZIP,
    and what was `drawn`."""

    picture: Image.Image
    layers: list[tuple[Image.Image, str]]
    share: float
    files: tuple[Path, ...] = ()
    drawn: "Drawn | None" = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawn:
    """Layers that are drawn: they can still be moved, and their light changed.

    `asked` are the pictures of the masks by file name; `light` is the one that the layers stand in,
    given or estimated; `agreed` says how likely each one above the back, as it was drawn, stands in
    it already. Both are held while they move.
    """

    brief: Brief
    arrangement: Arrangement
    masks: Masks
    asked: dict[str, Mask]
    light: LightBrief
    agreed: Tensor
    viewport: Viewport

    @property
    def layers(self) -> Layers:
        """As they lie now."""
        return self.arrangement.layers

    @property
    def hint(self) -> LightHint:
        """Its light as the relation network is told it."""
        _, *order = self.arrangement.order
        agreed = self.agreed[:, [slot - 1 for slot in order]]
        return replace(light_of(replace(self.brief, light=self.light)), agreed=agreed)

    def pulled(self, pull: Pull) -> "Drawn | None":
        """After a layer was pulled; None where there is none."""
        arrangement = self.arrangement.pulled(pull)
        return arrangement and replace(self, arrangement=arrangement)

    def stepped(self, towards: int) -> "Drawn | None":
        """With the layer that was pulled last before or behind its neighbour; None as above."""
        arrangement = self.arrangement.stepped(towards)
        return arrangement and replace(self, arrangement=arrangement)

    def results(self, effects: Effects) -> Results:
        """With its effects, back to front as it lies now."""
        order, names = list(self.arrangement.order), names_of(self.brief)
        masks = Masks(area=self.masks.area[:, order], present=self.masks.present[:, order])
        return Results(
            layers=self.layers, effects=effects, names=[names[slot] for slot in order], masks=masks
        )

    def seen(self) -> Image.Image:
        """The picture at this moment."""
        return _image(self.viewport.show(self.arrangement, self.hint))


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
    drawn = Drawn(
        brief=brief,
        arrangement=arranged(layers),
        masks=task.condition.masks,
        asked={path.name: _read_mask(path) for path in folder.glob("mask_*.png")},
        light=brief.light or light_brief(model.estimated_light(layers)),
        agreed=model.agreed(layers, light_of(brief)),
        viewport=Viewport(model, layers.size),
    )
    yield light_up(drawn, folder)


def light_up(drawn: Drawn, folder: Path) -> Painted:
    """The picture of layers where they lie and in their light, without drawing any anew."""
    results = drawn.results(drawn.viewport.effects(drawn.arrangement, drawn.hint))
    return Painted(
        picture=_image(flatten(results.document())),
        layers=_shown(results.layers, results.names),
        share=1,
        files=_files(results, drawn, folder),
        drawn=drawn,
    )


def _files(results: Results, drawn: Drawn, folder: Path) -> tuple[Path, Path, Path]:
    """PSD, ORA, and a ZIP of everything, with the brief that `generate_layers.py` can follow."""
    out = folder / "layers"
    write_results(results, drawn.brief, out)
    for file, mask in drawn.asked.items():
        Image.fromarray(mask).save(out / file)
    (out / "brief.yaml").write_text(OmegaConf.to_yaml(asdict(drawn.brief)), encoding="utf-8")
    archive = shutil.make_archive(str(folder / "layers"), "zip", out)
    return out / "document.psd", out / "document.ora", Path(archive)


def _read_mask(path: Path) -> Mask:
    with Image.open(path) as image:
        return np.asarray(image)


def _shown(layers: Layers, names: Sequence[str]) -> list[tuple[Image.Image, str]]:
    return [(_image(layers.rgba[:, slot]), name) for slot, name in enumerate(names)]


def _image(pixels: Tensor) -> Image.Image:
    """A picture of one batch entry, RGB or RGBA."""
    return Image.fromarray(quantised(pixels))
