"""Rendered scenes as examples: shards of them to learn from, and edits to be measured by."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import pi
from pathlib import Path

import torch
from torch import Generator
from torch.utils.data import IterableDataset

from annotator.scenes.drawing import random_staging
from annotator.scenes.dyeing import dyed
from annotator.scenes.numbered import check_fixed, read_fixed_scenes
from annotator.scenes.recording import (
    Exposed,
    RenderedEdit,
    RenderedScene,
    developed,
    recorded_edits,
    recorded_scenes,
)
from annotator.scenes.staged import StagedScene, staged_layers, staged_scene
from annotator.scenes.staging import Body, EditKind, Staging
from annotator.scenes.supply import Supply
from ldm.carrying import Moves
from ldm.scene import Scene
from ldm.values import Frames, Layers


class RenderedScenes(IterableDataset[Scene]):
    """Yields `num_batches` batches of rendered scenes, the first one numbered `first`.

    All shards lie in memory, in 8 bits, where the supply lies. What the light's paths do not
    depend on is drawn anew each time: backdrop, colour of the light and share of the sky, gloss,
    left and right, and of a share `dyed` of the layers the colours. A batch depends on `seed` and
    its number only. Errors: `OSError`, `RecordingError` naming a shard that cannot be read.
    """

    def __init__(
        self,
        shards: Sequence[Path],
        supply: Supply,
        *,
        batch_size: int,
        num_batches: int,
        seed: int,
        first: int = 0,
        dyed: float = 0.0,
    ) -> None:
        self.supply = supply
        self.batch_size = batch_size
        self.num_batches = num_batches
        self.seed = seed
        self.first = first
        self.dyed = dyed
        self._scenes = [
            replace(scene, exposed=scene.exposed.to(supply.device))
            for shard in shards
            for scene in recorded_scenes(shard)
        ]

    def __len__(self) -> int:
        return self.num_batches

    def __iter__(self) -> Iterator[Scene]:
        return (staged.scene for staged in self.staged())

    def staged(self) -> Iterator[StagedScene]:
        """The same scenes, their witnesses not yet part of the backs."""
        for number in range(self.first, self.first + self.num_batches):
            yield self._batch(Generator().manual_seed(self.seed * 1_000_003 + number))

    def _batch(self, generator: Generator) -> StagedScene:
        chosen = torch.randint(len(self._scenes), (self.batch_size,), generator=generator)
        turns = torch.rand(self.batch_size, generator=generator) < 0.5
        drawn: list[RenderedScene] = []
        for number, turned in zip(chosen.tolist(), turns.tolist(), strict=True):
            scene = self._scenes[number]
            drawn.append(dressed(turned_over(scene) if turned else scene, self.supply, generator))
        stagings = [each.staging for each in drawn]
        exposures = [each.exposed for each in drawn]
        layers = _layers(stagings, exposures, self.supply)
        return _developed(dyed(layers, self.dyed, generator), stagings, exposures)


def dressed(scene: RenderedScene, supply: Supply, generator: Generator) -> RenderedScene:
    """The scene before another backdrop, in another colour of light and share of sky, with another
    gloss, where its ground has one."""
    staging = scene.staging
    other = random_staging(supply, generator, max_bodies=1, grounds=[staging.ground])
    light = replace(staging.light, colour=other.light.colour, ambient=other.light.ambient)
    return replace(
        scene,
        staging=replace(
            staging,
            backdrop=other.backdrop,
            view=other.view,
            mirrored=other.mirrored,
            gloss=other.gloss,
            light=light,
        ),
    )


def turned_over(scene: RenderedScene) -> RenderedScene:
    """The scene with left and right exchanged."""
    staging, exposed = scene.staging, scene.exposed
    light = replace(staging.light, azimuth=(pi - staging.light.azimuth) % (2 * pi))
    bodies = tuple(_turned(body) for body in staging.bodies)
    return RenderedScene(
        staging=replace(staging, bodies=bodies, light=light, mirrored=not staging.mirrored),
        exposed=Exposed(light=exposed.light.flip(-1), mirror=exposed.mirror.flip(-1)),
    )


def _turned(body: Body) -> Body:
    left, top, right, bottom = body.box
    return replace(body, box=(1 - right, top, 1 - left, bottom), flipped=not body.flipped)


@dataclass(frozen=True, kw_only=True)
class EditedScene:
    """A scene before and after one edit, as layers: witnesses are part of the backs.

    The frames of `moves` are those of the slots' canvases, the back's is the picture.
    """

    kind: EditKind
    before: Scene
    after: Scene
    moves: Moves


def read_edits(shard: Path, supply: Supply) -> Iterator[EditedScene]:
    """The edits of a shard. Errors: `OSError`, `RecordingError` naming it."""
    return (_edited(recorded, supply) for recorded in recorded_edits(shard))


def read_test_edits(folder: Path, supply: Supply) -> Iterator[EditedScene]:
    """The fixed test scenes, rendered. Raises FixedScenesError, before the first of them, where the
    folder holds others."""
    recorded = [each for shard in sorted(folder.glob("*.tar")) for each in recorded_edits(shard)]
    check_fixed(read_fixed_scenes(), [each.edit for each in recorded], str(folder))
    return (_edited(each, supply) for each in recorded)


def _edited(recorded: RenderedEdit, supply: Supply) -> EditedScene:
    edit = recorded.edit
    witnesses = edit.before.num_witnesses
    moves = Moves(
        origin=(0, *(max(slot - witnesses, -1) for slot in edit.origin[1 + witnesses :])),
        before=_frames(edit.before, supply),
        after=_frames(edit.after, supply),
    )
    return EditedScene(
        kind=edit.kind,
        before=_scene(edit.before, recorded.before.to(supply.device), supply),
        after=_scene(edit.after, recorded.after.to(supply.device), supply),
        moves=moves,
    )


def _scene(staging: Staging, exposed: Exposed, supply: Supply) -> Scene:
    return _developed(_layers([staging], [exposed], supply), [staging], [exposed]).scene


def _layers(stagings: Sequence[Staging], exposures: Sequence[Exposed], supply: Supply) -> Layers:
    return staged_layers(stagings, supply, exposures[0].light.shape[-1])


def _developed(
    layers: Layers, stagings: Sequence[Staging], exposures: Sequence[Exposed]
) -> StagedScene:
    return staged_scene(stagings, layers, developed(exposures, layers.present.shape[1] - 1))


def _frames(staging: Staging, supply: Supply) -> Frames:
    boxes = [body.box for body in staging.bodies[staging.num_witnesses :]]
    return Frames(box=torch.tensor([[(0.0, 0.0, 1.0, 1.0), *boxes]], device=supply.device))
