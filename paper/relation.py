"""How well the relation network lights layers, on rendered scenes of objects and backdrops never
trained on: `python -m paper.relation` writes `paper/results/relation.json` (after `make data` and
`make scenes-test`).

Bare names are ours, told nothing of the light. `light_given.`: told the true light; `light_found.`:
told the light under which what it says fits the true effects before an edit best; `followed.`: it
starts from these effects, as the peers of an edit do, which also tell who stands in the light;
`light.`: its estimate of the light; `graph.`: the graph network; all else a peer. Truth is the
picture that the true effects show. The affected region is where truth differs from plain stacking
of the neutral layers by more than 4/255 in a channel.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, replace
from itertools import zip_longest
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Generator
from tqdm import tqdm

from annotator.scenes.dataset import AnalyticScenes
from annotator.scenes.drawing import random_staging
from annotator.scenes.shards import EditedScene, read_test_edits
from annotator.scenes.staged import staged_light
from annotator.scenes.supply import SUPPLY_SIDE, Supply, read_supply
from cldm.build import build_relation, load_model
from cldm.config import RelationKind, read_config
from cldm.relation.network import RelationNetwork
from ldm.checkpoint import load_weights
from ldm.mistake import MistakeError
from ldm.values import Light
from paper.relation_contest import Contestants, blind, measured
from paper.relation_light import mean_light
from paper.relation_measures import UNITS
from paper.relation_peers import (
    DropShadow,
    best_drop_shadow,
    histogram_matching,
    plain,
    reinhard,
)
from paper.relation_sheets import write_sheets
from paper.result import Figure, interval, ratio, write_result

RESULT = Path(__file__).parent / "results" / "relation.json"
VALIDATION = Path("data/default/validation")
TEST = Path("data/scenes/test")
MODEL = Path("models/layers_tiny.yaml")
SEED, TUNING_SEED = 5, 6
_SHARES = 12  # of the scenes: more than there are processes, so that none waits for long


def figures(values: Mapping[str, list[float]]) -> dict[str, Figure]:
    """Means with intervals of all that has a unit, and each method's error after an edit, of all
    and of each kind, over that of `rigid`, where that has any."""
    found: dict[str, Figure] = {}
    for name, each in values.items():
        prefix, _, measure = name.rpartition(".")
        if measure in UNITS:
            found[name] = interval(each, UNITS[measure])
        if (
            measure.startswith("edit_error")
            and prefix != "rigid"
            and any(values[f"rigid.{measure}"])
        ):
            against = name.replace("edit_error", "edit_error_vs_rigid")
            found[against] = ratio(each, values[f"rigid.{measure}"])
    return found


def constants(drop_shadow: DropShadow) -> dict[str, Figure]:
    """What the drop shadow was tuned to."""
    return {f"drop_shadow.{k}": interval([v], "share") for k, v in asdict(drop_shadow).items()}


def rendered_scenes(supply: Supply) -> Iterator[EditedScene]:
    """The rendered test set, always in the same order.

    Raises MistakeError when it is not there, or another one is.
    """
    if not TEST.is_dir():
        raise MistakeError(
            f"scenes {TEST}: found no such folder, expected that of make scenes-test"
        )
    return read_test_edits(TEST, supply)


def tuned_drop_shadow(supply: Supply) -> DropShadow:
    """The best drop shadow on analytic scenes, not those of the test, of its objects and backdrops,
    which favours this peer."""
    return best_drop_shadow(
        list(AnalyticScenes(supply, size=96, batch_size=4, num_batches=4, seed=TUNING_SEED))
    )


def usual_light(supply: Supply) -> Light:
    """The mean light of stagings that are drawn as those of the test were."""
    generator = Generator().manual_seed(TUNING_SEED)
    stagings = [random_staging(supply, generator) for _ in range(256)]
    return mean_light(staged_light(stagings, supply.device))


def networks(graph: Path | None) -> dict[str, RelationNetwork]:
    """The shipped network, and the graph network when its weights are given."""
    config = read_config(MODEL)
    found = {"": load_model(config, MODEL.parent).relation}
    if graph:
        network = build_relation(replace(config.relation, network=RelationKind.graph))
        load_weights(network, graph)
        found["graph."] = network.eval()
    return found


def contestants(supply: Supply, graph: Path | None, drop_shadow: DropShadow) -> Contestants:
    """All that are measured, by what they can do."""
    return Contestants(
        networks=networks(graph),
        recolouring={
            "plain.": blind(plain),
            "reinhard.": blind(reinhard),
            "histogram_matching.": blind(histogram_matching),
        },
        casting={"plain.": blind(plain), "drop_shadow.": blind(drop_shadow)},
        mean_light=usual_light(supply),
    )


@torch.no_grad()
def share_of(
    share: int, shares: int, graph: Path | None, drop_shadow: DropShadow
) -> list[dict[str, list[float]]]:
    """The measures of every so many of the scenes; each has random numbers of its own, so that it
    does not matter who measures it."""
    torch.set_num_threads(1)
    supply = read_supply(VALIDATION, SUPPLY_SIDE)
    taking_part = contestants(supply, graph, drop_shadow)
    found: list[dict[str, list[float]]] = []
    for number, edited in enumerate(rendered_scenes(supply)):
        if number % shares == share:
            generator = Generator().manual_seed(SEED * 1_000 + number)
            rows = measured(edited, taking_part, generator)
            found.append({name: row.tolist() for name, row in rows.items()})
    return found


def all_measures(
    workers: int, graph: Path | None, drop_shadow: DropShadow
) -> dict[str, list[float]]:
    """The measures of all scenes, in their order, by several processes, under a bar."""
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        parts = [
            pool.submit(share_of, share, _SHARES, graph, drop_shadow) for share in range(_SHARES)
        ]
        for done in tqdm(as_completed(parts), "shares of the scenes", total=_SHARES):
            done.result()
        shares = [part.result() for part in parts]
    values: defaultdict[str, list[float]] = defaultdict(list)
    for rows in zip_longest(*shares, fillvalue={}):
        for row in rows:
            for name, each in row.items():
                values[name] += each
    return dict(values)


@torch.no_grad()
def main() -> None:
    """Measure all methods on the test scenes, write, and draw them when asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--graph", type=Path, help="weights of the graph network")
    parser.add_argument("--sheets", type=Path, help="folder for pictures of test scenes")
    parser.add_argument("--workers", type=int, default=2, help="processes that measure")
    arguments = parser.parse_args()
    supply = read_supply(VALIDATION, SUPPLY_SIDE)
    if arguments.graph is None:
        print("graph network: no --graph given, its figures are left out")
    drop_shadow = tuned_drop_shadow(supply)
    values = all_measures(arguments.workers, arguments.graph, drop_shadow)
    gains = values["affected_gain_db"]
    write_result(
        RESULT,
        command=" ".join(["python -m paper.relation", *sys.argv[1:]]),
        seed=SEED,
        scenes=len(gains),
        figures=figures(values) | constants(drop_shadow),
    )
    if arguments.sheets:
        seen = (edited.before for edited in rendered_scenes(supply))
        write_sheets(arguments.sheets, seen, gains, networks(None)[""])


if __name__ == "__main__":
    try:
        main()
    except (MistakeError, OSError) as error:
        sys.exit(f"error: {error}")
