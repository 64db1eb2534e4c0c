"""Laws of occlusion: shadows fall away from the light, and a march finds what many steps find."""

import math

import pytest
import torch
import torch.nn.functional as F
from subjects import SIDE as SIZE
from subjects import light_from, pillar
from torch import Tensor

from ldm.occlusion import (
    key_directions,
    key_occlusion,
    occlusion,
    remaining,
    sky_occlusion,
)
from ldm.projection import FOCAL, Standing, blur, standing


def shadow_centre(azimuth: float) -> tuple[float, float]:
    """Where the middle of the pillar's shadow lies, column and row in pixels."""
    shadow = key_occlusion(standing(pillar()), light_from(azimuth), (SIZE, SIZE))[0, 0, 0]
    grid = torch.arange(SIZE) + 0.5
    mass = shadow.sum()
    return float((shadow.sum(0) * grid).sum() / mass), float((shadow.sum(1) * grid).sum() / mass)


def test_shadow_falls_away_from_the_light() -> None:
    assert shadow_centre(0.0)[0] < 27 < 37 < shadow_centre(math.pi)[0]
    assert shadow_centre(-math.pi / 2)[1] < 44 < shadow_centre(math.pi / 2)[1]


def test_lower_light_throws_longer_shadow() -> None:
    bodies = standing(pillar())
    low, high = (
        key_occlusion(bodies, light_from(0.3, elevation), (SIZE, SIZE)).sum()
        for elevation in (0.4, 1.1)
    )
    assert low > 1.3 * high


def test_shadow_of_the_sky_is_darkest_at_the_foot() -> None:
    sky = sky_occlusion(standing(pillar()), (SIZE, SIZE))[0, 0, 0]
    assert sky[43:45, 30:34].mean() > 3 * sky[56:60, 30:34].mean()


def test_nothing_throws_no_shadow() -> None:
    bodies = standing(torch.zeros(1, 2, 1, SIZE, SIZE))
    assert sky_occlusion(bodies, (SIZE, SIZE)).abs().max() == 0
    assert key_occlusion(bodies, light_from(1.0), (SIZE, SIZE)).abs().max() == 0


def test_shadows_of_one_light_do_not_add_up() -> None:
    shadow = torch.rand(1, 1, 1, 4, 4)
    left = remaining(shadow.expand(-1, 2, -1, -1, -1))
    torch.testing.assert_close(left[:, 1], 1 - shadow[:, 0])
    torch.testing.assert_close(left[:, 2], left[:, 1])


