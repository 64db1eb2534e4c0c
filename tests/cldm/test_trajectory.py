"""Laws of agreement: ten guided steps under control lead where diffusers' networks lead."""

from dataclasses import replace

import pytest
import torch
from diffusers import ControlNetModel
from published import Controlled
from subjects import TEXT, WIDTHS, asked, awake, config, foreign_unet, unet_like
from torch import Tensor, nn

from cldm.build import build_model
from cldm.condition import Condition, frames_of, hint
from cldm.config import Layout, ModelConfig, UNetConfig
from cldm.model import LayerDiffusion, Sampling, blank_task
from ldm.denoiser import BatchGuidedDenoiser, NetworkDenoiser, NoiseSchedule, Prediction
from ldm.sampler import Sampler, sample
from ldm.values import Masks

HINT_WIDTHS, SCALE, STRENGTH, SEED = (4, 8, 8), 7.5, 0.8, 3


def config_of(kind: Prediction) -> ModelConfig:
    """A model over the U-Net of `WIDTHS`, plain as Stable Diffusion."""
    return replace(
        config(Layout.stacked),
        canvas=32,
        picture=32,
        framed=False,
        prediction=kind,
        preconditioned=False,
        zero_terminal_snr=False,
        hint_channels=HINT_WIDTHS,
        unet=UNetConfig(
            channels=tuple(WIDTHS.channels),
            attention=tuple(WIDTHS.attention),
            across=tuple(WIDTHS.across),
            num_residuals=WIDTHS.num_residuals,
            num_heads=WIDTHS.num_heads,
        ),
    )


def pair(kind: Prediction) -> tuple[LayerDiffusion, Controlled]:
    """Our model and diffusers' networks with the same weights; the ControlNet begins as a copy of
    the U-Net's encoder, as the original does, but is not silent."""
    unet = foreign_unet()
    control = ControlNetModel.from_unet(
        unet, conditioning_embedding_out_channels=HINT_WIDTHS, conditioning_channels=5
    ).eval()
    model = build_model(config_of(kind)).eval()
    model.unet = unet_like(unet)
    model.control.encoder.load_state_dict(model.unet.encoder.state_dict())
    model.control.middle.load_state_dict(model.unet.middle.state_dict())
    model.control.layout.load_state_dict(model.unet.layout.state_dict())
    hints = control.controlnet_cond_embedding
    ours: list[nn.Module] = [model.control.hint, model.control.taps, model.control.tap_middle]
    theirs = [
        nn.ModuleList([hints.conv_in, *hints.blocks, hints.conv_out]),
        control.controlnet_down_blocks,
        control.controlnet_mid_block,
    ]
    for mine, foreign in zip(ours, theirs, strict=True):
        weights = zip(mine.parameters(), awake(foreign).parameters(), strict=True)
        for weight, other in weights:
            weight.data = other.data.clone()
    return model, Controlled(unet=unet, control=control)


def assert_near(found: Tensor, expected: Tensor) -> None:
    """To rounding."""
    assert expected.isfinite().all()
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


@pytest.mark.parametrize("kind", Prediction)
@torch.no_grad()
def test_a_picture_that_is_not_square_is_drawn_as_by_diffusers(kind: Prediction) -> None:
    model, foreign = pair(kind)
    wordless, text = torch.randn(1, 7, TEXT).expand(2, -1, -1), torch.randn(2, 7, TEXT)
    image, schedule = torch.rand(2, 5, 48, 32), NoiseSchedule(zero_terminal_snr=False)
    prompts = asked(torch.cat([wordless, text])[:, None])
    reading = model.unet.read(prompts)
    encoded = model.control.encode(torch.cat([image, image])[:, None], prompts)

    def network(noisy: Tensor, timestep: Tensor) -> Tensor:
        return model.predict(noisy, timestep, reading, encoded, STRENGTH)

    *_, last = sample(
        BatchGuidedDenoiser(NetworkDenoiser(network, schedule, kind), SCALE),
        torch.zeros(2, 1, 4, 12, 8),
        torch.ones(2, 1, dtype=torch.bool),
        schedule,
        sampler=Sampler.DDIM,
        num_steps=10,
        generator=torch.Generator().manual_seed(SEED),
    )
    noise = torch.randn(2, 4, 12, 8, generator=torch.Generator().manual_seed(SEED))
    expected = foreign.drawn(
        noise, wordless, text, image, kind=kind, guidance=SCALE, strength=STRENGTH
    )
    assert_near(last.latents[:, 0], expected)


@pytest.mark.parametrize(("kind", "batched"), [(Prediction.eps, True), (Prediction.v, False)])
@torch.no_grad()
def test_words_and_masks_are_drawn_as_by_diffusers(kind: Prediction, batched: bool) -> None:
    model, foreign = pair(kind)
    model.batched_guidance = batched
    masks = Masks(area=torch.ones(2, 1, 32, 32), present=torch.ones(2, 1, dtype=torch.bool))
    tokens = model.tokenizer(["a lawn", "a duck", "grain"])
    condition = Condition(
        tokens=tokens[:2, None], masks=masks, frames=frames_of(masks, config_of(kind))
    )
    how = Sampling(
        sampler=Sampler.DDIM,
        num_steps=10,
        guidance_scale=SCALE,
        negative_prompt="grain",
        control_strength=STRENGTH,
        seed=SEED,
    )
    *_, last = model.draw(blank_task(condition), how)
    wordless, text = model.text(tokens[2:]).expand(2, -1, -1), model.text(tokens[:2])
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(SEED))
    image = hint(condition, 32)[:, 0]
    expected = foreign.drawn(
        noise, wordless, text, image, kind=kind, guidance=SCALE, strength=STRENGTH
    )
    assert_near(last.latents[:, 0], expected)
