"""Laws of ridge regression in batches: it finds what examples were made with."""

import torch

from cldm.training.ridge import Lacking, Ridge

DEVICE = torch.device("cpu")


def lacking(weights: torch.Tensor, count: int) -> Lacking:
    """Places whose light is what such weights `[g 3 d]` give."""
    basis, read = torch.randn(count, weights.shape[0], 3), torch.randn(count, weights.shape[2])
    light = torch.einsum("kgc,gcd,kd->kc", basis, weights, read)
    return Lacking(basis=basis, read=read, light=light, weight=torch.rand(count) + 0.5)


def test_weights_are_found_again() -> None:
    torch.manual_seed(0)
    weights, ridge = torch.randn(2, 3, 5), Ridge(2, 5, DEVICE)
    for _ in range(3):
        ridge.add(lacking(weights, 200))
    torch.testing.assert_close(ridge.solve(), weights, atol=1e-3, rtol=0)


def test_batches_are_as_good_as_all_at_once() -> None:
    torch.manual_seed(0)
    every, apart = Ridge(2, 5, DEVICE), Ridge(2, 5, DEVICE)
    found = lacking(torch.randn(2, 3, 5), 100)
    every.add(found)
    for part in (slice(0, 30), slice(30, 100)):
        apart.add(
            Lacking(
                basis=found.basis[part],
                read=found.read[part],
                light=found.light[part],
                weight=found.weight[part],
            )
        )
    torch.testing.assert_close(every.solve(), apart.solve(), atol=1e-4, rtol=1e-4)


def test_what_does_not_count_is_not_learnt() -> None:
    torch.manual_seed(0)
    weights, ridge = torch.randn(1, 3, 2), Ridge(1, 2, DEVICE)
    ridge.add(lacking(weights, 50))
    noise = lacking(-weights, 500)
    ridge.add(
        Lacking(basis=noise.basis, read=noise.read, light=noise.light, weight=torch.zeros(500))
    )
    torch.testing.assert_close(ridge.solve(), weights, atol=1e-2, rtol=0)


def test_nothing_learnt_is_zero() -> None:
    assert not Ridge(2, 5, DEVICE).solve().any()
