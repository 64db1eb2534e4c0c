"""What is measured of effects on scenes whose truth is known: numbers `[b]` under their names."""

import torch
from jaxtyping import Float
from torch import Tensor

from annotator.scenes.shards import EditedScene
from annotator.scenes.staging import EditKind
from ldm.compositing import stack, visibility
from ldm.effects import shown
from ldm.metrics import (
    affected_region,
    edit_error,
    harmonisation_fmse,
    harmonisation_mse,
    harmonisation_psnr,
    local_shadow_ber,
    local_shadow_rmse,
    region_mse,
    region_psnr,
    shadow_ber,
    shadow_mask,
    shadow_rmse,
)
from ldm.scene import Scene
from ldm.values import Effects, Layers, identity_effects
from paper.relation_edits import cast_regions, slot_mask, still_region

Measured = dict[str, Tensor]
"""One number `[b]` for each picture under each name."""

UNITS = {
    "psnr": "dB",
    "affected_fmse": "1/255^2",
    "affected_gain_db": "dB",
    "shadow_rmse": "1/255",
    "shadow_local_rmse": "1/255",
    "shadow_ber": "share",
    "shadow_local_ber": "share",
    "harmonisation_mse": "1/255^2",
    "harmonisation_fmse": "1/255^2",
    "harmonisation_psnr": "dB",
    "harmonisation_gain_db": "dB",
    "relit_harmonisation_gain_db": "dB",
    "edit_error": "1/255",
    "still_mean": "1/255",
    "still_p999": "1/255",
    "still_max": "1/255",
    "still_share": "share",
    "untouched_mean": "1/255",
    "untouched_p999": "1/255",
    "untouched_max": "1/255",
    "untouched_share": "share",
    "identity_rmse": "1/255",
    "identity_effect": "1/255",
    "neutral_rmse": "1/255",
    "neutral_effect": "1/255",
    "direction_error_deg": "degrees",
    "azimuth_error_deg": "degrees",
    "elevation_error_deg": "degrees",
    "colour_error": "share",
    "softness_error": "share",
    "ambient_error": "share",
}


def measured_composite(scene: Scene, effects: Effects) -> Measured:
    """The picture under effects against the true one."""
    layers = scene.layers
    truth, flat, found = shown(layers, scene.effects), stack(layers), shown(layers, effects)
    region = affected_region(truth, flat)
    gain = region_psnr(truth, found, region) - region_psnr(truth, flat, region)
    return {
        "psnr": region_psnr(truth, found, torch.ones_like(region)),
        "affected_fmse": 255**2 * region_mse(truth, found, region),
        "affected_gain_db": gain,
    }


def measured_shadow(scene: Scene, effects: Effects) -> Measured:
    """Shadows against the true ones."""
    truth, found = (shown(scene.layers, each) for each in (scene.effects, effects))
    true, told = (shadow_mask(scene.layers.alpha, each.shadow) for each in (scene.effects, effects))
    return {
        "shadow_rmse": shadow_rmse(truth, found),
        "shadow_local_rmse": local_shadow_rmse(truth, found, true),
        "shadow_ber": shadow_ber(true, told)[:, 0],
        "shadow_local_ber": local_shadow_ber(true, told)[:, 0],
    }


def measured_harmonisation(scene: Scene, wrong: Layers, slot: Tensor, effects: Effects) -> Measured:
    """A scene one of whose layers came in `wrong` colours, against the truth in right ones, where
    that layer is seen; the gain is over plain stacking of the wrong layers."""
    truth, found = scene.picture, shown(wrong, effects)
    chosen = slot_mask(slot, wrong.present.shape[1])[:, :, None, None, None]
    seen = visibility(wrong.alpha) * chosen
    mask = (seen.sum(dim=1) > 0.5).float()
    psnr = harmonisation_psnr(truth, found, mask)
    return {
        "harmonisation_mse": harmonisation_mse(truth, found, mask),
        "harmonisation_fmse": harmonisation_fmse(truth, found, mask),
        "harmonisation_psnr": psnr,
        "harmonisation_gain_db": psnr - harmonisation_psnr(truth, stack(wrong), mask),
    }


def measured_edit(edited: EditedScene, found: Float[Tensor, "b 3 h w"]) -> Measured:
    """A picture after an edit, against the truth made anew, where shadows and reflections of the
    changed layers truly lay before or lie after: of all edits, and under the kind of this one."""
    truth = edited.after.picture
    error = edit_error(truth, found, *cast_regions(edited))
    return {"edit_error": error, f"edit_error_{edited.kind.value}": error}


def measured_stillness(
    edited: EditedScene,
    before: Float[Tensor, "1 3 h w"],
    after: Float[Tensor, "1 3 h w"],
    drawn: Float[Tensor, "1 1 h w"],
) -> Measured:
    """How much two pictures of ours, before and after a move, differ where nothing should: by the
    pixel's channel that changes most, its mean, all but a thousandth, and greatest; and the share
    of pixels that change by more than 1/255. Nothing of other edits.

    `still` leaves out what the edit truly touches; `untouched` also what is `drawn` of the moved
    layer and of its effects, wrongly maybe.
    """
    if edited.kind is not EditKind.moved:
        return {}
    change = 255 * (after - before).abs().amax(dim=1)
    still = still_region(edited)[:, 0] > 0
    found: Measured = {}
    for name, region in (("still", still), ("untouched", still & (drawn[:, 0] == 0))):
        inside = torch.cat([change[region], torch.zeros(1)])  # one that stays, if all is touched
        found |= {
            f"{name}_mean": inside.mean()[None],
            f"{name}_p999": inside.quantile(0.999)[None],
            f"{name}_max": inside.amax()[None],
            f"{name}_share": (inside > 1).float().mean()[None],
        }
    return found


def measured_change(layers: Layers, effects: Effects) -> Measured:
    """How much effects change a picture (`rmse`), and how far they are from neutral ones on
    average over all slots and pixels (`effect`)."""
    neutral = identity_effects(layers)
    apart = [
        (effects.multiply - neutral.multiply).abs(),
        (effects.add - neutral.add).abs(),
        (effects.shadow - neutral.shadow).abs(),
        effects.reflection.split([3, 1], dim=2)[1],
    ]
    means = torch.stack([each[:, 1:].mean(dim=(1, 2, 3, 4)) for each in apart])
    return {
        "rmse": shadow_rmse(stack(layers), shown(layers, effects)),
        "effect": 255 * means.mean(dim=0),
    }
