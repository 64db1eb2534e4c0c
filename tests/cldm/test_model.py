"""Laws of the joined model: what is kept stays, one seed draws one picture, absence is silent."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from subjects import awake

from cldm.build import build_model, load_model
from cldm.condition import Condition, hint
from cldm.config import ModelConfig, RelationKind
from cldm.model import LayerDiffusion, Order, Sampling, Task, blank_task
from cldm.relation.guides import unknown_hint
from ldm.checkpoint import WeightsError, save_weights
from ldm.compositing import resize, whole_frames
from ldm.sampler import Sampler
from ldm.values import Frames, Layers, Masks, identity_effects

QUICK = Sampling(num_steps=2, guidance_scale=2.0)


@pytest.fixture
def kept(photographs: Layers, condition: Condition) -> Layers:
    """Photographs in the size of what is asked."""
    return Layers(rgba=resize(photographs.rgba, (64, 64)), present=condition.masks.present)


@pytest.mark.parametrize("order", Order)
def test_layers_come_out_whole(
    tiny_model: LayerDiffusion, condition: Condition, order: Order
) -> None:
    layers = tiny_model.generate(condition, replace(QUICK, order=order))
    assert layers.rgba.shape == (2, 3, 4, 64, 64)
    assert torch.equal(layers.present, condition.masks.present)
    assert (layers.alpha[:, 0] == 1).all()
    assert layers.rgba.min() >= 0
    assert layers.rgba.max() <= 1
    assert not layers.rgba[1, 2].any()
    # Nothing stands outside its frame: the first object's ends at column 39 and more.
    right = int(condition.frames.box[0, 1, 2] * 64) + 1
    assert not layers.alpha[0, 1, 0, :, right:].any()


def test_one_seed_draws_one_picture(tiny_model: LayerDiffusion, condition: Condition) -> None:
    first, again, other = (
        tiny_model.generate(condition, replace(QUICK, seed=seed)).rgba for seed in (5, 5, 6)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("order", Order)
@pytest.mark.parametrize("sampler", [Sampler.DPM, Sampler.EULER_A])
def test_kept_slots_leave_bit_identical(
    tiny_model: LayerDiffusion, condition: Condition, kept: Layers, order: Order, sampler: Sampler
) -> None:
    redraw = torch.tensor([[False, True, False], [True, False, False]])
    how = replace(QUICK, order=order, sampler=sampler)
    edited = tiny_model.edit(kept, condition, redraw, how)
    assert torch.equal(edited.rgba[~redraw], kept.rgba[~redraw])
    assert not torch.equal(edited.rgba[redraw], kept.rgba[redraw])


def test_previews_count_all_passes(tiny_model: LayerDiffusion, condition: Condition) -> None:
    how = replace(QUICK, order=Order.AUTOREGRESSIVE, guidance_scale=1.0)
    task = blank_task(condition)
    previews = list(tiny_model.draw(task, how))
    assert [preview.step for preview in previews] == [1, 2, 3, 4, 5, 6]
    assert {preview.num_steps for preview in previews} == {6}
    assert tiny_model.show(task, previews[0]).rgba.isfinite().all()


def test_the_back_does_not_know_what_will_be_drawn_before_it(
    tiny_model: LayerDiffusion, condition: Condition
) -> None:
    words, how = condition.tokens.clone(), replace(QUICK, order=Order.AUTOREGRESSIVE)
    words[:, 2] = words[:, 1]
    other = replace(condition, tokens=words)
    first, second = (tiny_model.generate(asked, how).rgba for asked in (condition, other))
    assert torch.equal(first[:, :2], second[:, :2])
    assert not torch.equal(first[0, 2], second[0, 2])


@torch.no_grad()
def test_padding_with_an_absent_slot_leaves_no_trace(
    tiny_model: LayerDiffusion, condition: Condition
) -> None:
    def padded(values: torch.Tensor) -> torch.Tensor:
        return torch.cat([values, torch.ones_like(values[:, :1])], dim=1)

    masks, slots = condition.masks, torch.tensor([[True, True, True, False]]).expand(2, -1)
    present = slots & padded(masks.present)
    more = Condition(
        tokens=padded(condition.tokens),
        masks=Masks(area=padded(masks.area), present=present),
        frames=Frames(box=torch.cat([condition.frames.box, whole_frames(2, 1).box], dim=1)),
    )
    noisy, sigma = torch.randn(2, 3, 4, 8, 8), torch.tensor([[0.0, 1.0, 5.0], [2.0, 0.5, 1.0]])
    found = tiny_model.denoiser(condition, 1.0)(noisy, sigma)
    wider = tiny_model.denoiser(more, 1.0)(padded(noisy), padded(sigma))
    seen = masks.present
    torch.testing.assert_close(wider[:, :3][seen], found[seen], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_control_of_strength_zero_is_none(tiny_model: LayerDiffusion, condition: Condition) -> None:
    noisy, timestep = torch.randn(2, 3, 4, 8, 8), torch.full((2, 3), 400.0)
    prompts, hints = tiny_model.prompts(condition), hint(condition, 32)
    encoded, other = (tiny_model.control.encode(maps, prompts) for maps in (hints, 1 - hints))
    none, silent, one = (
        tiny_model.predict(noisy, timestep, tiny_model.unet.read(prompts), code, strength)
        for code, strength in ((encoded, 0.0), (other, 0.0), (encoded, 1.0))
    )
    assert torch.equal(none, silent)
    assert not torch.equal(none, one)


def test_an_opaque_photograph_is_kept_while_its_hidden_back_is_drawn(
    tiny_model: LayerDiffusion, condition: Condition, kept: Layers
) -> None:
    redraw = torch.tensor([[True, False, False]]).expand(2, -1)
    task = Task(layers=kept, condition=condition, redraw=redraw)
    drawn = tiny_model.finish(task, QUICK)
    assert torch.equal(drawn.rgba[:, 1:], kept.rgba[:, 1:])
    assert (drawn.alpha[:, 0] == 1).all()


def test_packed_draws_over_the_whole_picture(
    packed_config: ModelConfig, condition: Condition, kept: Layers
) -> None:
    model = awake(build_model(packed_config)).eval()
    whole = replace(condition, frames=whole_frames(2, 3))
    redraw = torch.tensor([[False, True, True], [False, True, False]])
    edited = model.edit(kept, whole, redraw, QUICK)
    assert torch.equal(edited.rgba[~redraw], kept.rgba[~redraw])
    assert edited.rgba.isfinite().all()


@pytest.mark.parametrize("network", RelationKind)
def test_relation_changes_nothing_when_new(
    tiny_config: ModelConfig, kept: Layers, network: RelationKind
) -> None:
    relation = replace(tiny_config.relation, network=network)
    model = build_model(replace(tiny_config, relation=relation))
    effects, identity = model.relate(kept, unknown_hint(2)), identity_effects(kept)
    for name in ("multiply", "add", "shadow", "reflection", "alpha"):
        torch.testing.assert_close(getattr(effects, name), getattr(identity, name))


def test_a_model_is_loaded_from_the_weights_its_config_names(
    tiny_config: ModelConfig, tiny_model: LayerDiffusion, condition: Condition, tmp_path: Path
) -> None:
    named = replace(tiny_config, weights="tiny.safetensors")
    for config, said in ((tiny_config, "names none"), (named, "no such file")):
        with pytest.raises(WeightsError, match=said):
            load_model(config, tmp_path)
    save_weights(tiny_model, tmp_path / named.weights)
    loaded = load_model(named, tmp_path)
    assert not loaded.training
    found, written = loaded.state_dict(), tiny_model.state_dict()
    assert found.keys() == written.keys()
    assert all(torch.equal(found[key], written[key].half().float()) for key in found)
