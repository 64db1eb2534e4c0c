"""Laws of evidence: who stands in a known light already shows its shadow and its shade."""

from dataclasses import replace

import pytest
import torch
from relation_scenes import light
from subjects import picture

from cldm.relation.estimate import assumed, certain
from cldm.relation.evidence import evidence, judged
from cldm.relation.fields import shares
from cldm.relation.guides import LightHint, guides, told, unknown_hint
from ldm.projection import FRONT
from ldm.values import Layers, Light

SIZE = 128
LEFT, BEHIND = light(azimuth=2.6), light(azimuth=0.4)


def sheep() -> Layers:
    """A round sheep that stands before horses, both in no light."""
    line = (torch.arange(SIZE) + 0.5) / SIZE
    alpha = ((line[:, None] - 0.6).square() + (line - 0.5).square() < 0.15**2).float()
    back = torch.cat([0.3 + 0.4 * picture("horses.jpg", SIZE), torch.ones(1, SIZE, SIZE)])
    own = torch.cat([0.2 + 0.5 * picture("sheep.jpg", SIZE), alpha[None]])
    return Layers(rgba=torch.stack([back, own])[None], present=torch.ones(1, 2, dtype=torch.bool))


def standing_in(layers: Layers, sun: Light) -> Layers:
    """The same with shadow and shade of a light, in which linear light is the square."""
    found, (key, sky) = guides(layers, layers, sun), shares(sun)
    shadow = 1 - key * found.contact - sky * found.sky
    shade = key * found.direct / FRONT + sky * (0.6 + 0.4 * found.up)
    rgb, alpha = layers.rgba.split([3, 1], dim=2)
    lit = rgb * torch.cat([shadow, shade], dim=1).clamp(min=0).sqrt()
    return Layers(rgba=torch.cat([lit, alpha], dim=2), present=layers.present)


def odds(layers: Layers, sun: Light) -> float:
    return evidence(layers, guides(layers, layers, sun), sun).item()


def test_who_shows_a_light_stands_in_it_and_who_does_not_does_not() -> None:
    for sun in (LEFT, BEHIND):
        assert odds(sheep(), sun) < -5
        assert odds(standing_in(sheep(), sun), sun) > 5


def test_another_light_does_not_tell_for_it() -> None:
    lit = standing_in(sheep(), LEFT)
    assert odds(lit, BEHIND) < 1 < 20 < odds(lit, LEFT)


def test_what_is_not_seen_tells_nothing() -> None:
    layers = sheep()
    cover = layers.rgba[:, :1]
    hidden = Layers(
        rgba=torch.cat([layers.rgba, cover], dim=1), present=torch.ones(1, 3, dtype=torch.bool)
    )
    found = evidence(hidden, guides(hidden, hidden, LEFT), LEFT)
    assert found[0, 0] == 0


def verdict(layers: Layers, hint: LightHint, seen: float) -> float:
    """Whether the sheep agrees, if it is `seen` to do so with such likelihood."""
    found = guides(layers, layers, LEFT)
    light = assumed(hint, certain(LEFT), torch.full((1, 1), seen))
    return judged(light, hint, layers, found).agreed.item()


@pytest.mark.parametrize("seen", [0.2, 0.8])
def test_evidence_overrules_sight_where_the_light_is_told(seen: float) -> None:
    layers = sheep()
    assert verdict(layers, told(LEFT), seen) < 0.1
    assert verdict(standing_in(layers, LEFT), told(LEFT), seen) > 0.9


def test_without_a_light_sight_decides() -> None:
    for layers in (sheep(), standing_in(sheep(), LEFT)):
        assert [verdict(layers, unknown_hint(1), seen) for seen in (0.2, 0.9)] == [0, 1]


def test_what_is_told_of_who_agrees_stays() -> None:
    hint = replace(told(LEFT), agreed=torch.full((1, 1), 0.4))
    assert verdict(standing_in(sheep(), LEFT), hint, 0.4) == pytest.approx(0.4)
