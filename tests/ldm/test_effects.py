"""Laws of effects on sheets: identity shows the plain stack, order and blends are as documented."""

import torch

from ldm.compositing import stack
from ldm.document import Blend, flatten
from ldm.effects import effects_document
from ldm.values import Effects, Layers, identity_effects

NAMES = ("back", "far", "near")


def layers() -> Layers:
    """Three random layers of which the last is absent in one of two pictures."""
    rgba = torch.rand(2, 3, 4, 8, 10)
    rgba[:, 0, 3] = 1
    rgba[1, 2] = 0
    return Layers(rgba=rgba, present=torch.tensor([[True, True, True], [True, True, False]]))


def test_identity_shows_the_plain_stack() -> None:
    value = layers()
    picture = flatten(effects_document(value, identity_effects(value), NAMES))
    rgb, alpha = picture.split([3, 1], dim=1)
    torch.testing.assert_close(rgb, stack(value), atol=1e-6, rtol=0)
    assert (alpha == 1).all()


def test_sheets_stand_in_groups_from_below() -> None:
    value = layers()
    sheets = effects_document(value, identity_effects(value), NAMES).sheets
    assert [sheet.name for sheet in sheets[:3]] == ["back", "back shade", "back shine"]
    assert [(sheet.name, sheet.blend, sheet.clipped) for sheet in sheets[3:8]] == [
        ("far reflection", Blend.NORMAL, False),
        ("far shadow", Blend.MULTIPLY, False),
        ("far", Blend.NORMAL, False),
        ("far shade", Blend.MULTIPLY, True),
        ("far shine", Blend.ADD, True),
    ]
    assert [sheet.group for sheet in sheets] == ["back"] * 3 + ["far"] * 5 + ["near"] * 5


def test_slots_that_are_always_absent_have_no_sheets() -> None:
    value = layers()
    value = Layers(rgba=value.rgba, present=torch.tensor([[True, True, False]] * 2))
    sheets = effects_document(value, identity_effects(value), NAMES).sheets
    assert "near" not in {sheet.group for sheet in sheets}


def test_shadow_darkens_what_lies_behind_only() -> None:
    value, dark = layers(), identity_effects(layers())
    shadow = torch.ones_like(dark.shadow)
    shadow[:, 2] = 0.5
    effects = Effects(
        multiply=dark.multiply,
        add=dark.add,
        shadow=shadow,
        reflection=dark.reflection,
        alpha=value.alpha,
    )
    rgb = flatten(effects_document(value, effects, NAMES)).split([3, 1], dim=1)[0]
    below = stack(value.take(torch.tensor([0, 1])))
    top = value.rgba[:, 2]
    colour, alpha = top.split([3, 1], dim=1)
    torch.testing.assert_close(rgb, torch.lerp(0.5 * below, colour, alpha), atol=1e-6, rtol=0)


def test_picture_is_differentiable_in_every_effect() -> None:
    value = layers()
    plain = identity_effects(value)
    leaves = [
        (0.8 * tensor + 0.1).requires_grad_()
        for tensor in (plain.multiply, plain.add, plain.shadow, plain.reflection, plain.alpha)
    ]
    multiply, add, shadow, reflection, alpha = leaves
    effects = Effects(multiply=multiply, add=add, shadow=shadow, reflection=reflection, alpha=alpha)
    flatten(effects_document(value, effects, NAMES)).square().sum().backward()
    for leaf in leaves:
        assert leaf.grad is not None
        assert leaf.grad.abs().sum() > 0
