"""How well the relation network lights layers, on ANALYTIC scenes (shadow, shading and reflection
by formulas, not rendered) of objects and backdrops never trained on: `python -m paper.relation`
writes `paper/results/relation.json` (after `make data`).

Bare names are ours, told nothing of the light; `light_given.` ours, told the true light; all else a
peer. Truth is the picture that the true effects show. The affected region is where truth differs
from plain stacking of the neutral layers by more than 4/255 in a channel.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Generator, Tensor
from tqdm import tqdm

from annotator.scenes.dataset import AnalyticScenes, read_backdrops, read_cutouts
from cldm.build import load_model
from cldm.config import read_config
from cldm.model import LayerDiffusion
from cldm.relation.guides import LightHint
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
from ldm.values import Effects, Layers, Light
from paper.relation_edits import (
    EditedScene,
    analytic_edit,
    cast_region,
    nearest_slot,
    recoloured,
    slot_mask,
)
from paper.relation_peers import (
    DropShadow,
    best_drop_shadow,
    histogram_matching,
    left_behind,
    plain,
    reinhard,
    rigid,
)
from paper.result import Figure, interval, ratio, write_result

RESULT = Path(__file__).parent / "results" / "relation.json"
VALIDATION = Path("data/default/validation")
MODEL = Path("models/layers_tiny.yaml")
BATCH = 4
SEED, TUNING_SEED = 5, 6

Method = Callable[[Layers, Light], Effects]
Measured = dict[str, Tensor]
"""One number `[b]` for each picture under each name."""


@dataclass(frozen=True, kw_only=True)
class Contestants:
    """Methods by what they can do, each under the prefix of its figures.

    `relighting`: colours and shadows; `recolouring`: colours of layers only; `casting`: shadows
    only.
    """

    relighting: dict[str, Method]
    recolouring: dict[str, Method]
    casting: dict[str, Method]


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
    "edit_error": "1/255",
}


def measured_composite(scene: Scene, effects: Effects) -> Measured:
    """Composite and shadow under effects against the true ones."""
    layers = scene.layers
    truth, flat, found = shown(layers, scene.effects), stack(layers), shown(layers, effects)
    region = affected_region(truth, flat)
    shadow, told = (shadow_mask(layers.alpha, each.shadow) for each in (scene.effects, effects))
    gain = region_psnr(truth, found, region) - region_psnr(truth, flat, region)
    return {
        "psnr": region_psnr(truth, found, torch.ones_like(region)),
        "affected_fmse": 255**2 * region_mse(truth, found, region),
        "affected_gain_db": gain,
        "shadow_rmse": shadow_rmse(truth, found),
        "shadow_local_rmse": local_shadow_rmse(truth, found, shadow),
        "shadow_ber": shadow_ber(shadow, told)[:, 0],
        "shadow_local_ber": local_shadow_ber(shadow, told)[:, 0],
    }


def measured_harmonisation(scene: Scene, wrong: Layers, slot: Tensor, effects: Effects) -> Measured:
    """A scene one of whose layers came in `wrong` colours, against the truth in right ones, where
    that layer is seen; the gain is over plain stacking of the wrong layers."""
    truth, found = shown(scene.layers, scene.effects), shown(wrong, effects)
    seen = visibility(wrong.alpha) * slot_mask(slot, wrong.present.shape[1])
    mask = (seen.sum(dim=1) > 0.5).float()
    psnr = harmonisation_psnr(truth, found, mask)
    return {
        "harmonisation_mse": harmonisation_mse(truth, found, mask),
        "harmonisation_fmse": harmonisation_fmse(truth, found, mask),
        "harmonisation_psnr": psnr,
        "harmonisation_gain_db": psnr - harmonisation_psnr(truth, stack(wrong), mask),
    }


def measured_edit(edited: EditedScene, effects: Effects) -> Measured:
    """The scene after a move, against the truth made anew, where the moved layer's shadow and
    reflection were truly seen before or are seen after."""
    before, after, slot = edited.before, edited.after, edited.move.slot
    truth, found = shown(after.layers, after.effects), shown(after.layers, effects)
    regions = cast_region(before, slot), cast_region(after, slot)
    return {"edit_error": edit_error(truth, found, *regions)}


def ours(model: LayerDiffusion, *, given: bool) -> Method:
    """The relation network, told all of the light or nothing."""

    def relate(layers: Layers, light: Light) -> Effects:
        flags = torch.full_like(light.azimuth, given, dtype=torch.bool)
        return model.relate(layers, LightHint(light=light, given=flags))

    return relate


def blind(peer: Callable[[Layers], Effects]) -> Method:
    """A peer that does not ask for the light."""
    return lambda layers, light: peer(layers)


def measured(edited: EditedScene, contestants: Contestants, generator: Generator) -> Measured:
    """All measures of one batch; the prefix of a method stands before the name of a measure."""
    scene, after, move = edited.before, edited.after, edited.move
    slot = nearest_slot(scene.layers)
    wrong = recoloured(scene.layers, slot, generator)
    relighting = contestants.relighting
    found: Measured = {}
    for name, method in (relighting | contestants.recolouring | contestants.casting).items():
        found |= _named(name, measured_composite(scene, method(scene.layers, scene.light)))
    for name, method in (relighting | contestants.recolouring).items():
        effects = method(wrong, scene.light)
        found |= _named(name, measured_harmonisation(scene, wrong, slot, effects))
    for name, method in (relighting | contestants.casting).items():
        found |= _named(name, measured_edit(edited, method(after.layers, after.light)))
    for name, peer in (("rigid.", rigid), ("left_behind.", left_behind)):
        found |= _named(name, measured_edit(edited, peer(scene.effects, move)))
    return found


def _named(prefix: str, found: Measured) -> Measured:
    return {prefix + name: values for name, values in found.items()}


def figures(values: Mapping[str, list[float]]) -> dict[str, Figure]:
    """Means with intervals, and each method's error after an edit over that of `rigid`."""
    found: dict[str, Figure] = {}
    for name, each in values.items():
        prefix, _, measure = name.rpartition(".")
        found[name] = interval(each, UNITS[measure])
        if measure == "edit_error" and prefix != "rigid":
            found[f"{name}_vs_rigid"] = ratio(each, values["rigid.edit_error"])
    return found


