"""Laws of tables: each foreign key is covered once, and foreign weights do what they did."""

from dataclasses import replace

import pytest
import torch
from diffusers.loaders.single_file_utils import (
    convert_controlnet_checkpoint,
    convert_ldm_unet_checkpoint,
)
from foreign import HINT_WIDTHS, foreign_control, manifest, same
from subjects import FULL, TEXT, WIDTHS, asked, awake, foreign_unet
from torch import Tensor, nn

from cldm.control import ControlNet
from ldm.checkpoint import WeightsError
from ldm.layout import StackedLayout
from ldm.unet import UNet, Widths
from ldm.weights import Naming, Table, control_table, to_foreign, to_ours, unet_table

SPREAD = replace(
    WIDTHS,
    channels=(32, 32, 64),
    attention=(False, True, True),
    across=(False,) * 3,
    num_heads=(2,) * 3,
    num_residuals=1,
)
"""Other sizes than Stable Diffusion's, with levels that keep their width."""
HINT = (16, 32, 96, 256)


def unet(widths: Widths) -> UNet:
    return UNet(widths, StackedLayout(widths.channels[0], widths.text))


def control(widths: Widths, hint_widths: tuple[int, ...]) -> ControlNet:
    layout = StackedLayout(widths.channels[0], widths.text)
    return ControlNet(widths, layout, hint_channels=3, hint_widths=hint_widths, guessing=False)


def shared(module: nn.Module, table: Table) -> dict[str, Tensor]:
    """The module's weights that the table names."""
    names = {row.ours for row in table}
    return {
        key: weight
        for key, weight in module.state_dict().items()
        if key.rpartition(".")[0] in names
    }


@pytest.mark.parametrize(("name", "text"), [("sd15", 768), ("sd21", 1024)])
@pytest.mark.parametrize("prefix", ["model.diffusion_model.", "control_model."])
def test_each_published_key_is_one_of_ours(name: str, text: int, prefix: str) -> None:
    widths = replace(FULL, text=text)
    base = prefix.startswith("model.")
    table = unet_table(widths) if base else control_table(widths, HINT)
    with torch.device("meta"):
        module = unet(widths) if base else control(widths, HINT)
    found = to_foreign(shared(module, table), table, Naming.LDM, linear=name == "sd21")
    assert {prefix + key: tuple(weight.shape) for key, weight in found.items()} == {
        key: shape for key, shape in manifest(name).items() if key.startswith(prefix)
    }


@pytest.mark.parametrize("widths", [WIDTHS, SPREAD], ids=["like SD", "other sizes"])
def test_the_unets_columns_are_diffusers_own_conversion(widths: Widths) -> None:
    ours, table = unet(widths), unet_table(widths)
    own = {"layout.sense.weight", "layout.sense.bias"}
    assert ours.state_dict().keys() - shared(ours, table).keys() == own
    original = to_foreign(shared(ours, table), table, Naming.LDM, linear=False)
    prefixed = {f"model.diffusion_model.{key}": weight for key, weight in original.items()}
    expected = convert_ldm_unet_checkpoint(prefixed, {"layers_per_block": widths.num_residuals})
    assert same(to_foreign(shared(ours, table), table, Naming.DIFFUSERS, linear=False), expected)


def test_the_controlnets_columns_are_diffusers_own_conversion() -> None:
    ours, table = control(FULL_SMALL, HINT), control_table(FULL_SMALL, HINT)
    original = to_foreign(shared(ours, table), table, Naming.LDM, linear=True)
    prefixed = {f"control_model.{key}": weight for key, weight in original.items()}
    expected = convert_controlnet_checkpoint(prefixed, {"layers_per_block": 2})
    assert same(to_foreign(shared(ours, table), table, Naming.DIFFUSERS, linear=True), expected)


# The converter knows hints of four widths only.
FULL_SMALL = replace(FULL, channels=(32, 32, 64, 64), text=TEXT, num_heads=(2,) * 4)


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("naming", list(Naming))
def test_there_and_back_is_the_same_bit_for_bit(naming: Naming, linear: bool) -> None:
    table = control_table(WIDTHS, HINT_WIDTHS)
    ours = shared(awake(control(WIDTHS, HINT_WIDTHS)), table)
    foreign = to_foreign(ours, table, naming, linear=linear)
    assert same(to_ours(foreign, table, naming), ours)


@torch.no_grad()
@pytest.mark.parametrize("naming", list(Naming))
def test_a_foreign_controlnet_answers_as_it_did(naming: Naming) -> None:
    foreign, table = foreign_control(), control_table(WIDTHS, HINT_WIDTHS)
    named = to_ours(foreign.state_dict(), table, Naming.DIFFUSERS)
    named = to_ours(to_foreign(named, table, naming, linear=False), table, naming)
    ours = control(WIDTHS, HINT_WIDTHS).eval()
    ours.load_state_dict(ours.state_dict() | named)
    latents, text, hint = (
        torch.randn(2, 4, 12, 8),
        torch.randn(2, 7, TEXT),
        torch.rand(2, 3, 24, 16),
    )
    timestep, prompts = torch.tensor([17.0, 801.0]), asked(text[:, None])
    down, middle = foreign(latents, timestep, text, hint, return_dict=False)
    encoded = ours.encode(hint[:, None], prompts)
    found = ours(latents[:, None], timestep[:, None], encoded)
    for expected, tap in zip([*down, middle], found, strict=True):
        assert (tap - expected).abs().max() < 1e-4 * expected.abs().max()


def test_an_unknown_key_is_refused_by_name() -> None:
    weights = foreign_unet().state_dict() | {"add_embedding.linear_1.weight": torch.zeros(1)}
    with pytest.raises(WeightsError, match=r"add_embedding\.linear_1\.weight is not in the table"):
        to_ours(weights, unet_table(WIDTHS), Naming.DIFFUSERS)
