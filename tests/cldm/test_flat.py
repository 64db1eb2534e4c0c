"""Laws of the flat model inside ours: foreign weights go in and come back bit for bit, and do what
they did."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from diffusers.loaders.single_file_utils import (
    convert_controlnet_checkpoint,
    convert_ldm_clip_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from foreign import V15, V21, flat_config, manifest, networks, same, write_networks
from subjects import TEXT, asked, picture
from torch import Tensor
from transformers import CLIPTextModel

from cldm.adding import complete, match
from cldm.build import build_model
from cldm.config import Layout, ModelConfig, UNetConfig
from cldm.exporting import flat_weights, write_diffusers
from cldm.flat import base_entries, control_entries, model_shapes
from cldm.model import LayerDiffusion
from ldm.checkpoint import load_weights, write_tensors
from ldm.foreign import Foreign, read_foreign
from ldm.text import TextFamily
from ldm.unneeded import unneeded
from ldm.weights import Naming

FAMILIES = pytest.mark.parametrize("family", list(TextFamily), ids=lambda family: family.name)
LAYOUTS = pytest.mark.parametrize("layout", list(Layout), ids=lambda layout: layout.name)


def added(source: Path, config: ModelConfig, path: Path) -> Foreign:
    """A foreign base and ControlNet in one place, as a file of ours."""
    found = match(read_foreign(source), None, None, config)
    write_tensors(complete(found, config, torch.float32)[0], path)
    return read_foreign(path)


def loaded(source: Path, config: ModelConfig, path: Path) -> LayerDiffusion:
    """A model of ours with the foreign weights."""
    added(source, config, path)
    model = build_model(config).eval()
    load_weights(model, path)
    return model


@LAYOUTS
@FAMILIES
def test_each_published_key_is_taken_once_or_not_needed(family: TextFamily, layout: Layout) -> None:
    clip = family is TextFamily.clip
    config = replace(V15 if clip else V21, unet=UNetConfig(layout=layout))
    shapes, published = model_shapes(config), manifest("sd15" if clip else "sd21")
    taken: list[str] = []
    for entry in [*base_entries(config, shapes), *control_entries(config, shapes)]:
        taken += entry.names.ldm
        for name in entry.names.ldm:
            assert entry.foreign_shape(Naming.LDM) == published[name]
    assert len(set(taken)) == len(taken)
    left = unneeded(config.text.depth)
    for key in published.keys() - set(taken):
        assert any(reason.holds(key) for reason in left), key
    assert not [key for key in taken if any(reason.holds(key) for reason in left)]


@LAYOUTS
@FAMILIES
def test_diffusers_folders_come_back_bit_for_bit(
    tmp_path: Path, family: TextFamily, layout: Layout
) -> None:
    config, found = flat_config(layout, family), networks(family)
    ours = added(write_networks(found, tmp_path / "in"), config, tmp_path / "ours.safetensors")
    write_diffusers(flat_weights(ours, Naming.DIFFUSERS, config), config, tmp_path / "out")
    kinds: dict[str, Any] = {
        "unet": UNet2DConditionModel,
        "vae": AutoencoderKL,
        "text_encoder": CLIPTextModel,
        "controlnet": ControlNetModel,
    }
    for name, kind in kinds.items():
        back = kind.from_pretrained(tmp_path / "out" / name, local_files_only=True)
        assert same(back.state_dict(), found[name].state_dict()), name


@FAMILIES
def test_ldm_names_are_what_diffusers_converts(tmp_path: Path, family: TextFamily) -> None:
    config, found = flat_config(Layout.packed, family), networks(family)
    ours = added(write_networks(found, tmp_path / "in"), config, tmp_path / "ours.safetensors")
    original = flat_weights(ours, Naming.LDM, config)
    sizes = {"layers_per_block": 2, "down_block_types": [0] * 2, "up_block_types": [0] * 2}
    assert same(convert_ldm_unet_checkpoint(original, sizes), found["unet"].state_dict())
    assert same(convert_ldm_vae_checkpoint(original, sizes), found["vae"].state_dict())
    text: dict[str, Tensor] = (
        convert_ldm_clip_checkpoint(original)
        if family is TextFamily.clip
        else convert_open_clip_checkpoint(found["text_encoder"], original)
    )
    text = {key.removeprefix("text_model."): tensor for key, tensor in text.items()}
    assert same(text, found["text_encoder"].state_dict())
    # The converter knows hints of four widths only.
    converted = convert_controlnet_checkpoint(original, sizes)
    expected = found["controlnet"].state_dict()
    known = {key: tensor for key, tensor in converted.items() if "cond_embedding" not in key}
    assert same(known, {key: expected[key] for key in expected if "cond_embedding" not in key})


@FAMILIES
def test_an_ldm_file_comes_back_bit_for_bit(tmp_path: Path, family: TextFamily) -> None:
    stacked, config = flat_config(Layout.stacked, family), flat_config(Layout.packed, family)
    source = write_networks(networks(family), tmp_path / "in")
    ours = added(source, stacked, tmp_path / "ours.safetensors")
    original = flat_weights(ours, Naming.LDM, stacked)
    write_tensors(original, tmp_path / "original.safetensors")
    again = added(tmp_path / "original.safetensors", config, tmp_path / "again.safetensors")
    assert same(flat_weights(again, Naming.LDM, config), original)


@torch.no_grad()
@LAYOUTS
@FAMILIES
def test_each_slot_at_birth_is_plain_stable_diffusion_with_its_controlnet(
    tmp_path: Path, family: TextFamily, layout: Layout
) -> None:
    """Packed, the back alone: other slots share its cells."""
    config, found = flat_config(layout, family), networks(family)
    path = write_networks(found, tmp_path / "in")
    model = loaded(path, config, tmp_path / "ours.safetensors")
    slots = 3 if layout is Layout.stacked else 1
    latents, text = torch.randn(2, slots, 4, 12, 8), torch.randn(2, slots, 7, TEXT)
    hint, timestep = torch.rand(2, slots, 5, 24, 16), torch.rand(2, slots) * 999
    prompts = asked(text)
    control = model.control(latents, timestep, model.control.encode(hint, prompts))
    answers = model.unet(latents, timestep, model.unet.read(prompts), control)
    for slot in range(slots):
        given = (latents[:, slot], timestep[:, slot], text[:, slot])
        down, middle = found["controlnet"](*given, hint[:, slot, :3], return_dict=False)
        taps = {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
        expected = found["unet"](*given, **taps).sample
        assert (answers[:, slot] - expected).abs().max() < 1e-4 * expected.abs().max()


@torch.no_grad()
def test_opaque_layers_have_stable_diffusions_latents_and_come_back_opaque(tmp_path: Path) -> None:
    config, found = flat_config(Layout.packed, TextFamily.clip), networks(TextFamily.clip)
    path = write_networks(found, tmp_path / "in")
    autoencoder = loaded(path, config, tmp_path / "ours.safetensors").autoencoder
    rgb = picture("duck.jpg", 32)
    rgba = torch.cat([rgb, torch.ones(1, 32, 32)])[None, None]
    expected = found["vae"].encode(rgb[None] * 2 - 1).latent_dist.mean * 0.18215
    latents = autoencoder.encode(rgba)
    torch.testing.assert_close(latents[:, 0], expected, atol=1e-5, rtol=1e-4)
    shown = found["vae"].decode(expected / 0.18215).sample * 0.5 + 0.5
    back = autoencoder.decode(latents)
    torch.testing.assert_close(back[:, 0, :3], shown.clamp(0, 1), atol=1e-5, rtol=1e-4)
    assert torch.equal(back[:, 0, 3], torch.ones(1, 32, 32))
