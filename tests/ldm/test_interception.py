"""Laws of interception: bodies shade each other on the side away from the light."""

import math

import pytest
import torch
from subjects import SIDE, light_from
from torch import Tensor

from ldm.interception import intercepted
from ldm.projection import Standing, standing

FRONT, BACK = -math.pi / 2, math.pi / 2


def box(top: int, bottom: int, left: int, right: int) -> Standing:
    """An upright box."""
    alpha = torch.zeros(1, 1, 1, SIDE, SIDE)
    alpha[..., top:bottom, left:right] = 1
    return standing(alpha)


SIZE = (SIDE, SIDE)
LEFT, RIGHT = box(16, 46, 8, 24), box(28, 46, 32, 48)


def solid(body: Standing) -> Tensor:
    """How thick a body is where it is seen."""
    return body.seen(body.solid, SIZE)


def share(caster: Standing, receiver: Standing, azimuth: float) -> Tensor:
    """What the caster keeps from the receiver's middle, which is seen behind it."""
    light = light_from(azimuth, 0.4)
    found = intercepted(caster, receiver, light, 0 if caster is receiver else -1, SIZE)
    return found[solid(receiver) > 0.5].mean()


def test_a_neighbour_shades_on_the_side_away_from_the_light() -> None:
    assert share(LEFT, RIGHT, math.pi) > 0.4
    assert share(LEFT, RIGHT, 0.0) == 0
    assert share(RIGHT, LEFT, 0.0) > 0.05
    assert share(RIGHT, LEFT, math.pi) == 0


def test_a_body_shades_its_own_front_from_light_behind_it() -> None:
    assert share(LEFT, LEFT, BACK) > 0.7
    assert share(LEFT, LEFT, FRONT) < 0.05


def test_what_stands_nearer_shades_what_is_behind_it_from_light_in_front() -> None:
    near = box(30, 60, 24, 40)
    assert share(near, RIGHT, FRONT) > 0.1
    assert share(RIGHT, near, FRONT) == 0


@pytest.mark.parametrize(("ahead", "kept"), [(1, False), (-1, True)])
def test_what_is_seen_before_a_body_is_never_inside_it(ahead: int, kept: bool) -> None:
    """A thin body, as far away as the middle of a thick one."""
    thick, thin = box(10, 50, 10, 54), box(20, 47, 30, 34)
    found = intercepted(thick, thin, light_from(FRONT, 0.4), ahead, SIZE)
    assert bool(found[solid(thin) > 0.5].amin() > 0.5) is kept
    assert bool(found[solid(thin) > 0].any()) is kept


def test_nothing_keeps_nothing_and_from_nothing_nothing_is_kept() -> None:
    nothing = standing(torch.zeros(1, 1, 1, SIDE, SIDE))
    light = light_from(math.pi)
    for caster, receiver in ((nothing, RIGHT), (LEFT, nothing)):
        assert not intercepted(caster, receiver, light, 1, SIZE).any()
