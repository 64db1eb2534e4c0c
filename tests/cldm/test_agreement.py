"""Laws of agreement and birth: the published file of Stable Diffusion 1.5 with a ControlNet, become
a layered model, does what diffusers and transformers do with it; thin, and in full size."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from published import (
    Size,
    config_of,
    foreign_autoencoder,
    foreign_controlled,
    foreign_text,
    layered,
    write_published,
)
from subjects import asked, picture
from torch import Tensor

from cldm.config import Layout
from cldm.model import LayerDiffusion
from ldm.denoiser import BatchGuidedDenoiser, NetworkDenoiser, NoiseSchedule, Prediction
from ldm.layout import Prompts, StackedLayout
from ldm.sampler import Sampler, sample
from ldm.text import TextFamily, Tokenizer
from ldm.unet import Taps

SIZES = [
    pytest.param(Size.THIN, id="thin"),
    pytest.param(Size.WHOLE, id="whole", marks=pytest.mark.full),
]
SLOTS, GUIDANCE, STRENGTH, SEED = 4, 7.5, 0.8, 3
PICTURES = slice(2)
"""Laws of one slot are tried on two pictures."""
TOKENS = Tokenizer(77, TextFamily.clip.padding)(["a duck on a lawn", "a photograph " * 40])
SMALL = (8, 24)


@dataclass(frozen=True, kw_only=True)
class Canvases:
    """What each of four canvases is given."""

    latents: Tensor
    timestep: Tensor
    text: Tensor
    hint: Tensor


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What others make of them: of all canvases, of two drawn in ten steps, and of photographs."""

    unet: Tensor
    taps: list[Tensor]
    controlled: Tensor
    drawn: dict[Prediction, Tensor]
    latents: Tensor
    decoded: Tensor
    text: Tensor


def canvases(size: Size, height: int, width: int) -> Canvases:
    """Four that are not square; a hint's last two channels are for ours alone."""
    chance = torch.Generator().manual_seed(1)
    return Canvases(
        latents=torch.randn(SLOTS, 4, height, width, generator=chance),
        timestep=torch.tensor([17.0, 801.0, 430.0, 999.0]),
        text=torch.randn(SLOTS, 77, size.of(768), generator=chance),
        hint=torch.rand(SLOTS, 5, 8 * height, 8 * width, generator=chance),
    )


def photographs() -> Tensor:
    """Two opaque pictures that are not square."""
    height, width = (8 * cells for cells in SMALL)
    rgb = torch.stack([picture(f"{name}.jpg", width)[:, :height] for name in ("duck", "pyramid")])
    return torch.cat([rgb, torch.ones_like(rgb[:, :1])], dim=1)


@pytest.fixture(scope="module", params=SIZES)
def size(request: pytest.FixtureRequest) -> Size:
    """Both."""
    return request.param


@pytest.fixture(scope="module")
def given(size: Size) -> Canvases:
    """Canvases for the networks of a size."""
    return canvases(size, 24, 40)


@pytest.fixture(scope="module")
def base(size: Size) -> Iterator[Path]:
    """The published file."""
    with TemporaryDirectory() as folder:
        yield write_published(size, Path(folder, "published.safetensors"))


@pytest.fixture(scope="module")
@torch.no_grad()
def expected(size: Size, base: Path, given: Canvases) -> Answers:
    """All that others say; their networks are gone when this returns."""
    text, (latents, decoded) = foreign_text(size, base)(TOKENS), coded(size, base)
    others, few = foreign_controlled(size, base), canvases(size, *SMALL)
    seen = (given.latents, given.timestep, given.text)
    taps = others.taps(*seen, given.hint[:, :3], STRENGTH)
    noise = torch.randn(2, 4, *SMALL, generator=torch.Generator().manual_seed(SEED))
    words, image = few.text.split(2), few.hint[PICTURES, :3]
    return Answers(
        unet=others.unet(*seen).sample,
        taps=taps,
        controlled=others.answer(*seen, taps),
        drawn={
            kind: others.drawn(
                noise, *words, image, kind=kind, guidance=GUIDANCE, strength=STRENGTH
            )
            for kind in Prediction
        },
        latents=latents,
        decoded=decoded,
        text=text.last_hidden_state,
    )


def coded(size: Size, base: Path) -> tuple[Tensor, Tensor]:
    """Diffusers' latents of the photographs, and what they decode to in 0..1."""
    network, rgb = foreign_autoencoder(size, base), photographs()[:, :3]
    latents = network.encode(rgb * 2 - 1).latent_dist.mean * 0.18215  # pyright: ignore
    decoded = network.decode(latents / 0.18215).sample  # pyright: ignore
    return latents, (decoded * 0.5 + 0.5).clamp(0, 1)


@pytest.fixture(scope="module", params=list(Layout), ids=[f"{layout.value}" for layout in Layout])
def model(
    size: Size, base: Path, expected: Answers, request: pytest.FixtureRequest
) -> Iterator[LayerDiffusion]:
    """Ours with the weights of the file, in each layout (when others have made room)."""
    with layered(base, config_of(size, request.param)) as model:
        yield model


def assert_near(found: Tensor, expected: Tensor) -> None:
    """To rounding."""
    assert expected.isfinite().all()
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


