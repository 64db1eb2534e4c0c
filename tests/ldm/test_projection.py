"""Laws of bodies on the ground: shadows fall away from the light, mirrors turn upside down."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ldm.projection import (
    Standing,
    blur,
    key_occlusion,
    lambert,
    mirrored,
    remaining,
    sky_occlusion,
    standing,
)
from ldm.values import Light

SIZE = 64


def pillar() -> Float[Tensor, "1 1 1 h w"]:
    """An upright box in the middle of the picture that stands on row 44."""
    alpha = torch.zeros(1, 1, 1, SIZE, SIZE)
    alpha[..., 20:44, 27:37] = 1
    return alpha


def light_from(azimuth: float, elevation: float = 0.7) -> Light:
    """A small light in one direction."""
    one = torch.ones(1)
    return Light(
        azimuth=azimuth * one,
        elevation=elevation * one,
        colour=torch.ones(1, 3),
        softness=0.1 * one,
        ambient=0.4 * one,
    )


def shadow_centre(azimuth: float) -> tuple[float, float]:
    """Where the middle of the pillar's shadow lies, column and row in pixels."""
    shadow = key_occlusion(standing(pillar()), light_from(azimuth), (SIZE, SIZE))[0, 0, 0]
    grid = torch.arange(SIZE) + 0.5
    mass = shadow.sum()
    return float((shadow.sum(0) * grid).sum() / mass), float((shadow.sum(1) * grid).sum() / mass)


def test_shadow_falls_away_from_the_light() -> None:
    assert shadow_centre(0.0)[0] < 27 < 37 < shadow_centre(math.pi)[0]
    assert shadow_centre(-math.pi / 2)[1] < 44 < shadow_centre(math.pi / 2)[1]


def test_lit_side_is_the_one_towards_the_light() -> None:
    shade = lambert(standing(pillar()), light_from(0.0))[0, 0, 0, 24:40]
    assert shade[:, 33:37].mean() > shade[:, 27:31].mean() + 0.1


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


def test_blur_keeps_what_is_even() -> None:
    even = torch.full((2, 3, 20, 30), 0.3)
    torch.testing.assert_close(blur(even, 0.1), even)


def test_mirror_image_hangs_below_the_foot() -> None:
    rgba = torch.rand(1, 1, 4, 12, 5)
    image = mirrored(rgba, torch.tensor([[0.5]]))
    torch.testing.assert_close(image[..., 6:, :], rgba[..., :6, :].flip(-2))
    assert image[..., :6, :].abs().max() == 0


def test_body_is_measured_where_its_alpha_is() -> None:
    bodies: Standing = standing(pillar())
    assert float(bodies.top) == 20 / SIZE
    assert float(bodies.bottom) == 44 / SIZE
    assert bool(bodies.present)
    assert bodies.solid[..., 20:44, 27:37].amin() > 0
