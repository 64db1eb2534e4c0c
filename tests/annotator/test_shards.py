"""Laws of shards: what is written comes back, and examples are what the light's paths allow."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Generator

from annotator.scenes.numbered import (
    FixedScenes,
    FixedScenesError,
    check_fixed,
    fixed_edits,
    numbered_edit,
    numbered_staging,
)
from annotator.scenes.recording import (
    Exposed,
    RecordingError,
    RenderedEdit,
    RenderedScene,
    developed,
    exposed,
    recorded_edits,
    recorded_scenes,
    write_edits,
    write_scenes,
)
from annotator.scenes.script import digest, edit_text, read_edit, read_staging, staging_text
from annotator.scenes.shards import RenderedScenes, dressed, read_edits, turned_over
from annotator.scenes.staged import staged_layers
from annotator.scenes.staging import EditKind, Staging
from annotator.scenes.supply import Supply
from annotator.scenes.transport import Transport

SIZE = 16


def transport(num_bodies: int, seed: int) -> Transport:
    """Any light at all, up to what a body that faces the light gets."""
    generator = Generator().manual_seed(seed)
    shape = (1, num_bodies, 1, SIZE, SIZE)
    light = [torch.rand(shape, generator=generator) * most for most in (1.4, 1.1, 1.4, 1.1, 0.7)]
    return Transport(
        key=light[0],
        sky=light[1],
        own_key=light[2],
        own_sky=light[3],
        own_ground=light[4],
        mirror=torch.rand(1, num_bodies, 4, SIZE, SIZE, generator=generator),
        present=torch.ones(1, num_bodies, dtype=torch.bool),
    )


def light_of(staging: Staging, seed: int) -> Exposed:
    """Any light for the bodies of a staging."""
    return exposed(transport(len(staging.bodies), seed))


def scenes(supply: Supply, count: int) -> list[RenderedScene]:
    """Random scenes in any light."""
    stagings = [numbered_staging(supply, 0, number) for number in range(count)]
    return [
        RenderedScene(staging=staging, exposed=light_of(staging, seed))
        for seed, staging in enumerate(stagings)
    ]


def edits(supply: Supply, count: int) -> list[RenderedEdit]:
    """Random edits in any light."""
    drawn = [numbered_edit(supply, 0, number) for number in range(count)]
    return [
        RenderedEdit(edit=edit, before=light_of(edit.before, 1), after=light_of(edit.after, 2))
        for edit in drawn
    ]


@pytest.fixture
def shard(supply: Supply, tmp_path: Path) -> Path:
    """A shard of five scenes."""
    write_scenes(tmp_path / "scenes.tar", scenes(supply, 5))
    return tmp_path / "scenes.tar"


def assert_same(found: Exposed, given: Exposed) -> None:
    """The same pictures, bit by bit."""
    assert torch.equal(found.light, given.light)
    assert torch.equal(found.mirror, given.mirror)


def test_open_ground_comes_back_exactly() -> None:
    open_ground = replace(transport(2, seed=0), key=torch.ones(1, 2, 1, SIZE, SIZE))
    assert torch.equal(developed([exposed(open_ground)], 2).key, open_ground.key)


def test_roots_of_light_come_back_to_less_than_one_grey_value() -> None:
    given = transport(3, seed=0)
    found = developed([exposed(given)], 3)
    for name in ("key", "sky", "own_key", "own_sky", "own_ground"):
        error = getattr(found, name).sqrt() - getattr(given, name).sqrt()
        assert error.abs().max() < 0.7 / 255
    assert (found.mirror - given.mirror).abs().max() < 0.51 / 255


def test_absent_bodies_are_padding() -> None:
    found = developed([exposed(transport(1, 0)), exposed(transport(3, 1))], 4)
    assert found.present.tolist() == [[True, False, False, False], [True, True, True, False]]


def test_stagings_and_edits_come_back_from_their_text(supply: Supply) -> None:
    staging, edit = numbered_staging(supply, 1, 1), numbered_edit(supply, 1, 1)
    assert read_staging(staging_text(staging)) == staging
    assert read_edit(edit_text(edit)) == edit


def test_scenes_come_back(supply: Supply, shard: Path) -> None:
    given = scenes(supply, 5)
    found = list(recorded_scenes(shard))
    assert [scene.staging for scene in found] == [scene.staging for scene in given]
    for one, other in zip(found, given, strict=True):
        assert_same(one.exposed, other.exposed)


def test_edits_come_back(supply: Supply, tmp_path: Path) -> None:
    given = edits(supply, 5)
    write_edits(tmp_path / "edits.tar", given)
    found = list(recorded_edits(tmp_path / "edits.tar"))
    assert [each.edit for each in found] == [each.edit for each in given]
    for one, other in zip(found, given, strict=True):
        assert_same(one.before, other.before)
        assert_same(one.after, other.after)


def test_equal_scenes_give_equal_bytes(supply: Supply, shard: Path, tmp_path: Path) -> None:
    write_scenes(tmp_path / "again.tar", scenes(supply, 5))
    assert (tmp_path / "again.tar").read_bytes() == shard.read_bytes()


def test_a_damaged_shard_is_one_line(shard: Path) -> None:
    shard.write_bytes(shard.read_bytes()[:-15000])
    with pytest.raises(RecordingError) as caught:
        list(recorded_scenes(shard))
    assert str(shard) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_half_a_shard_is_never_left(supply: Supply, tmp_path: Path) -> None:
    def cut_off():
        yield scenes(supply, 1)[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_scenes(tmp_path / "new" / "scenes.tar", cut_off())
    assert not list((tmp_path / "new").iterdir())


def test_turned_over_shows_the_same_bodies_mirrored(supply: Supply) -> None:
    for scene in scenes(supply, 4):
        turned = turned_over(scene)
        shown, mirrored = (
            staged_layers([each.staging], supply, SIZE).rgba[:, 1:] for each in (scene, turned)
        )
        torch.testing.assert_close(mirrored, shown.flip(-1), atol=1e-4, rtol=0)
        assert_same(
            Exposed(light=turned.exposed.light.flip(-1), mirror=turned.exposed.mirror.flip(-1)),
            scene.exposed,
        )
        before, after = scene.staging.light.azimuth, turned.staging.light.azimuth
        assert math.cos(after) == pytest.approx(-math.cos(before))
        assert math.sin(after) == pytest.approx(math.sin(before))


def test_dressing_leaves_what_the_paths_of_light_depend_on(supply: Supply) -> None:
    scene = scenes(supply, 1)[0]
    worn = [dressed(scene, supply, Generator().manual_seed(seed)).staging for seed in range(8)]
    assert len({staging.light.ambient for staging in worn}) == 8
    for staging in worn:
        assert staging.bodies == scene.staging.bodies
        assert (staging.ground, staging.border) == (scene.staging.ground, scene.staging.border)
        assert staging.light.azimuth == scene.staging.light.azimuth
        assert staging.light.softness == scene.staging.light.softness


def test_batches_depend_on_seed_and_number_only(supply: Supply, shard: Path) -> None:
    def batches(num_batches: int, first: int) -> list[torch.Tensor]:
        source = RenderedScenes(
            [shard], supply, batch_size=3, num_batches=num_batches, seed=4, first=first
        )
        return [scene.effects.shadow for scene in source]

    whole, late = batches(3, 0), batches(1, 2)
    assert torch.equal(whole[2], late[0])
    assert whole[0].shape[0] == 3


@pytest.mark.parametrize("number", range(5))
def test_edited_scenes_follow_their_slots(supply: Supply, tmp_path: Path, number: int) -> None:
    edit = next(
        each
        for each in (numbered_edit(supply, 7, number + 5 * k) for k in range(20))
        if each.before.num_witnesses > 0
    )
    recorded = RenderedEdit(
        edit=edit, before=light_of(edit.before, 1), after=light_of(edit.after, 2)
    )
    write_edits(tmp_path / "edits.tar", [recorded])
    [edited] = read_edits(tmp_path / "edits.tar", supply)
    assert edited.kind is list(EditKind)[number]
    assert len(edited.moves.origin) == edited.after.layers.present.sum()
    before = edit.before.bodies[edit.before.num_witnesses :]
    after = edit.after.bodies[edit.after.num_witnesses :]
    torch.testing.assert_close(
        edited.moves.after.box[0, 1:], torch.tensor([body.box for body in after])
    )
    for slot, origin in enumerate(edited.moves.origin[1:]):
        known = [body.cutout for body in before]
        assert origin == -1 or known[origin - 1] == after[slot].cutout
    assert (-1 in edited.moves.origin) == (edited.kind is EditKind.added)


def test_other_test_scenes_are_refused(supply: Supply) -> None:
    fixed = FixedScenes(seed=1, edits=5, size=16, sha256="0" * 64)
    with pytest.raises(FixedScenesError) as caught:
        fixed_edits(fixed, supply)
    assert "0" * 64 in str(caught.value)
    assert "\n" not in str(caught.value)
    right = [numbered_edit(supply, 1, number) for number in range(5)]
    told = replace(fixed, sha256=digest(edit_text(edit) for edit in right))
    assert fixed_edits(told, supply) == right
    with pytest.raises(FixedScenesError):
        check_fixed(told, right[::-1], "elsewhere")


def test_scenes_of_a_number_are_those_of_its_seed(supply: Supply) -> None:
    assert numbered_staging(supply, 2, 5) == numbered_staging(supply, 2, 5)
    assert numbered_staging(supply, 2, 5) != numbered_staging(supply, 3, 5)