def constants(drop_shadow: DropShadow) -> dict[str, Figure]:
    """What the drop shadow was tuned to."""
    return {f"drop_shadow.{k}": interval([v], "share") for k, v in asdict(drop_shadow).items()}


def edits(supply: AnalyticScenes, count: int, seed: int) -> Iterator[EditedScene]:
    """Batches of scenes, the same ones each time."""
    generator = Generator().manual_seed(seed)
    for _ in tqdm(range(0, count, BATCH), desc="scenes", unit="batch"):
        yield analytic_edit(supply, generator)


@torch.no_grad()
def main() -> None:
    """Make the scenes, measure all methods, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=128)
    count = parser.parse_args().scenes
    supply = AnalyticScenes(
        cutouts=read_cutouts(VALIDATION / "cutouts.tar", side=160),
        backdrops=read_backdrops(VALIDATION / "backdrops.tar"),
        size=128,
        batch_size=BATCH,
        num_objects=3,
        num_batches=0,
        seed=0,
    )
    model = load_model(read_config(MODEL), MODEL.parent)
    # Tuned on other scenes of the same objects and backdrops, which favours this peer.
    drop_shadow = best_drop_shadow([each.before for each in edits(supply, 24, TUNING_SEED)])
    contestants = Contestants(
        relighting={
            "": ours(model, given=False),
            "light_given.": ours(model, given=True),
            "plain.": blind(plain),
        },
        recolouring={
            "reinhard.": blind(reinhard),
            "histogram_matching.": blind(histogram_matching),
        },
        casting={"drop_shadow.": blind(drop_shadow)},
    )
    values: defaultdict[str, list[float]] = defaultdict(list)
    generator = Generator().manual_seed(SEED)
    for edited in edits(supply, count, SEED):
        for name, row in measured(edited, contestants, generator).items():
            values[name] += row.tolist()
    write_result(
        RESULT,
        command=f"python -m paper.relation --scenes {count}  # analytic scenes, not rendered ones",
        seed=SEED,
        scenes=count,
        figures=figures(values) | constants(drop_shadow),
    )


if __name__ == "__main__":
    main()
