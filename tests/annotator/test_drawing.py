"""Laws of random stagings and edits: on the ground, in the picture, and as announced."""

import math

import pytest
import torch
from torch import Generator

from annotator.scenes.drawing import foot, random_staging
from annotator.scenes.edits import random_edit
from annotator.scenes.staged import staged_layers
from annotator.scenes.staging import Body, Edit, EditKind, Ground, Staging
from annotator.scenes.supply import Supply
from ldm.compositing import visibility
from ldm.projection import HORIZON, lowest_row

SIZE = 96


def drawn(supply: Supply, count: int = 60, seed: int = 0) -> list[Staging]:
    """Random stagings."""
    generator = Generator().manual_seed(seed)
    return [random_staging(supply, generator) for _ in range(count)]


def size_in_space(body: Body, supply: Supply) -> float:
    """How large a body is, whatever its distance."""
    left, _, right, _ = body.box
    return (right - left) / (foot(body, supply) - HORIZON)


def middle(body: Body) -> float:
    """The column around which a body stands."""
    return (body.box[0] + body.box[2]) / 2


def test_a_seed_gives_the_same_stagings(supply: Supply) -> None:
    assert drawn(supply, 5) == drawn(supply, 5)
    assert drawn(supply, 5) != drawn(supply, 5, seed=1)


def test_counts_are_one_to_six_layers_few_more_often_and_most_have_a_witness(
    supply: Supply,
) -> None:
    stagings = drawn(supply, 200)
    layers = [len(staging.bodies) - staging.num_witnesses for staging in stagings]
    assert {1, 2, 3, 4} <= set(layers) <= {1, 2, 3, 4, 5, 6}
    assert sum(count <= 3 for count in layers) > 120
    witnesses = [staging.num_witnesses for staging in stagings]
    assert set(witnesses) == {0, 1, 2}
    assert 110 < sum(count > 0 for count in witnesses) < 165


def test_bodies_stand_on_the_ground_back_to_front_and_can_be_seen(supply: Supply) -> None:
    stagings = drawn(supply, 20)
    layers = staged_layers(stagings, supply, SIZE)
    bottom = lowest_row(layers.alpha)[:, 1:]
    seen = visibility(layers.alpha).amax(dim=(-1, -2, -3))[:, 1:]
    for staging, found, shown in zip(stagings, bottom, seen, strict=True):
        rows = torch.tensor([foot(body, supply) for body in staging.bodies])
        assert (found[: len(rows)] - rows).abs().amax() < 1.5 / SIZE
        assert (rows.diff() >= 0).all()
        assert (shown[: len(rows)] > 0.9).all()
        assert all(0.849 < size_in_space(body, supply) < 1.501 for body in staging.bodies)


def test_grounds_have_their_gloss_and_their_border(supply: Supply) -> None:
    stagings = drawn(supply, 150)
    assert {staging.ground for staging in stagings} == set(Ground)
    assert 55 < sum(staging.ground is Ground.matte for staging in stagings) < 95
    for staging in stagings:
        mirrors = staging.ground in (Ground.glossy, Ground.water)
        assert 0.35 <= staging.gloss <= 0.85 if mirrors else staging.gloss <= 0.25
        assert HORIZON <= staging.border < foot(staging.bodies[0], supply)
        ends = staging.ground in (Ground.table, Ground.wall)
        assert ends == (staging.border > HORIZON)


def test_light_comes_from_anywhere_but_through_a_wall(supply: Supply) -> None:
    lights = [(staging.light, staging.ground) for staging in drawn(supply, 150)]
    quarters = {int(light.azimuth / (math.pi / 2)) for light, _ in lights}
    assert quarters == {0, 1, 2, 3}
    assert all(math.sin(light.azimuth) < 0 for light, ground in lights if ground is Ground.wall)
    assert all(20 <= math.degrees(light.elevation) <= 70 for light, _ in lights)
    assert all(0.22 <= light.ambient <= 0.65 for light, _ in lights)
    assert all(abs(sum(light.colour) - 3) < 1e-5 for light, _ in lights)


