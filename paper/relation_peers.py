"""What the relation network is measured against: known ways to make layers fit together.

Each says what it does as `Effects`, so that all are shown and measured alike.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

import cv2
import numpy as np
import torch
from jaxtyping import Float
from skimage.exposure import match_histograms

from ldm.compositing import crop_masks, stack
from ldm.effects import shown
from ldm.metrics import affected_region, region_psnr
from ldm.projection import blur
from ldm.scene import Scene
from ldm.values import Effects, Frames, Layers, identity_effects

Transfer = Callable[[Float[np.ndarray, "k 3"], Float[np.ndarray, "m 3"]], Float[np.ndarray, "k 3"]]
"""Pixels made to look like other pixels; sRGB, 0..1."""


def plain(layers: Layers) -> Effects:
    """Plain stacking."""
    return identity_effects(layers)


def reinhard(layers: Layers) -> Effects:
    """Each layer gets mean and deviation, in CIELAB, of the picture behind it.

    Reinhard et al., "Color Transfer between Images", IEEE CG&A 2001, there in another
    opponent space.
    """
    return _recoloured(layers, _mean_and_deviation)


def histogram_matching(layers: Layers) -> Effects:
    """Each layer gets the histogram, channel by channel, of the picture behind it."""
    return _recoloured(layers, _histogram)


def _mean_and_deviation(
    pixels: Float[np.ndarray, "k 3"], behind: Float[np.ndarray, "m 3"]
) -> Float[np.ndarray, "k 3"]:
    own, other = (cv2.cvtColor(each[None], cv2.COLOR_RGB2LAB)[0] for each in (pixels, behind))
    scale = other.std(axis=0) / own.std(axis=0).clip(min=1e-3)
    moved = (own - own.mean(axis=0)) * scale + other.mean(axis=0)
    return cv2.cvtColor(moved[None], cv2.COLOR_LAB2RGB)[0].clip(0, 1)


def _histogram(
    pixels: Float[np.ndarray, "k 3"], behind: Float[np.ndarray, "m 3"]
) -> Float[np.ndarray, "k 3"]:
    return match_histograms(pixels, behind, channel_axis=-1).astype(np.float32)


def _recoloured(layers: Layers, transfer: Transfer) -> Effects:
    """Effects that give each layer, where it is not transparent, the colours of what is behind."""
    rgb = layers.rgb.clone()
    for picture, slot in (layers.present & layers.alpha.flatten(2).any(dim=-1)).nonzero().tolist():
        if slot > 0:
            below = Layers(rgba=layers.rgba[:, :slot], present=layers.present[:, :slot])
            inside = layers.alpha[picture, slot, 0] > 0
            behind = stack(below)[picture].flatten(1).T.numpy()
            found = transfer(rgb[picture, slot][:, inside].T.contiguous().numpy(), behind)
            rgb[picture, slot][:, inside] = torch.from_numpy(found).T
    unlit = identity_effects(layers)
    # Multiplied by nothing, then the new colours added: any recolouring is an effect.
    return replace(unlit, multiply=torch.zeros_like(rgb), add=rgb)


@dataclass(frozen=True, kw_only=True)
class DropShadow:
    """The usual drop shadow: the alpha moved, blurred, and multiplied on all behind as grey.

    `across`, `down`: how far it is moved; `softness`: sigma of the blur; all in picture heights.
    `strength`: 0..1, how much light it takes.
    """

    across: float
    down: float
    softness: float
    strength: float

    def __call__(self, layers: Layers) -> Effects:
        """The same shadow under every layer above the back."""
        across = self.across * layers.size[0] / layers.size[1]
        box = torch.tensor([-across, -self.down, 1 - across, 1 - self.down])
        view = Frames(box=box.expand(*layers.present.shape, 4))
        moved = crop_masks(layers.alpha[:, :, 0], view, layers.size)[:, :, None]
        taken = self.strength * blur(moved, self.softness)
        taken[:, 0] = 0
        return replace(identity_effects(layers), shadow=(1 - taken).expand(-1, -1, 3, -1, -1))


DROP_SHADOWS = [
    DropShadow(across=across, down=down, softness=softness, strength=strength)
    for across, down, softness, strength in product(
        (-0.1, -0.05, 0.0, 0.05, 0.1), (-0.04, 0.0, 0.04), (0.02, 0.05), (0.2, 0.4, 0.6)
    )
]
"""Those that an artist would try."""


def best_drop_shadow(scenes: Sequence[Scene]) -> DropShadow:
    """The drop shadow with the highest mean PSNR in the affected region."""
    truths = [scene.picture for scene in scenes]
    plain_pictures = [stack(scene.layers) for scene in scenes]
    regions = list(map(affected_region, truths, plain_pictures))

    def likeness(peer: DropShadow) -> float:
        found = [shown(scene.layers, peer(scene.layers)) for scene in scenes]
        each = map(region_psnr, truths, found, regions)
        return torch.cat(list(each)).mean().item()

    return max(DROP_SHADOWS, key=likeness)
