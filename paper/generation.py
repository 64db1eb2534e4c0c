"""How well the shipped weights do their job, on briefs with masks, places and combinations never
seen: `python -m paper.generation` writes `paper/results/generation.json` (after `make data`).
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from annotator.scenes.dataset import AnalyticScenes
from annotator.scenes.supply import SUPPLY_SIDE, read_supply
from cldm.build import load_model
from cldm.condition import Condition, frames_of
from cldm.config import ModelConfig, read_config
from cldm.data import Assets, CanvasDataset, backdrop_canvas, cutout_canvas, read_assets, shards_of
from cldm.examples import random_frames
from cldm.losses import over_colours
from cldm.model import LayerDiffusion, Sampling
from cldm.relation.guides import unknown_hint
from ldm.compositing import place_masks, stack
from ldm.document import Document
from ldm.effects import effects_document, shown
from ldm.metrics import leakage, missing, psnr, soft_iou
from ldm.values import Frames, Layers, Masks
from paper.export_agreement import library_errors
from paper.result import Figure, interval, spread, write_result

RESULT = Path(__file__).parent / "results" / "generation.json"
DATA = Path("data/default")
MODEL = Path("models/layers_tiny.yaml")
SLOTS, BATCH = 4, 4


def condition_of(
    assets: Assets, model: LayerDiffusion, config: ModelConfig, random: np.random.Generator
) -> Condition:
    """One brief: a backdrop and three cut-outs asked for by exact masks in new places."""
    size = (config.picture, config.picture)
    picked = random.integers(len(assets.cutouts), size=SLOTS - 1)
    objects = [cutout_canvas(assets.cutouts[k], random, config.picture) for k in picked]
    back = assets.backdrops[random.integers(len(assets.backdrops))]
    prompts = [backdrop_canvas(back, random, config.picture).prompt]
    prompts += [canvas.prompt for canvas in objects]
    solid = np.stack([canvas.rgba[..., 3] > 127 for canvas in objects]).astype(np.float32)
    frames = random_frames(1, SLOTS, random)
    canvas_masks = torch.cat([torch.ones(1, 1, *size), torch.from_numpy(solid)[None]], dim=1)
    area = (place_masks(canvas_masks, frames, size) > 0.5).float()
    area[:, 0] = 1
    masks = Masks(area=area, present=area.flatten(2).any(dim=-1))
    return Condition(
        tokens=model.tokenizer(prompts)[None],
        masks=masks,
        frames=frames_of(masks, config),
    )


def joined(conditions: list[Condition]) -> Condition:
    """Several briefs as one batch."""
    return Condition(
        tokens=torch.cat([each.tokens for each in conditions]),
        masks=Masks(
            area=torch.cat([each.masks.area for each in conditions]),
            present=torch.cat([each.masks.present for each in conditions]),
        ),
        frames=Frames(box=torch.cat([each.frames.box for each in conditions])),
    )


def mask_figures(condition: Condition, layers: Layers) -> dict[str, list[float]]:
    """How each drawn object's alpha lies to its mask."""
    objects = condition.masks.present.clone()
    objects[:, 0] = False
    asked, alpha = condition.masks.area[objects], layers.alpha[:, :, 0][objects]
    measures = {"soft_iou": soft_iou, "leakage": leakage, "missing": missing}
    return {name: measure(asked, alpha).tolist() for name, measure in measures.items()}


def document_of(model: LayerDiffusion, layers: Layers) -> Document:
    """The first picture of a batch, related, as a document."""
    first = Layers(rgba=layers.rgba[:1], present=layers.present[:1])
    names = [f"layer {slot}" for slot in range(SLOTS)]
    return effects_document(first, model.relate(first, unknown_hint(1)), names)


def autoencoder_psnr(model: LayerDiffusion, config: ModelConfig) -> list[float]:
    """PSNR in dB over random solid colours, of each of 64 validation canvases."""
    assets = read_assets(shards_of(DATA / "validation"))
    unseen = Assets(cutouts=assets.cutouts, backdrops=assets.cutouts)
    canvases = iter(CanvasDataset(unseen, size=config.canvas, seed=64))
    truth = torch.stack([next(canvases) for _ in range(64)])
    found = model.autoencoder.decode(model.autoencoder.encode(truth))
    shown_truth, shown_found = over_colours(truth, found, torch.rand(64, 1, 3, 1, 1))
    pairs = zip(shown_truth, shown_found, strict=True)
    return [psnr(expected, actual).item() for expected, actual in pairs]


def relation_gains(model: LayerDiffusion) -> list[float]:
    """PSNR of the composite against each true scene, with minus without the relation network."""
    scenes = AnalyticScenes(
        read_supply(DATA / "validation", side=SUPPLY_SIDE),
        size=128,
        batch_size=1,
        num_batches=64,
        seed=64,
    )
    gains: list[float] = []
    for scene in scenes:
        truth = shown(scene.layers, scene.effects)
        effects = model.relate(scene.layers, unknown_hint(1))
        with_relation = psnr(truth, shown(scene.layers, effects))
        gains.append((with_relation - psnr(truth, stack(scene.layers))).item())
    return gains


@torch.no_grad()
def main() -> None:
    """Draw the briefs, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--briefs", type=int, default=64)
    parser.add_argument("--steps", type=int, default=Sampling().num_steps)
    arguments = parser.parse_args()
    config = read_config(MODEL)
    model = load_model(config, MODEL.parent)
    torch.manual_seed(0)
    random = np.random.default_rng(64)
    splits = ("train", "validation")
    assets = read_assets([shard for split in splits for shard in shards_of(DATA / split)])
    found: dict[str, list[float]] = {"soft_iou": [], "leakage": [], "missing": []}
    exported: list[float] = []
    for seed in tqdm(range(0, arguments.briefs, BATCH), desc="briefs", unit="batch"):
        briefs = joined([condition_of(assets, model, config, random) for _ in range(BATCH)])
        layers = model.generate(briefs, Sampling(seed=seed, num_steps=arguments.steps))
        for name, values in mask_figures(briefs, layers).items():
            found[name] += values
        if seed < 2 * BATCH:
            with tempfile.TemporaryDirectory() as folder:
                errors = library_errors(document_of(model, layers), Path(folder))
            print({name: round(error, 2) for name, error in errors.items()})
            exported += [errors[name] for name in ("ours.psd", "pyora.ora", "psd_tools.psd")]
    figures: dict[str, Figure] = {name: interval(v, "share") for name, v in found.items()}
    figures["rgba_psnr"] = interval(autoencoder_psnr(model, config), "dB")
    figures["export_max_error"] = spread(exported, "1/255")
    figures["relation_gain_db"] = interval(relation_gains(model), "dB")
    write_result(
        RESULT,
        command=f"python -m paper.generation --briefs {arguments.briefs} --steps {arguments.steps}",
        seed=64,
        scenes=arguments.briefs,
        figures=figures,
    )


if __name__ == "__main__":
    main()
