"""Laws of light reckoned by rays, in scenes simple enough to know the answer."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from annotator.scenes.rendered import rendered_transport
from annotator.scenes.rendering import Content, Digests, Shard, render
from annotator.scenes.staged import staged_layers, staged_light
from annotator.scenes.staging import Body, Box, Ground, KeyLight, Staging
from annotator.scenes.supply import Supply
from annotator.scenes.tracing import NoTracerError, start_tracing
from annotator.scenes.transport import Transport
from annotator.scenes.world import world_of
from ldm.interception import intercepted
from ldm.occlusion import key_occlusion
from ldm.projection import FRONT, facing, lambert, standing

SIZE = 64
MIDDLE = (0.3, 0.4, 0.7, 0.8)
FAR_LEFT = (0.02, 0.45, 0.22, 0.65)


@pytest.fixture(scope="module", autouse=True)
def tracing() -> None:
    """Rays, where this machine can trace them."""
    try:
        start_tracing(threads=1)
    except NoTracerError as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def shapes() -> Supply:
    """A board whose upper half is red and whose lower half is blue, and a disc."""
    board = torch.zeros(4, 64, 64)
    board[0, :32], board[2, 32:], board[3] = 1, 1, 1
    grid = (torch.arange(64) + 0.5) / 32 - 1
    disc = torch.ones(4, 64, 64)
    disc[3] = ((0.95 - (grid[:, None].square() + grid.square()).sqrt()) * 16).clamp(0, 1)
    return Supply(cutouts=torch.stack([board, disc]), backdrops=(torch.full((3, 64, 64), 0.5),))


def staged(*boxes: Box, cutout: int = 0, ground: Ground = Ground.matte, **light: float) -> Staging:
    """Equal bodies in light from the right at 45 degrees, unless said otherwise."""
    key = KeyLight(
        azimuth=0.0, elevation=math.pi / 4, colour=(1.0, 1.0, 1.0), softness=0.0, ambient=0.3
    )
    return Staging(
        bodies=tuple(Body(cutout=cutout, flipped=False, box=box) for box in boxes),
        num_witnesses=0,
        backdrop=0,
        view=(0.0, 0.0, 1.0, 1.0),
        mirrored=False,
        ground=ground,
        gloss=0.5,
        border=0.62,
        light=replace(key, **light),
    )


def rendered(staging: Staging, supply: Supply) -> Transport:
    """Few paths are enough for laws."""
    return rendered_transport(staging, supply, SIZE, samples=16)


def below(values: Tensor, row: float) -> Tensor:
    """The part of a picture below a row."""
    return values[..., round(row * SIZE) :, :]


def test_open_ground_gets_all_the_key_light(shapes: Supply) -> None:
    key = rendered(staged(FAR_LEFT), shapes).key[0, 0, 0]
    torch.testing.assert_close(key[:, SIZE // 2 :], torch.ones(SIZE, SIZE // 2))


def test_sky_is_dark_at_the_foot_and_open_far_away(shapes: Supply) -> None:
    sky = rendered(staged(FAR_LEFT), shapes).sky[0, 0, 0]
    assert sky[round(0.66 * SIZE), round(0.12 * SIZE)] < 0.8
    assert below(sky, 0.4)[:, -8:].min() > 0.98


def test_nothing_is_left_in_the_shadow_of_a_board(shapes: Supply) -> None:
    key = rendered(staged(MIDDLE, azimuth=math.pi / 2), shapes).key[0, 0, 0]  # from behind
    assert key[round(0.84 * SIZE), SIZE // 2] < 0.01


def test_light_from_the_other_side_turns_the_shadow(shapes: Supply) -> None:
    from_right, from_left = (
        rendered(staged(MIDDLE, azimuth=azimuth), shapes).key[0, 0, 0] for azimuth in (0.0, math.pi)
    )
    assert (from_right - from_left).abs().mean() > 0.02
    assert (from_right - from_left.flip(-1)).abs().mean() < 0.004


@pytest.mark.parametrize("azimuth", [0.6, 2.0, 4.5])
def test_shadows_fall_where_the_march_through_a_cushion_finds_them(
    shapes: Supply, azimuth: float
) -> None:
    staging = staged(MIDDLE, cutout=1, azimuth=azimuth, elevation=0.8, softness=0.1)
    layers = staged_layers([staging], shapes, SIZE)
    bodies = standing(layers.alpha[:, 1:])
    marched = key_occlusion(bodies, staged_light([staging], shapes.device), (SIZE, SIZE)) > 0.5
    traced = rendered(staging, shapes).key < 0.5
    assert (marched & traced).sum() / (marched | traced).sum() > 0.7


@pytest.mark.parametrize("azimuth", [2.2, 2.3, 2.4])
def test_bodies_are_shaded_where_the_march_between_cushions_finds_it(
    shapes: Supply, azimuth: float
) -> None:
    boxes = (0.1, 0.3, 0.4, 0.7), (0.36, 0.4, 0.66, 0.75)
    staging = staged(*boxes, cutout=1, azimuth=azimuth, elevation=0.5, softness=0.1)
    alpha = staged_layers([staging], shapes, SIZE).alpha[:, 1:]
    bodies, light = standing(alpha), staged_light([staging], shapes.device)
    earlier, later = (bodies.indexed((slice(None), slice(body, body + 1))) for body in (0, 1))
    open_light = lambert(later.seen(facing(later), (SIZE, SIZE)), light).clamp(min=0) / FRONT
    kept = torch.maximum(
        intercepted(earlier, later, light, 1, (SIZE, SIZE)),
        intercepted(later, later, light, 0, (SIZE, SIZE)),
    )
    solid = alpha[:, 1:] > 0.8
    traced = rendered(staging, shapes).own_key[:, 1:]
    alone, shaded = (
        (marched - traced)[solid].square().mean().sqrt()
        for marched in (open_light, open_light * (1 - kept))
    )
    assert shaded < 0.6 * alone


def test_what_is_seen_before_a_body_is_not_dark_for_standing_inside_it(shapes: Supply) -> None:
    """A board whose middle is as far away as that of a thick disc behind it."""
    boxes = (0.2, 0.2, 0.8, 0.8), (0.45, 0.65, 0.53, 0.77)
    bodies = tuple(
        Body(cutout=cutout, flipped=False, box=box)
        for cutout, box in zip((1, 0), boxes, strict=True)
    )
    staging = replace(staged(boxes[0], azimuth=-math.pi / 2), bodies=bodies)  # light in front
    solid = staged_layers([staging], shapes, SIZE).alpha[:, 2] > 0.8
    transport = rendered(staging, shapes)
    assert transport.own_key[:, 1][solid].mean() > 0.5
    assert transport.own_sky[:, 1][solid].mean() > 0.1


def test_bodies_are_seen_where_the_layers_show_them(shapes: Supply) -> None:
    staging = staged((-0.1, 0.3, 0.6, 1.0), cutout=1)
    pixel = torch.arange(SIZE * SIZE)
    seen = world_of(staging, shapes, SIZE).body(0, pixel, torch.full((2, SIZE * SIZE, 1), 0.5)).real
    shown = staged_layers([staging], shapes, SIZE).alpha[0, 1].flatten()[:, None] > 0.5
    assert (seen & shown).sum() / (seen | shown).sum() > 0.95


def test_a_body_is_lit_on_the_side_of_the_light(shapes: Supply) -> None:
    own = rendered(staged(MIDDLE, cutout=1, azimuth=0.0), shapes).own_key[0, 0, 0]
    row = own[round(0.6 * SIZE)]
    assert row[round(0.66 * SIZE)] > 0.5
    assert row[round(0.34 * SIZE)] < 0.05


def test_an_upright_face_sees_half_the_sky_and_half_the_ground(shapes: Supply) -> None:
    transport = rendered(staged(MIDDLE, azimuth=1.5 * math.pi), shapes)
    middle = (0, 0, 0, round(0.6 * SIZE), SIZE // 2)
    assert float(transport.own_sky[middle]) == pytest.approx(1.1 / 2, abs=0.03)
    assert float(transport.own_ground[middle]) == pytest.approx(0.75 / 2, abs=0.05)
    assert float(transport.own_key[middle]) == pytest.approx(math.sqrt(0.5) / 0.7, abs=0.05)


def test_a_new_body_changes_nothing_where_it_takes_no_light(shapes: Supply) -> None:
    near = (0.55, 0.6, 0.85, 0.9)
    alone = rendered(staged(FAR_LEFT, azimuth=1.5 * math.pi), shapes)
    both = rendered(staged(FAR_LEFT, near, azimuth=1.5 * math.pi), shapes)
    assert torch.equal(alone.key[:, 0], both.key[:, 0])
    assert torch.equal(alone.own_sky[:, 0], both.own_sky[:, 0])
    on_first = staged_layers([staged(FAR_LEFT)], shapes, SIZE).alpha[0, 1, 0] == 1
    torch.testing.assert_close(both.key[0, 1, 0][on_first], alone.own_key[0, 0, 0][on_first])


def test_a_shadow_falls_on_the_body_behind(shapes: Supply) -> None:
    behind, before = (0.35, 0.3, 0.65, 0.6), (0.3, 0.4, 0.7, 0.7)
    transport = rendered(staged(behind, before, azimuth=1.5 * math.pi, elevation=0.4), shapes)
    spot = (0, 0, 0, round(0.5 * SIZE), SIZE // 2)
    assert transport.own_key[spot] > 0.9
    assert transport.key[:, 1:][spot] < 0.1


def test_nothing_is_received_beyond_the_edge_of_a_table(shapes: Supply) -> None:
    light = {"azimuth": 1.5 * math.pi, "elevation": 0.2}
    keys = [
        rendered(staged(MIDDLE, ground=ground, **light), shapes).key[0, 0, 0]
        for ground in (Ground.matte, Ground.table)
    ]
    beyond = slice(round(0.54 * SIZE), round(0.6 * SIZE))
    assert keys[0][beyond, SIZE // 2].max() < 0.05
    assert keys[1][beyond].min() > 0.99
    torch.testing.assert_close(below(keys[0], 0.66), below(keys[1], 0.66), atol=1e-3, rtol=0)


def test_shadows_climb_a_wall(shapes: Supply) -> None:
    light = {"azimuth": 1.5 * math.pi, "elevation": 0.2}
    keys = [
        rendered(staged(MIDDLE, ground=ground, **light), shapes).key[0, 0, 0]
        for ground in (Ground.matte, Ground.wall)
    ]
    reached = (round(0.49 * SIZE), SIZE // 2)  # on the ground, the shadow ends at 0.52
    assert keys[0][reached] > 0.85
    assert keys[1][reached] < 0.05


def test_a_mirror_shows_a_body_upside_down_below_its_foot(shapes: Supply) -> None:
    mirror = rendered(staged((0.35, 0.4, 0.6, 0.65), ground=Ground.glossy), shapes).mirror[0, 0]
    coverage, column = mirror[3], round(0.47 * SIZE)
    near, far = round(0.69 * SIZE), round(0.85 * SIZE)
    red, blue = mirror[0], mirror[2]
    assert coverage[near, column] == pytest.approx(0.75, abs=0.05)
    assert coverage[: round(0.6 * SIZE)].max() < 0.05
    assert blue[near, column] > 0.9 > 0.1 > red[near, column]
    assert red[far, column] > 0.9 > 0.1 > blue[far, column]


def test_a_dull_ground_mirrors_nothing(shapes: Supply) -> None:
    assert not rendered(staged(MIDDLE), shapes).mirror.any()


@pytest.fixture
def made(
    monkeypatch: pytest.MonkeyPatch, supply: Supply
) -> Callable[[Path, Content, range], Digests]:
    """Shards of tiny pictures made from a given supply."""
    monkeypatch.setattr("annotator.scenes.rendering._supply", lambda split: supply)

    def make(path: Path, content: Content, numbers: range) -> Digests:
        shard = Shard(
            path=path,
            content=content,
            numbers=numbers,
            split=Path("nowhere"),
            seed=3,
            size=16,
            samples=2,
        )
        return render(shard)

    return make


@pytest.mark.parametrize("content", list(Content))
def test_resumed_rendering_equals_uninterrupted(
    made: Callable[[Path, Content, range], Digests], tmp_path: Path, content: Content
) -> None:
    whole = [made(tmp_path / f"{i}.tar", content, range(2 * i, 2 * i + 2)) for i in range(2)]
    later = made(tmp_path / "later.tar", content, range(2, 4))
    assert made(tmp_path / "0.tar", content, range(0, 2)) == whole[0]
    assert later == whole[1] != whole[0]


def test_a_missing_library_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("annotator.scenes.tracing._works", lambda variant: False)
    monkeypatch.delenv("DRJIT_LIBLLVM_PATH")
    with pytest.raises(NoTracerError) as caught:
        start_tracing(threads=1, folder=tmp_path)
    assert "DRJIT_LIBLLVM_PATH" in str(caught.value)
    assert "apt install libllvm19" in str(caught.value)
    assert "\n" not in str(caught.value)
