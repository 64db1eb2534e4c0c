"""Laws of lights: errors by geometry, and the fit to a network whose answer is known."""

import math
from dataclasses import replace

import torch
from relation_scenes import boxes_on_back, light

from cldm.relation.estimate import LightEstimate, certain
from cldm.relation.finding import found_light
from cldm.relation.guides import LightHint, told
from cldm.relation.network import PlainStacking
from ldm.compositing import crop_masks
from ldm.projection import blur
from ldm.values import Effects, Frames, Layers, Light, identity_effects
from paper.relation_light import light_errors, mean_light, turned


class Sundial(PlainStacking):
    """A network that throws a drop shadow away from the light, the farther the lower it is."""

    def estimated(self, layers: Layers) -> LightEstimate:
        return certain(light(azimuth=0.0, elevation=0.9, softness=0.6))

    def forward(self, layers: Layers, hint: LightHint) -> Effects:
        reach = 0.2 / torch.tan(hint.light.elevation.clamp(0.2, 1.4))
        across, down = (-reach * turn(hint.light.azimuth) for turn in (torch.cos, torch.sin))
        box = torch.stack([-across, down, 1 - across, 1 + down], dim=-1)[:, None]
        view = Frames(box=box.expand(-1, layers.present.shape[1], -1))
        moved = crop_masks(layers.alpha[:, :, 0], view, layers.size)[:, :, None]
        soft = [
            blur(each, 0.02 + 0.1 * s.item())
            for each, s in zip(moved, hint.light.softness, strict=True)
        ]
        taken = 0.7 * torch.stack(soft).expand(-1, -1, 3, -1, -1)
        return replace(identity_effects(layers), shadow=1 - taken)


def test_a_light_is_fitted_to_the_effects_it_makes() -> None:
    layers, network = boxes_on_back((12, 12, 20, 20)), Sundial()
    for azimuth, elevation, softness in ((2.0, 0.5, 0.1), (-1.0, 0.8, 0.5), (4.0, 1.0, 0.3)):
        true = light(azimuth, elevation, softness)
        known = network(layers, told(true))
        found = found_light(network, layers, known, torch.full((1, 1), 0.5))
        errors = light_errors(true, found)
        assert errors["direction_error_deg"] < 5
        assert errors["softness_error"] < 0.25
        assert errors["colour_error"] == 0


def test_errors_are_angles() -> None:
    def error(first: Light, second: Light, name: str) -> float:
        return light_errors(first, second)[f"{name}_error_deg"].item()

    east, north = light(0.0, 0.0), light(math.pi / 2, 0.0)
    assert math.isclose(error(east, north, "direction"), 90, rel_tol=1e-4)
    assert math.isclose(error(east, light(0.0, 0.5), "direction"), math.degrees(0.5), rel_tol=1e-4)
    assert math.isclose(error(east, light(0.0, 0.5), "elevation"), math.degrees(0.5), rel_tol=1e-4)
    # The short way round, over the zero.
    around = light(math.radians(350)), light(math.radians(10))
    assert math.isclose(error(*around, "azimuth"), 20, rel_tol=1e-3)
    # At the zenith no direction is left.
    zenith = light(0.0, math.pi / 2), light(2.0, math.pi / 2)
    assert error(*zenith, "direction") < 0.1


def test_colours_and_softness_err_by_their_difference() -> None:
    red = replace(light(softness=0.5), colour=torch.tensor([[1.3, 1.0, 0.7]]))
    errors = light_errors(light(softness=0.2), red)
    torch.testing.assert_close(errors["colour_error"], torch.tensor([0.2]))
    torch.testing.assert_close(errors["softness_error"], torch.tensor([0.3]))


def test_lights_from_opposite_sides_are_from_above_on_average() -> None:
    found = mean_light(light(0.0, 0.7, 0.2).joined(light(math.pi, 0.7, 0.4)))
    torch.testing.assert_close(found.elevation, torch.tensor([math.pi / 2]), atol=1e-3, rtol=0)
    torch.testing.assert_close(found.softness, torch.tensor([0.3]))
    alone = mean_light(light(2.0, 0.7))
    torch.testing.assert_close(alone.azimuth, torch.tensor([2.0]))
    torch.testing.assert_close(alone.elevation, torch.tensor([0.7]))


def test_a_handle_turns_by_as_much_as_the_light() -> None:
    found = turned(light(1.0, 0.2), light(2.0, 0.9), light(2.5, 1.0))
    torch.testing.assert_close(found.azimuth, torch.tensor([1.5]))
    torch.testing.assert_close(found.elevation, torch.tensor([0.3]))
    assert torch.equal(turned(light(), light(2.0), light(2.0)).azimuth, light().azimuth)
    assert turned(light(1.0, 0.2), light(1.0, 0.9), light(1.0, 0.3)).elevation == 0
