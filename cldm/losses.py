"""Loss terms, each a named pure function of tensors."""

from jaxtyping import Float
from torch import Tensor

from ldm.compositing import over


def over_colours(
    truth: Float[Tensor, "b n 4 h w"],
    found: Float[Tensor, "b n 4 h w"],
    colour: Float[Tensor, "b n 3 1 1"],
) -> tuple[Float[Tensor, "b n 3 h w"], Float[Tensor, "b n 3 h w"]]:
    """Both layers laid over the same solid colours: where alpha is small, colour counts little."""
    backdrop = colour.expand_as(truth[:, :, :3])
    return over(backdrop, truth), over(backdrop, found)


def reconstruction(
    truth: Float[Tensor, "b n 4 h w"],
    found: Float[Tensor, "b n 4 h w"],
    colour: Float[Tensor, "b n 3 1 1"],
) -> Float[Tensor, ""]:
    """L1 of colour over solid colours, of its gradients (edges stay sharp), and of alpha."""
    shown, shown_found = over_colours(truth, found, colour)
    alpha = (truth - found).split([3, 1], dim=2)[1]
    return (
        (shown - shown_found).abs().mean()
        + gradient(shown, shown_found)
        + alpha.abs().mean()
        + gradient(truth.split([3, 1], dim=2)[1], found.split([3, 1], dim=2)[1])
    )


def gradient(truth: Float[Tensor, "*b h w"], found: Float[Tensor, "*b h w"]) -> Float[Tensor, ""]:
    """L1 of the differences between neighbouring pixels."""
    error = truth - found
    return error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()


def divergence(mean: Float[Tensor, "*b"], log_variance: Float[Tensor, "*b"]) -> Float[Tensor, ""]:
    """Kullback-Leibler divergence from the unit normal, per latent number (Kingma & Welling)."""
    return 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).mean()


def weighted_square(
    truth: Float[Tensor, "b n z y x"],
    found: Float[Tensor, "b n z y x"],
    weight: Float[Tensor, "b n y x"],
) -> Float[Tensor, ""]:
    """Squared error weighted by cell, a mean over all weight."""
    error = (truth - found).square().mean(dim=2)
    return (error * weight).sum() / weight.sum().clamp(min=1e-6)
