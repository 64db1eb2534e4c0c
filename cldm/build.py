"""From a config to a model: explicit constructor calls, and weights from a file."""

from pathlib import Path

import torch

from cldm.condition import HINT_CHANNELS
from cldm.config import Layout as LayoutName
from cldm.config import ModelConfig, RelationConfig, RelationKind, TextConfig
from cldm.control import ControlNet
from cldm.model import LayerDiffusion
from cldm.relation.graph import RelationGraph
from cldm.relation.network import PlainStacking, RelationNetwork
from cldm.relation.transformer import RelationTransformer
from ldm.autoencoder import Autoencoder
from ldm.checkpoint import WeightsError, load_weights
from ldm.denoiser import NoiseSchedule
from ldm.layout import Layout, PackedLayout, StackedLayout
from ldm.text import ClipTower, OpenClipTower, TextFamily, TextTower, Tokenizer
from ldm.unet import UNet, Widths


def build_model(config: ModelConfig) -> LayerDiffusion:
    """A new model without trained weights."""
    widths, hint_channels = widths_of(config)
    return LayerDiffusion(
        tokenizer=Tokenizer(config.text.length, config.text.family.padding),
        text=build_text(config.text),
        unet=UNet(widths, _layout(config)),
        control=ControlNet(
            widths,
            _layout(config),
            hint_channels=hint_channels,
            hint_widths=config.hint_channels,
            guessing=config.preconditioned,
        ),
        autoencoder=build_autoencoder(config),
        relation=build_relation(config.relation),
        schedule=NoiseSchedule(zero_terminal_snr=config.zero_terminal_snr),
        prediction=config.prediction,
        preconditioned=config.preconditioned,
        canvas=config.canvas,
    )


def build_text(config: TextConfig) -> TextTower:
    """A new text tower alone."""
    tower = ClipTower if config.family is TextFamily.clip else OpenClipTower
    return tower(
        width=config.width,
        depth=config.depth,
        num_heads=config.num_heads,
        length=config.length,
        skip=config.skip,
    )


def build_autoencoder(config: ModelConfig) -> Autoencoder:
    """A new autoencoder alone."""
    part = config.autoencoder
    return Autoencoder(
        latent_channels=part.latent_channels,
        channels=part.channels,
        num_residuals=part.num_residuals,
        num_groups=part.num_groups,
        patch=part.patch,
        linear=part.linear,
    )


def build_relation(config: RelationConfig) -> RelationNetwork:
    """A new relation network alone."""
    match config.network:
        case RelationKind.transformer:
            network = RelationTransformer
        case RelationKind.graph:
            network = RelationGraph
        case RelationKind.none:
            return PlainStacking()
    return network(width=config.width, depth=config.depth, num_heads=config.num_heads)


def load_model(
    config: ModelConfig, folder: Path, dtype: torch.dtype = torch.float32
) -> LayerDiffusion:
    """The model with the weights that its config names, looked for in `folder`; ready to draw.

    `dtype` is the precision of text tower, ControlNet and U-Net; weights go there straight from the
    file. Raises WeightsError with one line when they are missing, cut short or of another model.
    """
    if not config.weights:
        raise WeightsError("weights: the config names none; train first, or set weights=FILE")
    with torch.device("meta"):
        model = build_model(config)
    for network in (model.text, model.control, model.unet):
        network.to(dtype)
    load_weights(model, folder / config.weights)
    return model.eval()


def widths_of(config: ModelConfig) -> tuple[Widths, int]:
    """Sizes of the U-Net and channels of a folded hint: packed slots lie in the channels."""
    packed = config.unet.layout is LayoutName.packed
    folded = config.max_slots if packed else 1
    widths = Widths(
        latents=config.autoencoder.latent_channels * folded,
        channels=config.unet.channels,
        attention=config.unet.attention,
        across=config.unet.across,
        num_residuals=config.unet.num_residuals,
        num_heads=config.unet.num_heads,
        text=config.text.width,
    )
    return widths, HINT_CHANNELS * folded


def _layout(config: ModelConfig) -> Layout:
    if config.unet.layout is LayoutName.packed:
        return PackedLayout(config.unet.channels[0], config.text.width, config.max_slots)
    return StackedLayout(config.unet.channels[0], config.text.width)