def taps_of(
    model: LayerDiffusion, latents: Tensor, timestep: Tensor, hint: Tensor, prompts: Prompts
) -> Taps:
    """What our ControlNet adds."""
    added = model.control(latents, timestep, model.control.encode(hint, prompts))
    return tuple(STRENGTH * tap for tap in added)


@torch.no_grad()
def test_the_unet_is_diffusers(model: LayerDiffusion, given: Canvases, expected: Answers) -> None:
    prompts = asked(given.text[PICTURES, None])
    latents, timestep = given.latents[PICTURES, None], given.timestep[PICTURES, None]
    found = model.unet(latents, timestep, model.unet.read(prompts), ())
    assert_near(found[:, 0], expected.unet[PICTURES])


@torch.no_grad()
def test_the_controlnet_and_the_controlled_unet_are_diffusers(
    model: LayerDiffusion, given: Canvases, expected: Answers
) -> None:
    prompts = asked(given.text[PICTURES, None])
    latents, timestep = given.latents[PICTURES, None], given.timestep[PICTURES, None]
    taps = taps_of(model, latents, timestep, given.hint[PICTURES, None], prompts)
    for tap, residual in zip(taps, expected.taps, strict=True):
        assert_near(tap, residual[PICTURES])
    found = model.unet(latents, timestep, model.unet.read(prompts), taps)
    assert_near(found[:, 0], expected.controlled[PICTURES])


@torch.no_grad()
@pytest.mark.parametrize("kind", list(Prediction), ids=["eps", "v"])
def test_ten_guided_steps_lead_where_diffusers_lead(
    model: LayerDiffusion, size: Size, expected: Answers, kind: Prediction
) -> None:
    few, schedule = canvases(size, *SMALL), NoiseSchedule(zero_terminal_snr=False)
    prompts, hint = asked(few.text[:, None]), few.hint[PICTURES, None]
    reading = model.unet.read(prompts)
    encoded = model.control.encode(torch.cat([hint, hint]), prompts)

    def network(noisy: Tensor, timestep: Tensor) -> Tensor:
        return model.predict(noisy, timestep, reading, encoded, STRENGTH)

    *_, last = sample(
        BatchGuidedDenoiser(NetworkDenoiser(network, schedule, kind), GUIDANCE),
        torch.zeros(2, 1, 4, *SMALL),
        torch.ones(2, 1, dtype=torch.bool),
        schedule,
        sampler=Sampler.DDIM,
        num_steps=10,
        generator=torch.Generator().manual_seed(SEED),
    )
    assert_near(last.latents[:, 0], expected.drawn[kind])


@torch.no_grad()
def test_opaque_pictures_are_coded_as_by_diffusers(
    model: LayerDiffusion, expected: Answers
) -> None:
    assert_near(model.autoencoder.encode(photographs()[:, None])[:, 0], expected.latents)
    decoded = model.autoencoder.decode(expected.latents[:, None])[:, 0]
    assert_near(decoded[:, :3], expected.decoded)
    assert torch.equal(decoded[:, 3:], torch.ones_like(decoded[:, 3:]))


@torch.no_grad()
def test_prompts_are_read_as_by_transformers(model: LayerDiffusion, expected: Answers) -> None:
    assert_near(model.text(TOKENS), expected.text)


@torch.no_grad()
def answered(model: LayerDiffusion, given: Canvases, prompts: Prompts, timestep: Tensor) -> Tensor:
    """Our controlled U-Net's answer to the canvases as slots of one picture."""
    latents, hint = given.latents[None], given.hint[None]
    taps = taps_of(model, latents, timestep, hint, prompts)
    return model.unet(latents, timestep, model.unet.read(prompts), taps)[0]


def test_at_birth_each_slot_is_stable_diffusion_under_control(
    model: LayerDiffusion, given: Canvases, expected: Answers
) -> None:
    """Stacked, all four. Packed, the back as long as no other prompt holds anywhere: slots share
    cells and what those read, which is given up for the cost of one picture."""
    prompts = asked(given.text[None])
    if isinstance(model.unet.layout, StackedLayout):
        assert_near(answered(model, given, prompts, given.timestep[None]), expected.controlled)
        return
    back = expected.controlled[0]
    alone = replace(prompts, present=torch.eye(SLOTS)[:1].bool())
    unmasked = replace(prompts, area=torch.zeros(1, SLOTS, 8, 8))
    # One noise level for all: packed slots are told their mean.
    together = given.timestep[:1].expand(1, SLOTS)
    assert_near(answered(model, given, alone, given.timestep[None])[0], back)
    assert_near(answered(model, given, unmasked, together)[0], back)
    corners = torch.zeros(1, SLOTS, 8, 8)
    corners[:, 1, :4, :4], corners[:, 2, 4:, :4], corners[:, 3, 4:, 4:] = 1, 1, 1
    for name, area in (("corners", corners), ("everywhere", prompts.area)):
        off = answered(model, given, replace(prompts, area=area), together)[0] - back
        largest, mean = off.abs().max() / back.abs().max(), off.norm() / back.norm()
        print(f"packed, other masks {name}: off by {largest:.3f} at most, {mean:.3f} rms")
