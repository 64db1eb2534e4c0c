"""Laws of the U-Net: it agrees with diffusers', and slots meet only where they should."""

from dataclasses import replace

import pytest
import torch
from subjects import TEXT, WIDTHS, asked, awake, foreign_unet, unet_like
from torch import Tensor

from ldm.blocks import AcrossAttention, Stack, sinusoid
from ldm.layout import PackedLayout, Prompts, StackedLayout
from ldm.unet import UNet
from ldm.values import Frames

ACROSS = replace(WIDTHS, across=(False, True))
SLOTS = 3


def stacked() -> UNet:
    """A U-Net with attention across slots that is not silent."""
    return awake(UNet(ACROSS, StackedLayout(32, TEXT))).eval()


def packed() -> UNet:
    """Slots in the channels, nothing silent."""
    widths = replace(WIDTHS, latents=4 * SLOTS)
    return awake(UNet(widths, PackedLayout(32, TEXT, SLOTS))).eval()


def taken(prompts: Prompts, order: Tensor) -> Prompts:
    """The prompts of the named slots."""
    return Prompts(
        text=prompts.text[:, order],
        sense=prompts.sense[:, order],
        area=prompts.area[:, order],
        frames=Frames(box=prompts.frames.box[:, order]),
        present=prompts.present[:, order],
    )


@torch.no_grad()
def test_one_slot_is_diffusers_unet() -> None:
    foreign = foreign_unet()
    ours = unet_like(foreign)
    latents, text = torch.randn(2, 4, 12, 8), torch.randn(2, 7, TEXT)
    timestep = torch.tensor([17.0, 801.0])
    expected = foreign(latents, timestep, text).sample
    found = ours(latents[:, None], timestep[:, None], ours.read(asked(text[:, None])), ())[:, 0]
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


