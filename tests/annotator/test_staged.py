"""Laws of staged scenes: what is seen of a staging, baked witnesses, layers that agree."""

from dataclasses import replace

import pytest
import torch
from torch import Generator

from annotator.scenes.analytic import analytic_transport
from annotator.scenes.drawing import random_staging
from annotator.scenes.staged import scene_of, staged_layers, staged_light
from annotator.scenes.staging import Ground, Staging
from annotator.scenes.supply import Supply
from annotator.scenes.transport import lit, surroundings
from ldm.effects import shown
from ldm.scene import Scene
from ldm.values import Effects, identity_effects

SIZE = 48


def drawn(supply: Supply, count: int = 8) -> list[Staging]:
    """Random stagings."""
    generator = Generator().manual_seed(0)
    return [random_staging(supply, generator) for _ in range(count)]


def scenes(stagings: list[Staging], supply: Supply) -> Scene:
    """The analytic scenes of stagings."""
    layers = staged_layers(stagings, supply, SIZE)
    transport = analytic_transport(layers, staged_light(stagings, supply.device), stagings)
    return scene_of(stagings, layers, transport)


def test_a_staging_looks_the_same_alone_and_among_others(supply: Supply) -> None:
    stagings = drawn(supply)
    together = scenes(stagings, supply)
    for i, staging in enumerate(stagings):
        alone = scenes([staging], supply)
        count = len(staging.bodies) - staging.num_witnesses + 1
        assert alone.layers.present.shape == (1, count)
        assert together.layers.present[i].sum() == count
        for one, other in (
            (alone.layers.rgba, together.layers.rgba),
            (alone.effects.shadow, together.effects.shadow),
            (alone.effects.multiply, together.effects.multiply),
            (alone.effects.reflection, together.effects.reflection),
        ):
            assert torch.allclose(one[0], other[i, :count], atol=2e-5)


def test_absent_slots_and_backs_have_no_effects(supply: Supply) -> None:
    scene = scenes(drawn(supply), supply)
    still = ~scene.layers.present
    assert bool(still.any())
    assert (scene.layers.rgba[still] == 0).all()
    still[:, 0] = True
    same = identity_effects(scene.layers)
    assert torch.equal(scene.effects.multiply[still], same.multiply[still])
    assert torch.equal(scene.effects.add[still], same.add[still])
    assert torch.equal(scene.effects.shadow[still], same.shadow[still])
    assert (scene.effects.reflection[still].split([3, 1], dim=1)[1] == 0).all()


def test_mirrored_backdrops_and_flipped_bodies_are_mirror_images(supply: Supply) -> None:
    lopsided = supply.cutouts.clone()
    lopsided[:, 0, :, 16:] = 0
    supply = Supply(cutouts=lopsided, backdrops=supply.backdrops)
    for staging in drawn(supply, 3):
        matte = replace(staging, ground=Ground.matte)
        bodies = tuple(
            replace(
                body,
                flipped=not body.flipped,
                box=(1 - body.box[2], body.box[1], 1 - body.box[0], body.box[3]),
            )
            for body in staging.bodies
        )
        other = replace(matte, mirrored=not matte.mirrored, bodies=bodies)
        one, mirror = (staged_layers([each], supply, SIZE).rgba for each in (matte, other))
        assert torch.allclose(one, mirror.flip(-1), atol=1e-4)


def test_grounds_change_the_ground_and_nothing_beyond_it(supply: Supply) -> None:
    staging = replace(drawn(supply, 1)[0], gloss=0.5, border=0.5)
    half = SIZE // 2
    views = {
        ground: staged_layers([replace(staging, ground=ground)], supply, SIZE).rgb[0, 0]
        for ground in Ground
    }
    matte = views[Ground.matte]
    for ground in (Ground.glossy, Ground.water, Ground.table):
        assert torch.equal(views[ground][:, : half - 1], matte[:, : half - 1])
        assert (views[ground][:, half + 4 :] - matte[:, half + 4 :]).abs().mean() > 0.05
    wall = views[Ground.wall][:, : half - 6]
    assert (wall - wall.mean(dim=(1, 2), keepdim=True)).abs().amax() < 0.1
    assert all(view.amin() >= 0 and view.amax() <= 1 for view in views.values())


@pytest.mark.parametrize("witnesses", [1, 2])
def test_baked_witnesses_are_the_flattened_back(supply: Supply, witnesses: int) -> None:
    stagings = [each for each in drawn(supply, 30) if each.num_witnesses == witnesses][:2]
    for staging in stagings:
        layers = staged_layers([staging], supply, SIZE)
        light = staged_light([staging], supply.device)
        transport = analytic_transport(layers, light, [staging])
        around = surroundings(layers.rgb[:, 0], torch.tensor([staging.gloss]))
        effects = lit(layers, transport, light, around)
        scene = scene_of([staging], layers, transport)
        first = layers.take(torch.arange(witnesses + 1))
        by_hand = shown(
            first,
            Effects(
                multiply=effects.multiply[:, : witnesses + 1],
                add=effects.add[:, : witnesses + 1],
                shadow=effects.shadow[:, : witnesses + 1],
                reflection=effects.reflection[:, : witnesses + 1],
                alpha=effects.alpha[:, : witnesses + 1],
            ),
        )
        assert torch.allclose(scene.layers.rgb[:, 0], by_hand, atol=1e-5)
        assert torch.equal(scene.layers.rgba[:, 1:], layers.rgba[:, witnesses + 1 :])
        whole = shown(layers, effects)
        assert torch.allclose(shown(scene.layers, scene.effects), whole, atol=1e-5)
