"""Laws of bodies on the ground: light falls on the side towards it, mirrors turn upside down."""

import torch
from subjects import SIDE as SIZE
from subjects import light_from, pillar

from ldm.projection import (
    Standing,
    blur,
    facing,
    lambert,
    mirrored,
    standing,
)


def test_lit_side_is_the_one_towards_the_light() -> None:
    shade = lambert(facing(standing(pillar())), light_from(0.0))[0, 0, 0, 24:40]
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
    assert float(bodies.top) == 20 / SIZE
    assert float(bodies.bottom) == 44 / SIZE
    assert bool(bodies.present)
    assert bodies.solid[..., 20:44, 27:37].amin() > 0
