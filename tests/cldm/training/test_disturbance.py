"""Laws of disturbance: only what was asked is made wrong, and it can be put right."""

import torch
from subjects import picture
from torch import Generator

from cldm.training.disturbance import random_slots, recoloured, roughened
from ldm.values import Layers


def layers() -> Layers:
    """A photograph thrice: as the back, and as two layers with a soft edge."""
    rgb = picture("duck.jpg", 32).expand(1, 3, 3, 32, 32)
    ramp = torch.linspace(0, 1, 32).expand(1, 3, 1, 32, 32).clone()
    ramp[:, 0] = 1
    return Layers(rgba=torch.cat([rgb, ramp], dim=2), present=torch.ones(1, 3, dtype=torch.bool))


def test_colours_go_wrong_in_the_named_slot_alone_and_keep_their_order() -> None:
    value, slots = layers(), torch.tensor([[False, False, True]])
    wrong = recoloured(value, slots, Generator().manual_seed(0))
    assert torch.equal(wrong.rgba[:, :2], value.rgba[:, :2])
    assert torch.equal(wrong.alpha, value.alpha)
    assert (wrong.rgb - value.rgb)[:, 2].abs().mean() > 0.02
    for channel in range(3):
        before, after = value.rgb[0, 2, channel].flatten(), wrong.rgb[0, 2, channel].flatten()
        assert (after[before.argsort()].diff() > -1e-6).all()


def test_edges_go_wrong_only_where_they_are_soft() -> None:
    value, slots = layers(), torch.tensor([[False, True, False]])
    wrong = roughened(value, slots, Generator().manual_seed(0))
    assert torch.equal(wrong.rgb, value.rgb)
    assert torch.equal(wrong.alpha[:, 2], value.alpha[:, 2])
    moved = (wrong.alpha - value.alpha)[0, 1, 0, 0]
    assert moved[0] == moved[-1] == 0
    assert moved.abs().max() > 0.01


def test_one_slot_above_the_back_is_drawn_in_the_asked_share() -> None:
    present = torch.tensor([[True, True, True, False]] * 4000)
    share = torch.tensor([0.0, 0.25, 1.0, 1.0]).repeat(1000)
    slots = random_slots(present, share, Generator().manual_seed(0))
    assert not slots[:, [0, 3]].any()
    counts = slots.sum(dim=1)
    assert counts.max() == 1
    for chance, expected in ((0, 0.0), (1, 0.25), (2, 1.0)):
        assert abs(counts[chance::4].float().mean() - expected) < 0.05
    assert abs(slots[2::4, 1].float().mean() - 0.5) < 0.05


def test_a_back_alone_stays_alone() -> None:
    present = torch.tensor([[True, False]])
    assert not random_slots(present, torch.ones(1), Generator().manual_seed(0)).any()
