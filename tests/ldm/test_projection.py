"""Laws of bodies on the ground: light falls on the side towards it, mirrors turn upside down."""

import pytest
import torch
from subjects import SIDE as SIZE
from subjects import light_from, pillar
from torch import Tensor

from ldm.projection import (
    Standing,
    blur,
    facing,
    lambert,
    mirrored,
    standing,
)


def test_lit_side_is_the_one_towards_the_light() -> None:
    bodies = standing(pillar())
    normals = bodies.seen(facing(bodies), (SIZE, SIZE))
    shade = lambert(normals, light_from(0.0))[0, 0, 0, 24:40]
    assert shade[:, 33:37].mean() > shade[:, 27:31].mean() + 0.1


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
    assert bodies.outline[0, 0].tolist() == [-5 / SIZE, 20 / SIZE, 5 / SIZE, 44 / SIZE]
    assert bool(bodies.present)
    solid = bodies.seen(bodies.solid, (SIZE, SIZE))
    assert solid[..., 21:43, 28:36].amin() > 0
    assert solid[..., :19, :].amax() == solid[..., 38:].amax() == 0


@pytest.mark.parametrize("size", [(128, 128), (96, 64)])
def test_a_body_has_one_shape_however_large_it_is_seen_and_wherever(size: tuple[int, int]) -> None:
    small, large = (
        standing(disc(size, *place)) for place in ((30.0, 20.0, 10.0), (64.0, 32.0, 20.0))
    )
    assert (small.solid - large.solid).abs().mean() < 0.03
    torch.testing.assert_close(2 * small.depth, large.depth, rtol=0.06, atol=0)


def disc(size: tuple[int, int], row: float, column: float, radius: float) -> Tensor:
    """Alpha of a round layer."""
    y, x = torch.arange(size[0])[:, None] + 0.5 - row, torch.arange(size[1]) + 0.5 - column
    return (radius + 0.5 - (x.square() + y.square()).sqrt()).clamp(0, 1)[None, None, None]
