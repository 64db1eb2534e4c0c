"""RGBA pixels <-> one latent per layer.

The only place that knows the range [-1, 1] of the network's pixels, the factor between pixels and
latent cells, and the scale of latents.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from ldm.compositing import bleed

# Convolutions on CPU run faster on channels-last memory (measured: 1.0 s instead of 1.2 s a step).
_MEMORY = torch.channels_last
STABLE_DIFFUSION_SCALE = 1 / 0.18215
"""What Stable Diffusion divides its latents by, as `Autoencoder.scale` has it."""
# Log variance of the noise that the decoder of linear latents learns to bear: about the spread of
# the smallest components, whose speckle drawn latents have most of.
_QUIET = -4.0


class Autoencoder(nn.Module):
    """Diffusers' AutoencoderKL over RGBA (Rombach et al., "High-Resolution Image Synthesis with
    Latent Diffusion Models", 2022), with latents of unit variance.

    `patch` folds squares of pixels into channels first (1 for Stable Diffusion): the finest level,
    whose cost on a CPU is all memory traffic, falls away. With `linear`, latents are the principal
    components of squares of `factor` pixels (`begin_linear` measures them) and only the way back
    has a network, beside the components' own: latents are final before any training, so that
    layered diffusion and the decoder may learn at the same time.
    """

    def __init__(
        self,
        *,
        latent_channels: int,
        channels: Sequence[int],
        num_residuals: int,
        num_groups: int,
        patch: int,
        linear: bool,
    ) -> None:
        super().__init__()
        levels = len(channels)
        self.patch = patch
        self.factor = patch * 2 ** (levels - 1)
        sizes: dict[str, Any] = {
            "in_channels": 4 * patch**2,
            "out_channels": 4 * patch**2,
            "latent_channels": latent_channels,
            "block_out_channels": tuple(channels),
            "layers_per_block": num_residuals,
            "norm_num_groups": num_groups,
            "down_block_types": ("DownEncoderBlock2D",) * levels,
            "up_block_types": ("UpDecoderBlock2D",) * levels,
        }
        # Diffusers' annotations are narrower than what it takes and gives.
        self.network = cast(Any, AutoencoderKL(**sizes)).to(memory_format=_MEMORY)
        self.linear = nn.ModuleList()
        if linear:
            square = {"kernel_size": self.factor, "stride": self.factor}
            self.linear.append(nn.Conv2d(4, latent_channels, **square))
            self.linear.append(nn.ConvTranspose2d(latent_channels, 4, **square))
            self.network.encoder, self.network.quant_conv = nn.Identity(), nn.Identity()
            # Whatever weights come to lie there: latents stay what layered diffusion learned from.
            self.linear[0].requires_grad_(False)
        self.shift = nn.Buffer(torch.zeros(latent_channels))
        self.scale = nn.Buffer(torch.ones(latent_channels))
        self.spread = nn.Buffer(torch.ones(latent_channels))

    def encode(self, rgba: Float[Tensor, "b n 4 h w"]) -> Float[Tensor, "b n z y x"]:
        """Layers' canvases to latents of unit variance (the posterior's mean).

        Height and width must be multiples of `factor`.
        """
        mean, _ = self.posterior(rgba)
        return (mean - self.shift[:, None, None]) / self.scale[:, None, None]

    def decode(self, latents: Float[Tensor, "b n z y x"]) -> Float[Tensor, "b n 4 h w"]:
        """Latents to layers' canvases, straight alpha in 0..1."""
        return self.reconstruct(latents * self.scale[:, None, None] + self.shift[:, None, None])

    def posterior(
        self, rgba: Float[Tensor, "b n 4 h w"]
    ) -> tuple[Float[Tensor, "b n z y x"], Float[Tensor, "b n z y x"]]:
        """Mean and log variance of the raw latents; colour is bled under transparent pixels."""
        pixels = rearrange(bleed(rgba) * 2 - 1, "b n c h w -> (b n) c h w")
        if self.linear:
            mean = rearrange(self.linear[0](pixels), "(b n) z y x -> b n z y x", b=rgba.shape[0])
            return mean, torch.full_like(mean, _QUIET)
        folded = F.pixel_unshuffle(pixels, self.patch).contiguous(memory_format=_MEMORY)
        moments = self.network.encode(folded).latent_dist.parameters.float()
        unfolded = rearrange(moments, "(b n) z y x -> b n z y x", b=rgba.shape[0])
        mean, log_variance = unfolded.chunk(2, dim=2)
        return mean, log_variance.clamp(-30, 20)

    def reconstruct(self, raw: Float[Tensor, "b n z y x"]) -> Float[Tensor, "b n 4 h w"]:
        """Raw latents to canvases; not clamped while training, so that gradients live."""
        folded = rearrange(raw, "b n z y x -> (b n) z y x").contiguous(memory_format=_MEMORY)
        pixels = F.pixel_shuffle(self.network.decode(folded).sample.float(), self.patch)
        if self.linear:
            pixels = pixels + self.linear[1](folded)
        rgba = rearrange(pixels, "(b n) c h w -> b n c h w", b=raw.shape[0]) * 0.5 + 0.5
        return rgba if self.training else rgba.clamp(0, 1)

    @torch.no_grad()
    def calibrate(self, canvases: Float[Tensor, "k n 4 h w"]) -> None:
        """Measure shift (of each channel) and scale (one for all) of latents, and the spread
        (standard deviation) of each channel after both.

        `encode` then gives zero mean and variance 1 on the whole. Channels keep their proportions,
        so that what carries most of the picture is drawn first.
        """
        raw = self.posterior(canvases)[0].flatten(0, 1)
        self.shift.copy_(raw.mean(dim=(0, 2, 3)))
        deviation = (raw - self.shift[:, None, None]).square().mean(dim=(0, 2, 3))
        self.scale.fill_(deviation.mean().sqrt().item())
        self.spread.copy_(deviation.sqrt() / self.scale)

    @torch.no_grad()
    def begin_linear(self, canvases: Float[Tensor, "k n 4 h w"]) -> None:
        """Set the linear way to the principal components of the canvases' squares, scaled to unit
        variance on the whole; the network beside it begins at zero."""
        pixels = rearrange(bleed(canvases) * 2 - 1, "k n c h w -> (k n) c h w")
        squares = rearrange(F.unfold(pixels, self.factor, stride=self.factor), "k d s -> (k s) d")
        centre = squares.mean(dim=0)
        _, vectors = torch.linalg.eigh(torch.cov(squares.T))
        linear_in, linear_out = self.linear
        assert isinstance(linear_in, nn.Conv2d)
        assert isinstance(linear_out, nn.ConvTranspose2d)
        assert linear_in.bias is not None
        assert linear_out.bias is not None
        components = vectors[:, -linear_in.out_channels :].flip(1).T
        scale = ((squares - centre) @ components.T).std()
        linear_in.weight.copy_((components / scale).reshape(linear_in.weight.shape))
        linear_in.bias.copy_(-(components / scale) @ centre)
        linear_out.weight.copy_((components * scale).reshape(linear_out.weight.shape))
        # A transposed convolution has one bias for each channel: the mean square is nearly flat.
        linear_out.bias.copy_(centre.reshape(4, -1).mean(dim=1))
        nn.init.zeros_(self.network.decoder.conv_out.weight)
        nn.init.zeros_(self.network.decoder.conv_out.bias)
        self.calibrate(canvases)


@torch.no_grad()
def widen(network: AutoencoderKL) -> AutoencoderKL:
    """A three-channel autoencoder as one of four channels that treats opaque colour as before.

    The first convolution meets alpha with zero weights; the last one answers alpha 1 (opaque)
    through its bias.
    """
    config = dict(network.config) | {"in_channels": 4, "out_channels": 4}
    wide = AutoencoderKL.from_config(config)
    assert isinstance(wide, AutoencoderKL)
    weights = network.state_dict()
    first, last, bias = "encoder.conv_in.weight", "decoder.conv_out.weight", "decoder.conv_out.bias"
    weights[first] = F.pad(weights[first], (0, 0, 0, 0, 0, 1))
    weights[last] = F.pad(weights[last], (0, 0, 0, 0, 0, 0, 0, 1))
    weights[bias] = F.pad(weights[bias], (0, 1), value=1.0)
    wide.load_state_dict(weights)
    return wide
