"""Laws of the graph network: new edges change nothing, layers apart can change places."""

from dataclasses import fields
from functools import partial

import torch
import torch.nn.functional as F
from subjects import awake

from cldm.relation.graph import EdgeAttention, EdgeWeights, RelationGraph
from cldm.relation.guides import LightHint
from ldm.values import Layers, Light


def network() -> RelationGraph:
    """A small network whose weights all speak."""
    made = RelationGraph(width=32, depth=2, num_heads=2, working_size=64, patch=8)
    return awake(made).eval()


def layers(gap: int) -> Layers:
    """A back and two soft boxes of different looks, `gap` pixels apart."""
    rgba = torch.rand(1, 3, 4, 32, 64)
    rgba[:, 1:, 3] = 0
    rgba[:, 0, 3] = 1
    rgba[:, 1, 3, 14:28, 28 - gap : 38 - gap] = 0.9
    rgba[:, 2, 3, 16:26, 38:48] = 1
    return Layers(rgba=rgba, present=torch.ones(1, 3, dtype=torch.bool))


def noon() -> LightHint:
    """A small light high above, so that shadows stay short."""
    one = torch.ones(1)
    light = Light(
        azimuth=0 * one,
        elevation=1.5 * one,
        colour=torch.ones(1, 3),
        softness=0.05 * one,
        ambient=0.4 * one,
    )
    return LightHint(light=light, given=torch.tensor([True]))


@torch.no_grad()
def swapping_error(value: Layers) -> float:
    """How far the effects of swapped layers are from the swapped effects."""
    made, order = network(), torch.tensor([0, 2, 1])
    plain, swapped = made(value, noon()), made(value.take(order), noon())
    return max(
        float((getattr(plain, field.name)[:, order] - getattr(swapped, field.name)).abs().max())
        for field in fields(plain)
    )


# The Transformer numbers its slots, so this cannot be asked of it.
def test_layers_that_do_not_touch_can_change_places() -> None:
    """By less than 8 bits tell: of the sky each takes its share of what the other has left."""
    assert swapping_error(layers(gap=24)) < 0.5 / 255


def test_layers_that_touch_cannot() -> None:
    assert swapping_error(layers(gap=1)) > 1e-3


def attention() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Queries, keys and values of two heads, three layers and four patches."""
    query, key, value = torch.randn(3, 2, 2, 3 * 4, 8)
    return query, key, value


def test_new_edges_change_nothing() -> None:
    present = torch.tensor([[True, True, True], [True, True, False]])
    attend = EdgeWeights(num_heads=2)(torch.randn(2, 3, 3, 7), present)
    keys = present.repeat_interleave(4, dim=1)[:, None, None]
    expected = partial(F.scaled_dot_product_attention, attn_mask=keys)
    given = attention()
    torch.testing.assert_close(attend(*given), expected(*given))


def test_a_bias_turns_to_a_layer_and_a_gate_closes_it() -> None:
    query, key, value = attention()
    bias = torch.zeros(2, 2, 3, 3)
    bias[:, :, 0, 2] = 50
    gate = torch.ones(2, 2, 3, 3)
    gate[:, :, 1] = 0
    found = EdgeAttention(bias=bias, gate=gate)(query, key, value)
    only = F.scaled_dot_product_attention(query[:, :, :4], key[:, :, 8:], value[:, :, 8:])
    torch.testing.assert_close(found[:, :, :4], only, atol=1e-4, rtol=0)
    assert (found[:, :, 4:8] == 0).all()


def test_edges_within_a_layer_stay_neutral() -> None:
    weights = awake(EdgeWeights(num_heads=2))
    attend = weights(torch.randn(1, 3, 3, 7), torch.ones(1, 3, dtype=torch.bool))
    assert (attend.bias.diagonal(dim1=2, dim2=3) == 0).all()
    assert (attend.gate.diagonal(dim1=2, dim2=3) == 1).all()
    assert (attend.bias != 0).sum() == (attend.gate != 1).sum() == 2 * (9 - 3)
