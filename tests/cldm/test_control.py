"""Laws of control: nothing at birth, later as indifferent to absence and order as the U-Net."""

from dataclasses import replace

import pytest
import torch
from subjects import TEXT, WIDTHS, asked, awake
from torch import Tensor

from cldm.control import ControlNet
from ldm.layout import PackedLayout, Prompts, StackedLayout
from ldm.unet import UNet
from ldm.values import Frames

SLOTS = 3
ACROSS = replace(WIDTHS, across=(False, True))
HINT_WIDTHS = (4, 8, 8)


def new(layout: str) -> ControlNet:
    """A ControlNet over three slots, four pixels to a cell."""
    packed = layout == "packed"
    folded = SLOTS if packed else 1
    return ControlNet(
        replace(WIDTHS, latents=4 * SLOTS) if packed else ACROSS,
        PackedLayout(32, TEXT, SLOTS) if packed else StackedLayout(32, TEXT),
        hint_channels=5 * folded,
        hint_widths=HINT_WIDTHS,
        guessing=True,
    ).eval()


def inputs() -> tuple[Tensor, Tensor, Tensor, Prompts]:
    """Latents, hints, timesteps and prompts."""
    text = torch.randn(2, SLOTS, 7, TEXT)
    timestep = torch.rand(2, SLOTS) * 999
    return torch.randn(2, SLOTS, 4, 8, 8), torch.rand(2, SLOTS, 5, 32, 32), timestep, asked(text)


def added(
    control: ControlNet, latents: Tensor, hint: Tensor, timestep: Tensor, prompts: Prompts
) -> tuple[Tensor, ...]:
    """What the ControlNet adds."""
    encoded = control.encode(hint, prompts)
    return control(latents, timestep, encoded)


def slots_of(taps: tuple[Tensor, ...]) -> list[Tensor]:
    """The stacked taps by slot."""
    return [tap.unflatten(0, (2, -1)) for tap in taps]


@torch.no_grad()
@pytest.mark.parametrize("layout", ["stacked", "packed"])
def test_control_changes_nothing_when_new(layout: str) -> None:
    control, (latents, hint, timestep, prompts) = new(layout), inputs()
    taps = added(control, latents, hint, timestep, prompts)
    assert not any(tap.any() for tap in taps)
    if layout == "stacked":
        unet = awake(UNet(ACROSS, StackedLayout(32, TEXT))).eval()
        without = unet(latents, timestep, unet.read(prompts), ())
        assert torch.equal(unet(latents, timestep, unet.read(prompts), taps), without)


@torch.no_grad()
def test_hints_are_silent_when_new_and_then_heard() -> None:
    control, (latents, hint, timestep, prompts) = new("stacked"), inputs()
    encoded = control.encode(hint, prompts)
    assert not encoded.cells.any()
    assert encoded.mean.shape == latents.shape
    assert not encoded.mean.any()
    first = added(awake(control), latents, hint, timestep, prompts)
    other = added(control, latents, 1 - hint, timestep, prompts)
    assert min(float((a - b).abs().max()) for a, b in zip(first, other, strict=True)) > 1e-4


@torch.no_grad()
@pytest.mark.parametrize("layout", ["stacked", "packed"])
def test_under_an_even_mask_each_prompt_has_a_pattern_of_its_own(layout: str) -> None:
    control = awake(new(layout))
    *_, prompts = inputs()
    even = torch.ones(2, SLOTS, 5, 32, 32)
    # Cells that padding does not reach: masks alone would make them equal.
    first, second = control.encode(even, prompts).cells[[0, -1], :, 3:5, 3:5].flatten(2)
    assert torch.pdist(first.T).min() > 1e-4
    assert ((first - second).diff(dim=-1).abs() > 1e-5).any()


@torch.no_grad()
def test_control_is_equivariant_to_the_order_of_slots() -> None:
    control, (latents, hint, timestep, prompts) = awake(new("stacked")), inputs()
    order = torch.tensor([2, 0, 1])
    turned = Prompts(
        text=prompts.text[:, order],
        sense=prompts.sense[:, order],
        area=prompts.area[:, order],
        frames=Frames(box=prompts.frames.box[:, order]),
        present=prompts.present,
    )
    found = slots_of(added(control, latents, hint, timestep, prompts))
    other = added(control, latents[:, order], hint[:, order], timestep[:, order], turned)
    for tap, tap_turned in zip(found, slots_of(other), strict=True):
        torch.testing.assert_close(tap_turned, tap[:, order], atol=1e-5, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("layout", ["stacked", "packed"])
def test_an_absent_slot_leaves_no_trace(layout: str) -> None:
    control, (latents, hint, timestep, prompts) = awake(new(layout)), inputs()
    present = torch.tensor([True, True, False]).expand(2, -1)
    padded = replace(prompts, present=present)
    found = added(control, latents, hint, timestep, padded)
    other = added(control, latents.roll(1, 0), hint, timestep, padded)
    assert (found[0] - other[0]).abs().max() > 1e-4
    spoiled = (latents.clone(), hint.clone(), timestep.clone())
    for part in spoiled:
        part[:, 2] = part[:, 2] * 0.5 + 0.1
    other = added(control, *spoiled, padded)
    if layout == "packed":
        pairs = zip(found, other, strict=True)
    else:
        kept = [tap[:, :2] for tap in slots_of(found)], [tap[:, :2] for tap in slots_of(other)]
        pairs = zip(*kept, strict=True)
    for tap, tap_spoiled in pairs:
        torch.testing.assert_close(tap_spoiled, tap, atol=1e-5, rtol=1e-4)


def test_one_tap_for_each_of_the_encoders() -> None:
    control, (latents, hint, timestep, prompts) = new("stacked"), inputs()
    taps = added(control, latents, hint, timestep, prompts)
    assert [tap.shape[1] for tap in taps] == [*WIDTHS.taps, WIDTHS.channels[-1]]
