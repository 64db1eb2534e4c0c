"""Laws of analytic transport, and of the scenes made with it."""

import math

import pytest
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import DataLoader

from annotator.scenes.analytic import analytic_transport
from annotator.scenes.dataset import AnalyticScenes
from annotator.scenes.staged import staged_layers, staged_light
from annotator.scenes.staging import Body, Ground, KeyLight, Staging
from annotator.scenes.supply import Supply
from annotator.scenes.transport import Transport, lit, surroundings
from ldm.occlusion import key_occlusion, sky_occlusion
from ldm.projection import HORIZON, standing

SIZE = 64
ALONE = Body(cutout=0, flipped=False, box=(0.35, 0.5, 0.65, 0.8))
LEFT = Body(cutout=1, flipped=False, box=(0.02, 0.42, 0.27, 0.67))
RIGHT = Body(cutout=2, flipped=False, box=(0.7, 0.55, 0.98, 0.83))


def staged(
    *bodies: Body,
    azimuth: float = 1.0,
    ground: Ground = Ground.matte,
    border: float = HORIZON,
    elevation: float = 0.7,
    softness: float = 0.3,
) -> Staging:
    """A staging of some bodies."""
    return Staging(
        bodies=bodies,
        num_witnesses=0,
        backdrop=0,
        view=(0.0, 0.0, 1.0, 1.0),
        mirrored=False,
        ground=ground,
        gloss=0.0,
        border=border,
        light=KeyLight(
            azimuth=azimuth,
            elevation=elevation,
            colour=(1.2, 1.0, 0.8),
            softness=softness,
            ambient=0.4,
        ),
    )


def transport_of(supply: Supply, *stagings: Staging) -> Transport:
    """What the bodies of stagings do to their light."""
    layers = staged_layers(stagings, supply, SIZE)
    return analytic_transport(layers, staged_light(stagings, supply.device), stagings)


def shadows_and_alpha(
    supply: Supply, staging: Staging
) -> tuple[Float[Tensor, "m 3 h w"], Float[Tensor, "m 1 h w"]]:
    """The shadows of the bodies of one staging, and their alphas."""
    layers = staged_layers([staging], supply, SIZE)
    light = staged_light([staging], supply.device)
    around = surroundings(layers.rgb[:, 0], torch.zeros(1))
    effects = lit(layers, analytic_transport(layers, light, [staging]), light, around)
    return effects.shadow[0, 1:], layers.alpha[0, 1:]


def test_where_no_body_is_all_light_stays(supply: Supply) -> None:
    empty = transport_of(supply, staged(), staged(ALONE))
    assert (empty.key[0] == 1).all()
    assert (empty.sky[0] == 1).all()
    assert not bool(empty.present[0].any())
    assert empty.mirror[0].abs().sum() == 0


def test_a_lone_body_takes_from_the_ground_what_it_hides(supply: Supply) -> None:
    staging = staged(ALONE)
    found = transport_of(supply, staging)
    bodies = standing(staged_layers([staging], supply, SIZE).alpha[:, 1:])
    light = staged_light([staging], supply.device)
    key = 1 - key_occlusion(bodies, light, (SIZE, SIZE))
    assert torch.allclose(found.key, key.clamp(min=0.02), atol=1e-5)
    sky = 1 - sky_occlusion(bodies, (SIZE, SIZE))
    assert torch.allclose(found.sky, sky, atol=1e-5)


def test_where_key_shadows_meet_they_are_no_darker_than_one(supply: Supply) -> None:
    one = transport_of(supply, staged(ALONE))
    two = transport_of(supply, staged(ALONE, ALONE))
    alpha = staged_layers([staged(ALONE)], supply, SIZE).alpha[0, 1, 0]
    bare = alpha == 0
    assert torch.allclose(two.key[0, 1, 0][bare], one.key[0, 0, 0][bare], atol=1e-5)
    assert torch.allclose(two.sky[0, 1, 0][bare], one.sky[0, 0, 0][bare].square(), atol=1e-5)


def test_all_shadows_together_are_the_light_that_is_left(supply: Supply) -> None:
    staging = staged(LEFT, ALONE, RIGHT, azimuth=0.1)
    found = transport_of(supply, staging)
    shadows, alpha = shadows_and_alpha(supply, staging)
    layers = staged_layers([staging], supply, SIZE)
    sky = surroundings(layers.rgb[:, 0], torch.zeros(1)).sky[0] * staging.light.ambient
    key = torch.tensor(staging.light.colour) * (1 - staging.light.ambient)
    sky, key = sky[:, None, None], key[:, None, None]
    left = (sky * found.sky[0, -1] + key * found.key[0, -1]) / (sky + key)
    bare = (alpha.amax(dim=0) == 0).expand_as(left)
    together = shadows.prod(dim=0)
    assert torch.allclose(together[bare], left[bare].sqrt(), atol=1e-4)
    assert together[bare].amin() < 0.8


