"""Placing cut-outs on a backdrop so that they stand on its ground."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from ldm.compositing import place
from ldm.projection import HORIZON
from ldm.values import Frames, Layers


def placed(
    cutouts: Float[Tensor, "b m 4 s s"],
    backdrops: Float[Tensor, "b 3 h w"],
    generator: Generator,
) -> Layers:
    """Layers of scenes in which one to `m` of the cut-outs stand on the ground, the near ones last.

    What stands farther is higher in the picture and smaller. Cut-outs are mirrored at random.
    """
    num_pictures, num_objects = cutouts.shape[:2]
    flipped = torch.rand(num_pictures, num_objects, 1, 1, 1, generator=generator) < 0.5
    cutouts = torch.where(flipped, cutouts.flip(-1), cutouts)
    count = torch.randint(1, num_objects + 1, (num_pictures, 1), generator=generator)
    present = torch.arange(num_objects) < count
    frames = Frames(box=_boxes(cutouts[:, :, 3], present, generator))
    standing = place(cutouts, frames, (backdrops.shape[-2], backdrops.shape[-1]))
    standing = standing * present[:, :, None, None, None]
    back = F.pad(backdrops, (0, 0, 0, 0, 0, 1), value=1.0)[:, None]
    return Layers(
        rgba=torch.cat([back, standing], dim=1), present=F.pad(present, (1, 0), value=True)
    )


def _boxes(
    alpha: Float[Tensor, "b m s s"], present: Bool[Tensor, "b m"], generator: Generator
) -> Float[Tensor, "b m 4"]:
    """Where each canvas lies so that its object's lowest row touches the ground."""
    num_objects = alpha.shape[1]
    nearness = torch.rand(present.shape, generator=generator) + ~present  # the absent come last
    ground = 0.64 + 0.32 * (nearness.sort(dim=1).values % 1)
    side = (ground - HORIZON) * (0.85 + 0.65 * torch.rand(ground.shape, generator=generator))
    shuffled = torch.rand(ground.shape, generator=generator).argsort(dim=1)
    jitter = torch.rand(ground.shape, generator=generator)
    centre = 0.08 + 0.84 * (shuffled + jitter) / num_objects
    rows = (alpha > 0.5).any(dim=-1)
    below = rows.flip(-1).float().argmax(dim=-1) / alpha.shape[-1]
    bottom = ground + below * side
    return torch.stack([centre - side / 2, bottom - side, centre + side / 2, bottom], dim=-1)