def crowd(size: tuple[int, int]) -> Standing:
    """Two pictures: a pillar at the left rim and a planet's disc that is cut off below; a plate in
    the right half, and nothing."""
    height, width = size
    alpha = torch.zeros(2, 2, 1, height, width)
    alpha[0, 0, :, height // 3 : height * 3 // 4, : width // 8] = 1
    y, x = (torch.arange(height)[:, None] - height, torch.arange(width) - width // 2)
    alpha[0, 1, 0] = (height / 4 - (x.square() + y.square()).sqrt()).clamp(0, 1)
    alpha[1, 0, :, height // 2 : height * 2 // 3, width // 2 :] = 1
    return standing(alpha)


def body_of(bodies: Standing, slot: int) -> Standing:
    """One body of the first picture."""
    return Standing(**{name: part[:1, slot : slot + 1] for name, part in vars(bodies).items()})


def marched(bodies: Standing, azimuth: Tensor, elevation: Tensor, size: tuple[int, int]) -> Tensor:
    """The formula word by word, three steps: at each point of the picture, step by step."""
    height, width = size
    y = ((torch.arange(height) + 0.5) / height)[:, None]
    x = (torch.arange(width) + 0.5 - width / 2) / height
    base, horizon, depth, top, left, right = (
        value[:, :, None, None]
        for value in (
            *(bodies.base, bodies.horizon, bodies.depth, bodies.top),
            *(bodies.outline[..., 0], bodies.outline[..., 2]),
        )
    )
    begin, above, end, _ = bodies.canvas[..., None, None].unbind(dim=2)
    nearness = (base - horizon) / (y - horizon).clamp(min=0.02)
    behind = FOCAL * (nearness - 1)
    total = torch.zeros(*bodies.base.shape, height, width)
    for k in range(azimuth.shape[1]):
        slope = 1 / torch.tan(elevation[:, k, None, None, None])
        away = torch.sin(azimuth[:, k, None, None, None]) * slope
        across = torch.cos(azimuth[:, k, None, None, None]) * slope
        narrow, wide = 1 - depth / FOCAL, 1 + depth / FOCAL
        least = torch.minimum(narrow * left, wide * left) - x * nearness
        most = torch.maximum(narrow * right, wide * right) - x * nearness
        ends = [(-depth - behind) / away, (depth - behind) / away, least / across, most / across]
        low = torch.maximum(torch.minimum(*ends[:2]), torch.minimum(*ends[2:])).clamp(min=0)
        highest = base - top + (horizon - top).abs() * depth / FOCAL
        high = torch.minimum(torch.maximum(*ends[:2]), torch.maximum(*ends[2:]))
        high = torch.minimum(high, highest)
        thickest = torch.full_like(total, -math.inf)
        for step in range(3):
            up = low + (high - low) * ((step + k * 0.618034 % 1) / 3)
            distance = 1 + (behind + away * up) / FOCAL
            column = (x * nearness + across * up) / distance
            row = horizon + (base - horizon - up) / distance
            places = [
                2 * (column - begin) / (end - begin) - 1,
                2 * (row - above) / (end - begin) - 1,
            ]
            solid = F.grid_sample(
                bodies.solid.flatten(0, 1),
                torch.stack(places, dim=-1).flatten(0, 1),
                align_corners=False,
            )
            off = (behind + away * up).abs() / depth
            thickest = torch.maximum(thickest, 1.4 * solid.view_as(total) - off)
        total += (thickest / 0.1).clamp(0, 1) * (high > low)
    ground = (y > horizon) & bodies.present[:, :, None, None]
    return (total / azimuth.shape[1] * ground)[:, :, None]


@pytest.mark.parametrize("size", [(48, 64), (64, 48)])
def test_where_no_shadow_reaches_nothing_is_missed(size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    bodies = crowd(size)
    for _ in range(10):
        azimuth = 6.3 * torch.rand(2, 4, generator=generator)
        elevation = 0.15 + 1.2 * torch.rand(2, 4, generator=generator)
        found = occlusion(bodies, azimuth, elevation, 3, size)
        expected = marched(bodies, azimuth, elevation, size)
        assert expected.flatten(2).amax(dim=-1)[0].gt(0.2).all()
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)
        alone = occlusion(body_of(bodies, 1), azimuth[:1], elevation[:1], 3, size)
        torch.testing.assert_close(alone, expected[:1, 1:], atol=2e-5, rtol=0)


def test_a_body_throws_its_shadow_whoever_stands_beside_it() -> None:
    bodies = crowd((48, 64))
    apart = [body_of(bodies, slot) for slot in (0, 1)]
    together = sky_occlusion(bodies, (48, 64))[:1]
    alone = torch.cat([sky_occlusion(body, (48, 64)) for body in apart], dim=1)
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)


def test_a_shadow_is_sharp_at_the_foot_and_soft_away_from_it() -> None:
    """How wide the shadow's edges are in a row: of a ramp it is a sixth of its length."""
    size = (4 * SIZE, 4 * SIZE)
    bodies = standing(F.interpolate(pillar()[0], size=size)[None])
    light = light_from(2.2)
    shadow = key_occlusion(bodies, light, size)
    exact = occlusion(bodies, *key_directions(light, 48), 24, size)
    even = blur(exact, 0.005)
    foot = round(float(bodies.base) * size[0]) + 1

    def edges(occluded: Tensor, row: int) -> float:
        return float((occluded * (1 - occluded))[0, 0, 0, row].sum())

    assert edges(shadow, foot) < 0.6 * edges(even, foot)
    assert edges(shadow, foot + 20) > 0.8 * edges(even, foot + 20)
    assert (shadow - exact).square().mean().sqrt() < 0.15 * exact.square().mean().sqrt()
