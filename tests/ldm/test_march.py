"""Laws of the march: bodies are where a viewer sees them, and rays meet what is in their way."""

import math

import torch
from subjects import SIDE, pillar

from ldm.march import Rays, even_steps, slopes, stopped, thickness
from ldm.projection import FOCAL, Standing, standing


def places(bodies: Standing, distance: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Where all pixels of a picture lie in space so far away, the body's distance being 1."""
    line = (torch.arange(SIDE) + 0.5) / SIDE
    foot = bodies.base - bodies.horizon
    right = ((line - 0.5) * distance).expand(1, 1, 1, SIDE, SIDE)
    up = foot - (line[:, None] - bodies.horizon) * distance
    behind = torch.full_like(right, FOCAL * (distance - 1))
    return right, up.expand_as(right), behind


def test_along_a_line_of_view_a_body_is_as_thick_everywhere() -> None:
    bodies = standing(pillar())
    here, nearer, farther = (
        thickness(bodies, *places(bodies, distance)) for distance in (1.0, 0.9, 1.1)
    )
    assert here.amax() > 0.9
    seen = bodies.seen(bodies.solid, (SIDE, SIDE))
    assert (here[:, :, 0] - seen[:, :, 0]).abs().mean() < 0.005
    torch.testing.assert_close(nearer, here, atol=1e-4, rtol=0)
    torch.testing.assert_close(farther, here, atol=1e-4, rtol=0)


def test_where_a_viewer_stands_nothing_is_thick() -> None:
    """There zero would be divided by zero."""
    bodies = standing(pillar())
    nowhere = torch.zeros(1, 1, 1, 1, 1)
    assert float(thickness(bodies, nowhere, nowhere, nowhere - FOCAL)) == 0


def share(azimuth: float, elevation: float, right: float, behind: float) -> float:
    """How much of one ray that begins on the ground a pillar stops."""
    bodies = standing(pillar())
    across, away = slopes(torch.tensor([[azimuth]]), torch.tensor([[elevation]]))
    where = torch.zeros(1, 1, 1, 1, 1)
    rays = Rays(right=where + right, up=where, behind=where + behind, across=across, away=away)
    return float(stopped(bodies, rays, 8))


def test_a_ray_through_the_middle_is_stopped_and_one_beside_it_is_not() -> None:
    assert share(math.pi / 2, 0.5, 0.0, -0.2) == 1  # from in front, away from the viewer
    assert share(math.pi / 2, 0.5, 0.3, -0.2) == 0
    assert share(-math.pi / 2, 0.5, 0.0, 0.2) == 1  # from behind, towards the viewer
    assert share(-math.pi / 2, 0.5, 0.0, -0.2) == 0
    assert share(0.0, 0.5, -0.3, 0.0) == 1  # from the left, to the right
    assert share(math.pi / 2, 1.5, 0.0, -0.2) == 0  # over its top


def test_steps_are_even_and_begin_at_their_offsets() -> None:
    found = even_steps(torch.tensor([0.0, 0.5]), 4)
    torch.testing.assert_close(found[0], torch.tensor([0.0, 0.25, 0.5, 0.75]))
    torch.testing.assert_close(found[1] - found[0], torch.full((4,), 0.125))


def test_nothing_stops_nothing() -> None:
    bodies = standing(torch.zeros(1, 1, 1, SIDE, SIDE))
    across, away = slopes(torch.tensor([[1.0]]), torch.tensor([[0.6]]))
    where = torch.zeros(1, 1, 1, 4, 4)
    rays = Rays(right=where, up=where, behind=where, across=across, away=away)
    assert not stopped(bodies, rays, 3).any()
