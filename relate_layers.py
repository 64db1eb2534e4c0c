"""A layered picture in, the same with light, shadow and reflection between its layers out.

    python relate_layers.py stack.psd out/related
    python relate_layers.py stack.ora out/related azimuth=-120 elevation=30 softness=0.2
    python relate_layers.py out/meadow out/evening azimuth=10 elevation=15 colour=[1.2,1,0.8]
    python relate_layers.py moved.psd out/moved --before out/related/document.psd

The picture is a PSD, an OpenRaster file, a folder of PNG files with layers.json, or a folder that
another of our commands wrote. Its lowest visible layer is the back; hidden layers stay hidden and
cast nothing. Effects of an earlier run are replaced. Where nothing is said of the light it is
estimated, and printed in the words that can be given; so are the layers that stand in it already,
as those do that were cut from one picture: they cast nothing anew. With `--before`, the effects in
that document, painted over by hand maybe, go with their layers and are changed only where the edit
since then changes them; the light is the one that they show, and layers that cast nothing stand in
it already. OUT gets one PNG per layer, document.psd, document.ora, composite.png and
contact_sheet.png.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from cldm.brief import Brief, LightBrief, light_brief, light_of, words_of_light
from cldm.build import load_model
from cldm.config import read_config
from cldm.model import LayerDiffusion
from cldm.relation.artwork import Artwork, ArtworkError, artwork_of, related
from cldm.relation.finding import found_light
from cldm.relation.following import agreed_around, followed
from cldm.relation.guides import LightHint, told
from cldm.relation.revision import effects_of, moves_between
from cldm.runtime import usable_device
from ldm.document import flatten
from ldm.export.contact_sheet import write_relation_sheet
from ldm.export.folder import finished_folder, require_writable
from ldm.export.layered import read_layered
from ldm.mistake import MistakeError
from ldm.settings import filled, one_line, words_of
from ldm.values import Effects, Light


def main() -> None:
    """Read, relate, write."""
    arguments = _arguments()
    begin = time.perf_counter()
    config = read_config(arguments.model)
    light = _light(arguments.light)
    device = usable_device(arguments.device)
    require_writable(arguments.out)
    artwork = artwork_of(read_layered(arguments.stack), config.max_slots)
    model = load_model(config, arguments.model.parent).requires_grad_(False).to(device)

    names = _agreed(arguments.agreed, artwork)
    if arguments.before is None:
        if names is None:
            names = _seen_to_agree(model, artwork, light)
            print(f"agreed estimated: {','.join(names) or 'none'}")
        hint = replace(light, agreed=_said_to_agree(names, artwork))
        effects = model.relate(artwork.layers, hint)
        found = model.estimated_light(artwork.layers)
    else:
        document = read_layered(arguments.before)
        earlier = artwork_of(document, config.max_slots)
        known, moves = effects_of(document, earlier), moves_between(earlier, artwork)
        before, after = agreed_around(known, moves)
        if names is not None:
            before, after = (_said_to_agree(names, each) for each in (earlier, artwork))
        found = _shown_light(model, earlier, known, before)
        now = light if arguments.light else told(found)
        effects = followed(
            known,
            model.relate(earlier.layers, replace(told(found), agreed=before)),
            model.relate(artwork.layers, replace(now, agreed=after)),
            moves,
            artwork.layers,
            same_light=not arguments.light,
        )
    if not arguments.refine_edges:
        effects = replace(effects, alpha=artwork.layers.alpha)
    document = related(artwork, effects)
    with finished_folder(
        arguments.out, layers=artwork.layers, names=artwork.names, document=document, text={}
    ) as folder:
        write_relation_sheet(
            flatten(document),
            layers=artwork.layers,
            effects=effects,
            names=artwork.names,
            path=folder / "contact_sheet.png",
        )
    if not arguments.light:
        how = "estimated" if arguments.before is None else "found"
        print(f"light {how}: {words_of_light(light_brief(found))}")
    seconds = time.perf_counter() - begin
    print(f"{arguments.out}: {len(artwork.names)} layers related in {seconds:.1f} s")


def _shown_light(
    model: LayerDiffusion, artwork: Artwork, known: Effects, agreed: Float[Tensor, "1 m"]
) -> Light:
    """The light that a document's effects show on its layers."""
    device = model.device
    layers, effects = artwork.layers.to(device), known.to(device)
    return found_light(model.relation, layers, effects, agreed.to(device)).to("cpu")


def _light(words: Sequence[str]) -> LightHint:
    """The light that is given, or an unknown one."""
    with one_line("light"):
        light = filled(LightBrief(), words_of(words)) if words else None
    return light_of(Brief(light=light))


def _agreed(words: str | None, artwork: Artwork) -> list[str] | None:
    """The layers above the back that are said to stand in the light already."""
    if words is None:
        return None
    _, *known = artwork.names
    names = {"all": known, "none": []}.get(words, [word.strip() for word in words.split(",")])
    for name in names:
        if name not in known:
            expected = f"all, none, or some of {', '.join(known)}"
            raise ArtworkError(f"agreed: found {name!r}, expected {expected}")
    return names


def _seen_to_agree(model: LayerDiffusion, artwork: Artwork, light: LightHint) -> list[str]:
    """Those that seem to do so rather than not."""
    likely = model.agreed(artwork.layers, light)[0].tolist()
    return [name for name, share in zip(artwork.names[1:], likely, strict=True) if share > 0.5]


def _said_to_agree(names: Sequence[str], artwork: Artwork) -> Float[Tensor, "1 m"]:
    """One for those among the names."""
    return torch.tensor([[float(name in names) for name in artwork.names[1:]]])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("stack", type=Path, help="a PSD or ORA file, or a folder")
    parser.add_argument("out", type=Path, help="the folder to write")
    parser.add_argument(
        "light",
        nargs="*",
        metavar="key=value",
        help="azimuth, elevation (degrees), softness, ambient (0 to 1), colour=[r,g,b]",
    )
    parser.add_argument(
        "--agreed",
        metavar="NAMES",
        help="layers that stand in the light already, with commas between: all, none, or some",
    )
    parser.add_argument("--before", type=Path, help="the document before an edit, with effects")
    parser.add_argument("--model", type=Path, default=Path("models/layers_tiny.yaml"))
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, mps, ...")
    parser.add_argument(
        "--refine-edges",
        action="store_true",
        help="let the network refine the layers' alpha too, anew in every run",
    )
    return parser.parse_intermixed_args()


if __name__ == "__main__":
    try:
        main()
    except (MistakeError, OSError) as error:
        sys.exit(f"error: {error}")
