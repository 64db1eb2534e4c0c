"""Laws of what learns: only what was asked, the rest frozen and left out of every file; steps that
are computed again give the same gradients from less memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from subjects import STAGE, awake, write_data
from test_stages import examples
from torch import Tensor, nn

from cldm.build import build_model, load_model, widths_of
from cldm.callbacks import trainable
from cldm.condition import hint
from cldm.config import Layout, Learning, ModelConfig, RunConfig
from cldm.examples import Examples
from cldm.model import LayerDiffusion
from cldm.training.fitting import fit
from cldm.training.layers import LayersTraining
from cldm.training.learning import choose
from cldm.training.stage import prepare_layers
from ldm.blocks import AcrossAttention
from ldm.checkpoint import WeightsError, overlay_weights, save_weights
from ldm.lora import Lora, merge_lora
from ldm.unet import recompute

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
LAYOUTS = pytest.mark.parametrize("layout", ["tiny_config", "packed_config"])
SOME = (Learning.control, Learning.new, Learning.lora)


def learning(config: ModelConfig, *parts: Learning) -> ModelConfig:
    """The config with other parts that learn, in two steps."""
    training = replace(
        config.training,
        layers=replace(STAGE, num_steps=2),
        learning=parts,
        lora_rank=2,
        mean_steps=0,
    )
    return replace(config, training=training)


def chosen(config: ModelConfig, *parts: Learning) -> tuple[LayerDiffusion, set[str]]:
    """A model whose parts learn, and their names."""
    torch.manual_seed(0)
    model = awake(build_model(config))
    choose(model, learning(config, *parts))
    return model, set(trainable(model))


def below(model: nn.Module, *modules: nn.Module) -> set[str]:
    """Names of the weights inside some modules."""
    inside = {id(weight) for module in modules for weight in module.parameters()}
    return {name for name, weight in model.named_parameters() if id(weight) in inside}


@LAYOUTS
def test_new_is_what_stable_diffusion_does_not_have(
    layout: str, request: pytest.FixtureRequest
) -> None:
    config: ModelConfig = request.getfixturevalue(layout)
    model, names = chosen(config, Learning.new)
    modules = [part for part in model.modules() if isinstance(part, AcrossAttention)]
    expected = below(model, *modules, model.control.sketch)
    expected |= {name for name in names if ".layout." in name and "layout.time." not in name}
    # Four channels of latents and three of hints are known, biases go with what comes out.
    expected.add("control.hint.convolutions.0.weight")
    if config.unet.layout is Layout.packed:
        expected |= {"unet.encoder.conv_in.weight", "control.encoder.conv_in.weight"}
        expected |= {"unet.decoder.conv_out.weight", "unet.decoder.conv_out.bias"}
    assert names == expected
    slots = {"slots", "time_slots"} if config.unet.layout is Layout.packed else {"sense"}
    found = {name.split(".layout.")[1].split(".")[0] for name in names if ".layout." in name}
    assert found == slots


@LAYOUTS
def test_what_learns_gets_a_gradient_and_nothing_else(
    layout: str, request: pytest.FixtureRequest
) -> None:
    config: ModelConfig = request.getfixturevalue(layout)
    (batch,) = examples(config, 1)
    plain, everything = chosen(config, Learning.everything)
    assert {name.split(".")[0] for name in everything} == {"text", "control", "unet"}
    _, control = chosen(config, Learning.control)
    assert control == below(plain, plain.control) - below(plain, plain.control.mean)
    for parts in ((Learning.control,), (Learning.lora,), SOME):
        model, names = chosen(config, *parts)
        assert any(".lora_A" in name for name in names) == (Learning.lora in parts)
        gradients(model, batch)
        for name, weight in model.named_parameters():
            assert (weight.grad is not None) == (name in names), name


def gradients(model: LayerDiffusion, batch: Examples) -> float:
    """The loss of one training step, whose gradients lie with the weights."""
    torch.manual_seed(1)
    module = LayersTraining(model, learning_rate=1e-3, num_steps=2, timestep_shift=1.0)
    loss = module.loss(batch)
    loss.backward()
    return float(loss)


@contextmanager
def kept_bytes() -> Iterator[list[int]]:
    """What is kept for the way back: bytes of each memory once, weights not counted."""
    kept: dict[int, int] = {}
    found: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if not isinstance(tensor, nn.Parameter):
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield found
    found.append(sum(kept.values()))


@LAYOUTS
@pytest.mark.parametrize("parts", [(Learning.everything,), SOME], ids=["everything", "some"])
def test_recomputed_gradients_are_the_same_from_less_memory(
    layout: str, parts: tuple[Learning, ...], request: pytest.FixtureRequest
) -> None:
    config: ModelConfig = request.getfixturevalue(layout)
    (batch,) = examples(config, 1)
    (plain, names), (again, _) = chosen(config, *parts), chosen(config, *parts)
    recompute(again.unet)
    recompute(again.control)
    with kept_bytes() as whole:
        expected = gradients(plain, batch)
    with kept_bytes() as little:
        found = gradients(again, batch)
    assert found == expected
    assert little[0] < 0.7 * whole[0]
    others = dict(again.named_parameters())
    for name, weight in trainable(plain).items():
        assert torch.equal(weight.grad, others[name].grad), name
    assert names


def prediction(model: LayerDiffusion, batch: Examples) -> Tensor:
    """What the model says of noisy latents in the middle of the schedule."""
    timestep = torch.full(batch.condition.masks.present.shape, 500.0)
    prompts = model.prompts(batch.condition)
    return model.predict(
        batch.latents,
        timestep,
        model.unet.read(prompts),
        model.control.encode(hint(batch.condition, model.canvas), prompts),
        strength=1.0,
    )


def based_run(config: ModelConfig, folder: Path) -> RunConfig:
    """A run that begins with a base, none of whose parts is silent."""
    base = folder / "base.safetensors"
    save_weights(awake(build_model(config)), base)
    return RunConfig(
        data=str(write_data(folder / "data")),
        folder=str(folder / "run"),
        begin=str(base),
        precision="32-true",
        picture_every=1000,
    )


def test_small_files_over_the_base_are_the_trained_model(
    tiny_config: ModelConfig, tmp_path: Path
) -> None:
    run, base = based_run(tiny_config, tmp_path), tmp_path / "base.safetensors"
    config = replace(learning(tiny_config, *SOME), weights=base.name)
    prepared = prepare_layers(config, run)
    names, model = set(trainable(prepared.module)), prepared.module.model
    frozen = {
        name: weight.clone()
        for name, weight in model.named_parameters()
        if not weight.requires_grad
    }
    own, adapters = fit(prepared, run)
    after = dict(model.named_parameters())
    assert all(torch.equal(after[name], weight) for name, weight in frozen.items())

    # Files hold what learned, and checkpoints too.
    with safe_open(own, framework="pt") as file:
        assert set(file.keys()) == {name for name in trainable(model) if ".lora_" not in name}
    with safe_open(adapters, framework="pt") as file:
        assert all(".lora_" in key for key in file.keys())  # noqa: SIM118
    checkpoint = torch.load(tmp_path / "run" / "layers" / "last.ckpt", weights_only=True)
    assert set(checkpoint["state_dict"]) == names
    assert own.stat().st_size + adapters.stat().st_size < 0.25 * base.stat().st_size

    (batch,) = examples(config, 1)
    loaded = load_model(config, tmp_path)
    with torch.no_grad():
        plain, expected = prediction(loaded, batch), prediction(model, batch)
        overlay_weights(loaded, own)
        lora = Lora(path=adapters)
        widths, _ = widths_of(config)
        merge_lora(lora, unet=loaded.unet, text=loaded.text.network, widths=widths)
        found = prediction(loaded, batch)
    assert (found - expected).abs().max() < 2e-3 * expected.abs().max()
    assert (plain - expected).abs().max() > 2 * (found - expected).abs().max()

    # A next training begins there; one of other parts does not go on from this checkpoint.
    further = replace(run, over=str(own), lora=str(adapters), folder=str(tmp_path / "next"))
    begun = prepare_layers(learning(config, Learning.control), further).module.model
    weights = begun.state_dict()
    for key, weight in loaded.state_dict().items():
        assert torch.equal(weights[key], weight), key
    with pytest.raises(WeightsError, match=r"expected the same training\.learning"):
        fit(prepare_layers(learning(config, Learning.control), run), run)
    with pytest.raises(WeightsError, match="begin: found none"):
        prepare_layers(config, replace(run, begin=""))


def test_a_training_of_some_parts_is_taken_up_as_it_was_left(
    tiny_config: ModelConfig, tmp_path: Path
) -> None:
    config, run = learning(tiny_config, *SOME), based_run(tiny_config, tmp_path)
    written = [path.read_bytes() for path in fit(prepare_layers(config, run), run)]
    torch.manual_seed(7)
    # No step is left: adapters, averages and the rest come from the checkpoint alone.
    again = [path.read_bytes() for path in fit(prepare_layers(config, run), run)]
    assert again == written