def edited(supply: Supply, kind: EditKind) -> list[Edit]:
    """Edits of one kind."""
    generator = Generator().manual_seed(5)
    edits = [random_edit(staging, kind, supply, generator) for staging in drawn(supply, 40)]
    found = [edit for edit in edits if edit is not None]
    assert len(found) > 15
    return found


def gone(edit: Edit) -> set[int]:
    """Slots that are no more."""
    return set(range(len(edit.before.bodies) + 1)) - set(edit.origin)


def altered(edit: Edit) -> list[tuple[Body, Body]]:
    """Bodies before and after that the edit left, but not as they were."""
    pairs = [
        (edit.before.bodies[slot - 1], body)
        for slot, body in zip(edit.origin[1:], edit.after.bodies, strict=True)
        if slot > 0
    ]
    return [(before, after) for before, after in pairs if before != after]


@pytest.mark.parametrize("kind", list(EditKind))
def test_origin_follows_each_body_and_witnesses_stay(supply: Supply, kind: EditKind) -> None:
    for edit in edited(supply, kind):
        assert edit.kind is kind
        assert edit.origin[0] == 0
        assert len(edit.origin) == len(edit.after.bodies) + 1
        assert all(one.cutout == other.cutout for one, other in altered(edit))
        count = edit.before.num_witnesses
        assert edit.origin[: count + 1] == tuple(range(count + 1))
        assert edit.after.bodies[:count] == edit.before.bodies[:count]
        rows = [foot(body, supply) for body in edit.after.bodies]
        assert rows == sorted(rows)


def test_moved_bodies_go_aside_and_are_smaller_when_farther(supply: Supply) -> None:
    for edit in edited(supply, EditKind.moved):
        [(before, after)] = altered(edit)
        assert not gone(edit)
        assert 0.149 < abs(middle(after) - middle(before)) < 0.351
        assert abs(foot(after, supply) - foot(before, supply)) > 0.039
        assert size_in_space(after, supply) == pytest.approx(size_in_space(before, supply))


def test_removed_and_added_bodies_are_one(supply: Supply) -> None:
    for edit in edited(supply, EditKind.removed):
        assert len(gone(edit)) == 1
        assert min(gone(edit)) > edit.before.num_witnesses
        assert not altered(edit)
    for edit in edited(supply, EditKind.added):
        assert edit.origin.count(-1) == 1
        assert not gone(edit)
        assert not altered(edit)


def test_reordered_bodies_take_each_others_place_in_depth(supply: Supply) -> None:
    for edit in edited(supply, EditKind.reordered):
        (first, first_after), (second, second_after) = altered(edit)
        assert foot(first_after, supply) == pytest.approx(foot(second, supply))
        assert foot(second_after, supply) == pytest.approx(foot(first, supply))
        assert middle(first_after) == pytest.approx(middle(first))
        assert size_in_space(first_after, supply) == pytest.approx(size_in_space(first, supply))
        assert edit.origin != tuple(range(len(edit.origin)))


def test_relit_scenes_differ_in_their_light_alone(supply: Supply) -> None:
    for edit in edited(supply, EditKind.relit):
        assert edit.after.bodies == edit.before.bodies
        before, after = edit.before.light, edit.after.light
        assert math.cos(after.azimuth - before.azimuth) < math.cos(math.radians(39.9))
        assert (after.colour, after.softness, after.ambient) == (
            before.colour,
            before.softness,
            before.ambient,
        )


def test_a_lone_layer_cannot_be_reordered(supply: Supply) -> None:
    staging = random_staging(supply, Generator().manual_seed(0), max_bodies=1)
    for kind in (EditKind.removed, EditKind.reordered):
        assert random_edit(staging, kind, supply, Generator()) is None