def test_a_body_leaves_the_light_on_others_that_it_does_not_reach(supply: Supply) -> None:
    """Light from the left: the shadow of the right one falls to the right."""
    shadows, alpha = shadows_and_alpha(supply, staged(LEFT, RIGHT, azimuth=math.pi))
    inside = (alpha[0] > 0.99).expand(3, -1, -1)
    assert shadows[1][inside].amin() > 0.97


def test_light_from_the_other_side_throws_the_shadow_to_the_other_side(supply: Supply) -> None:
    one = transport_of(supply, staged(ALONE, azimuth=0.6, softness=0.0))
    other = transport_of(supply, staged(ALONE, azimuth=math.pi - 0.6, softness=0.0))
    unlike = (one.key - other.key.flip(-1)).abs()  # the light's disc is not quite symmetric
    assert unlike.sum() < 0.03 * (1 - one.key).sum()
    assert torch.allclose(one.own_key, other.own_key.flip(-1), atol=1e-3)
    column = torch.linspace(-1, 1, SIZE)
    assert ((1 - one.key) * column).sum() < -0.1 * (1 - one.key).sum()


def test_a_shadow_ends_where_the_table_ends(supply: Supply) -> None:
    staging = staged(ALONE, azimuth=1.5 * math.pi, ground=Ground.table, border=0.7)
    found = transport_of(supply, staging)
    beyond = int(0.7 * SIZE) - 1
    assert (found.key[..., :beyond, :] == 1).all()
    assert (found.sky[..., :beyond, :] == 1).all()
    assert found.key.amin() < 0.7


@pytest.mark.parametrize("turn", [-0.5, 0.0, 0.5])
def test_a_shadow_on_a_wall_is_the_silhouette_moved_along_the_light(
    supply: Supply, turn: float
) -> None:
    """By similar triangles: the wall stands `distance` behind the body's foot."""
    staging = staged(
        ALONE, azimuth=1.5 * math.pi + turn, elevation=0.4, ground=Ground.wall, border=0.68
    )
    key = transport_of(supply, staging).key[0, 0, 0]
    wall = 1 - key[: int(0.68 * SIZE) - 1]
    assert wall.amax() > 0.9
    base = float(standing(staged_layers([staging], supply, SIZE).alpha[:, 1:]).base[0, 0])
    smaller = (0.68 - HORIZON) / (base - HORIZON)
    distance = 1.1 * (1 / smaller - 1)
    column = (torch.arange(SIZE) + 0.5) / SIZE
    found = float((wall * column).sum() / wall.sum())
    assert found == pytest.approx(0.5 - distance * math.tan(turn) * smaller, abs=0.02)


def scenes_from(supply: Supply, *, first: int = 0, num_batches: int = 4) -> AnalyticScenes:
    """Small scenes."""
    return AnalyticScenes(
        supply, size=32, batch_size=2, num_batches=num_batches, seed=3, first=first
    )


def test_batches_depend_on_seed_and_number_not_on_workers(supply: Supply) -> None:
    alone = list(scenes_from(supply))
    shared = list(DataLoader(scenes_from(supply), batch_size=None, num_workers=2))
    for one, other in zip(alone, shared, strict=True):
        assert torch.equal(one.layers.rgba, other.layers.rgba)
        assert torch.equal(one.effects.shadow, other.effects.shadow)
    assert not torch.equal(alone[0].layers.rgb[:, 0], alone[1].layers.rgb[:, 0])
    [last] = scenes_from(supply, first=3, num_batches=1)
    assert torch.equal(last.layers.rgba, alone[3].layers.rgba)


def test_effects_keep_their_ranges(supply: Supply) -> None:
    for scene in scenes_from(supply, num_batches=8):
        effects = scene.effects
        for effect in (effects.multiply, effects.add, effects.shadow, effects.reflection):
            assert effect.amin() >= 0
            assert effect.amax() <= 1
        shadowed = effects.shadow.amin(dim=(2, 3, 4)) < 0.95
        assert (shadowed | ~scene.layers.present)[:, 1:].all()
