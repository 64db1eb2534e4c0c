"""Loss terms of the relation network: pure functions of what is, what should be, and where."""

from jaxtyping import Float
from torch import Tensor

from ldm.values import Effects, Layers

_AFFECTED_WEIGHT = 4.0  # how much more a pixel counts where light and shadow changed it
_NOTICED = 0.02  # the change of a pixel that counts as half affected


def affected(
    truth: Float[Tensor, "b 3 h w"], plain: Float[Tensor, "b 3 h w"]
) -> Float[Tensor, "b 1 h w"]:
    """Where light and shadow change the plainly stacked picture, 0..1."""
    change = (truth - plain).abs().amax(dim=1, keepdim=True)
    return change / (change + _NOTICED)


def composite_loss(
    picture: Float[Tensor, "b 3 h w"],
    truth: Float[Tensor, "b 3 h w"],
    region: Float[Tensor, "b 1 h w"],
) -> Float[Tensor, ""]:
    """L1 between pictures, weighted towards the affected region."""
    return ((1 + _AFFECTED_WEIGHT * region) * (picture - truth).abs()).mean()


def stillness_loss(
    picture: Float[Tensor, "b 3 h w"],
    plain: Float[Tensor, "b 3 h w"],
    region: Float[Tensor, "b 1 h w"],
) -> Float[Tensor, ""]:
    """L1 to the plain picture where nothing should change."""
    return ((1 - region) * (picture - plain).abs()).mean()


def relit_loss(
    layers: Layers, effects: Effects, true_layers: Layers, truth: Effects
) -> Float[Tensor, ""]:
    """L1 between the lit colours of each layer, hidden parts too, where the layer is."""
    told = layers.rgb * effects.multiply + effects.add
    true = true_layers.rgb * truth.multiply + truth.add
    objects = truth.alpha[:, 1:]
    error = (told - true)[:, 1:].abs() * objects
    return error.sum() / (3 * objects.sum()).clamp(min=1)


def shadow_loss(effects: Effects, truth: Effects) -> Float[Tensor, ""]:
    """Squared error, whose best guess under unknown light is the mean: a soft shadow.

    Normalised by how much shadow there is.
    """
    error = (effects.shadow - truth.shadow).square().sum()
    return error / (1 - truth.shadow).square().sum().clamp(min=1)


def reflection_loss(effects: Effects, truth: Effects) -> Float[Tensor, ""]:
    """Squared error of the coverages of mirror images, whose best guess when in doubt is a faint
    one; that of L1 is none, and a network never leaves it.

    Normalised by how much reflection there is.
    """
    told, true = (value.reflection.split([3, 1], dim=2)[1] for value in (effects, truth))
    return (told - true).square().sum() / true.square().sum().clamp(min=true.numel() / 1000)


def alpha_loss(effects: Effects, truth: Effects) -> Float[Tensor, ""]:
    """L1 between alphas, along their soft edges."""
    edge = (truth.alpha > 0) & (truth.alpha < 1) | (effects.alpha > 0) & (effects.alpha < 1)
    return ((effects.alpha - truth.alpha).abs() * edge).sum() / edge.sum().clamp(min=1)