@torch.no_grad()
def test_attention_across_slots_changes_nothing_when_new() -> None:
    unet = UNet(ACROSS, StackedLayout(32, TEXT)).eval()
    latents, timestep = torch.randn(2, SLOTS, 4, 8, 8), torch.rand(2, SLOTS) * 999
    prompts = asked(torch.randn(2, SLOTS, 7, TEXT))
    found = unet(latents, timestep, unet.read(prompts), ())
    for slot in range(SLOTS):
        one = torch.tensor([slot])
        alone = unet(latents[:, one], timestep[:, one], unet.read(taken(prompts, one)), ())
        torch.testing.assert_close(found[:, one], alone, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_across_attention_does_change_things_once_it_has_learned() -> None:
    latents, timestep = torch.randn(1, SLOTS, 4, 8, 8), torch.rand(1, SLOTS) * 999
    prompts, unet = asked(torch.randn(1, SLOTS, 7, TEXT)), stacked()
    moved = replace(prompts, frames=Frames(box=prompts.frames.box.roll(1, 1)))
    first = unet(latents, timestep, unet.read(prompts), ())
    assert (first - unet(latents, timestep, unet.read(moved), ())).abs().max() > 1e-3


@torch.no_grad()
def test_stacked_is_equivariant_to_the_order_of_slots() -> None:
    latents, timestep = torch.randn(2, SLOTS, 4, 8, 8), torch.rand(2, SLOTS) * 999
    prompts, order, unet = asked(torch.randn(2, SLOTS, 7, TEXT)), torch.tensor([2, 0, 1]), stacked()
    found = unet(latents, timestep, unet.read(prompts), ())
    turned = unet(latents[:, order], timestep[:, order], unet.read(taken(prompts, order)), ())
    torch.testing.assert_close(turned, found[:, order], atol=1e-5, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("layout", ["stacked", "packed"])
def test_an_absent_slot_leaves_no_trace(layout: str) -> None:
    unet = stacked() if layout == "stacked" else packed()
    latents, timestep = torch.randn(2, SLOTS, 4, 8, 8), torch.rand(2, SLOTS) * 999
    prompts = asked(torch.randn(2, SLOTS, 7, TEXT))
    present = torch.tensor([True, True, False]).expand(2, -1)
    padded = unet(latents, timestep, unet.read(replace(prompts, present=present)), ())
    some = torch.tensor([0, 1])
    found = unet(latents[:, some], timestep[:, some], unet.read(taken(prompts, some)), ())
    torch.testing.assert_close(padded[:, some], found, atol=1e-5, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("layout", ["stacked", "packed"])
def test_pictures_of_a_batch_do_not_know_each_other(layout: str) -> None:
    unet = stacked() if layout == "stacked" else packed()
    latents, timestep = torch.randn(3, SLOTS, 4, 8, 8), torch.rand(3, SLOTS) * 999
    text = torch.randn(3, SLOTS, 7, TEXT)
    found = unet(latents, timestep, unet.read(asked(text)), ())
    for index in range(3):
        one = slice(index, index + 1)
        alone = unet(latents[one], timestep[one], unet.read(asked(text[one])), ())
        torch.testing.assert_close(alone, found[one], atol=1e-5, rtol=1e-4)


def test_packed_slots_are_alike_at_birth() -> None:
    layout = PackedLayout(32, TEXT, SLOTS)
    assert not layout.slots.any()
    timestep = torch.full((2, SLOTS), 300.0)
    prompts = asked(torch.randn(2, SLOTS, 7, TEXT))
    torch.testing.assert_close(layout.embed(timestep, prompts), layout.time(timestep[:, 0]))


@torch.no_grad()
def test_the_sense_of_a_prompt_steers_only_its_slot_and_is_silent_when_new() -> None:
    layout, timestep = StackedLayout(32, TEXT), torch.full((1, SLOTS), 300.0)
    first = asked(torch.randn(1, SLOTS, 7, TEXT))
    other = replace(
        first, sense=first.sense + torch.eye(SLOTS, TEXT)[1] * torch.eye(SLOTS)[1, :, None]
    )
    assert torch.equal(layout.embed(timestep, first), layout.embed(timestep, other))
    awake(layout)
    moved = (layout.embed(timestep, first) - layout.embed(timestep, other)).abs().amax(dim=1)
    assert (moved > 1e-4).tolist() == [False, True, False]


def test_packed_folds_and_unfolds() -> None:
    layout, latents = PackedLayout(32, TEXT, SLOTS), torch.randn(2, 2, 4, 5, 6)
    folded = layout.fold(latents, torch.ones(2, 2, dtype=torch.bool))
    assert folded.shape == (2, 4 * SLOTS, 5, 6)
    assert torch.equal(layout.unfold(folded, 2), latents)


@torch.no_grad()
def test_packed_prompts_are_read_only_where_their_masks_hold() -> None:
    latents, timestep = torch.randn(1, SLOTS, 4, 8, 8), torch.rand(1, SLOTS) * 999
    first, second = torch.randn(2, 1, SLOTS, 7, TEXT)
    second[:, 0], unet = first[:, 0], packed()
    nowhere = torch.zeros(1, SLOTS, 8, 8)
    quiet = [replace(asked(text), area=nowhere) for text in (first, second)]
    loud = [asked(text) for text in (first, second)]
    once, again = (unet(latents, timestep, unet.read(prompts), ()) for prompts in quiet)
    torch.testing.assert_close(once, again)
    once, again = (unet(latents, timestep, unet.read(prompts), ()) for prompts in loud)
    assert (once - again).abs().max() > 1e-4


def test_a_cells_place_is_its_place_in_the_picture() -> None:
    """Seen with one block: two canvases that cover the same part of a picture are one."""
    block = awake(AcrossAttention(32, 2)).eval()
    cells = torch.randn(2, 32, 4, 4)
    present, box = torch.ones(1, 2, dtype=torch.bool), torch.tensor([0.2, 0.1, 0.6, 0.5])
    twice = block(cells, Stack(frames=Frames(box=box.expand(1, 2, 4)), present=present))
    swapped = block(cells.flip(0), Stack(frames=Frames(box=box.expand(1, 2, 4)), present=present))
    torch.testing.assert_close(twice, swapped.flip(0), atol=1e-5, rtol=1e-4)


def test_time_is_told_in_cosines_then_sines() -> None:
    found = sinusoid(torch.tensor([0.0, 500.0]), 6)
    torch.testing.assert_close(found[0], torch.tensor([1.0, 1, 1, 0, 0, 0]))
    angles = 500 / 10000 ** (torch.arange(3) / 3)
    torch.testing.assert_close(found[1], torch.cat([angles.cos(), angles.sin()]), rtol=0, atol=1e-3)
