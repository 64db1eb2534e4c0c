"""Cut-outs and backdrops -> shards of scenes whose light is path-traced.

    python render_scenes.py data/default/scenery data/scenes/train scenes=3072
    python render_scenes.py data/default/validation data/scenes/test test=true

The settings below can be given as `key=value`. `test` renders the fixed test scenes, whatever
`scenes`, `edits`, `seed` and `size` say. A run that was stopped goes on where it was when the same
command is given again. Needs `pip install -e '.[rendered]'`, and LLVM 19 or a GPU with OptiX.
"""

import json
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

from tqdm import tqdm

from annotator.scenes.numbered import fixed_edits, read_fixed_scenes
from annotator.scenes.script import supply_digest
from annotator.scenes.supply import SUPPLY_SIDE, read_supply
from ldm.export.draft import draft
from ldm.mistake import MistakeError
from ldm.settings import ConfigError, filled, one_line, words_of

if find_spec("mitsuba") is None:
    sys.exit("error: mitsuba: found nothing, expected it installed: pip install -e '.[rendered]'")

from annotator.scenes.rendered import EDITION
from annotator.scenes.rendering import Content, Digests, Shard, render
from annotator.scenes.tracing import start_tracing

_SHARD_SIZES = {Content.scenes: 64, Content.edits: 32}


@dataclass(frozen=True)
class RenderConfig:
    """How many scenes and edits, how large, with how many paths per pixel."""

    scenes: int = 0
    edits: int = 0
    size: int = 128
    samples: int = 64
    workers: int = 2
    seed: int = 0
    test: bool = False


# Settings
settings = RenderConfig()


def main() -> None:
    """Read the arguments, list the shards, render those that are not there, tell their digests."""
    # Settings
    split, out, config = read_settings(sys.argv[1:])
    start_tracing(threads=1)  # What is missing is said here, not by every worker.

    # Scenes
    supply = read_supply(split, SUPPLY_SIDE)
    if config.test:
        fixed = read_fixed_scenes()
        num_edits = len(fixed_edits(fixed, supply))
        config = replace(config, scenes=0, edits=num_edits, size=fixed.size, seed=fixed.seed)
    keep_to(out / "rendering.json", config, supply_digest(supply))
    shards = listed(split, out, config)

    # Shards
    for shard, digests in zip(shards, rendered(shards, config.workers), strict=True):
        print(f"{shard.path}: stagings {digests.stagings} bytes {digests.bytes}")


def read_settings(arguments: Sequence[str]) -> tuple[Path, Path, RenderConfig]:
    """The split, the folder to write to, and the settings above under `key=value` words."""
    folders = [Path(word) for word in arguments if "=" not in word]
    if len(folders) != 2:
        raise ConfigError(f"arguments: found {len(folders)} folders, expected SUPPLY_SPLIT OUT")
    for name in ("cutouts.tar", "backdrops.tar"):
        if not (folders[0] / name).is_file():
            raise ConfigError(f"{folders[0]}: found no {name}, expected a split (make data)")
    with one_line("arguments"):
        config = filled(settings, words_of([word for word in arguments if "=" in word]))
    for name, least in (("scenes", 0), ("edits", 0), ("size", 16), ("samples", 1), ("workers", 1)):
        if getattr(config, name) < least:
            found = getattr(config, name)
            raise ConfigError(f"arguments: {name}: found {found}, expected {least} or more")
    if not (config.scenes or config.edits or config.test):
        raise ConfigError("arguments: found nothing to render, expected scenes=, edits= or test=")
    return folders[0], folders[1], config


def keep_to(path: Path, config: RenderConfig, supply: str) -> None:
    """Write down what a folder's shards are made from; refuse to mix them with others."""
    made_from = {**asdict(config), "supply": supply, "edition": EDITION}
    del made_from["workers"]
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft(path) as temporary:
            temporary.write_text(json.dumps(made_from, indent=1) + "\n", encoding="utf-8")
    found = json.loads(path.read_text(encoding="utf-8"))
    for name, value in made_from.items():
        if found.get(name) != value:
            raise ConfigError(
                f"{path}: {name}: found {found.get(name)}, expected {value} as asked for; "
                "name another folder"
            )


def listed(split: Path, out: Path, config: RenderConfig) -> list[Shard]:
    """All shards, those of scenes first."""
    return [
        Shard(
            path=out / f"{content.value}-{index:06d}.tar",
            content=content,
            numbers=range(first, min(first + _SHARD_SIZES[content], count)),
            split=split,
            seed=config.seed,
            size=config.size,
            samples=config.samples,
        )
        for content, count in ((Content.scenes, config.scenes), (Content.edits, config.edits))
        for index, first in enumerate(range(0, count, _SHARD_SIZES[content]))
    ]


def rendered(shards: Sequence[Shard], workers: int) -> list[Digests]:
    """All shards rendered by several processes, under a bar that counts them."""
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(render, shard) for shard in shards]
        for done in tqdm(as_completed(futures), total=len(futures), unit="shard"):
            done.result()
    return [future.result() for future in futures]


if __name__ == "__main__":
    try:
        main()
    except (MistakeError, OSError) as error:
        sys.exit(f"error: {error}")
