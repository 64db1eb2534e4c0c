"""What a finished brief leaves on disk: layers, documents, composite and contact sheet."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from cldm.brief import Brief, BriefError
from cldm.relation.effects import effects_document
from ldm.document import Document, flatten
from ldm.export.contact_sheet import write_contact_sheet
from ldm.export.draft import draft_folder
from ldm.export.ora import write_ora
from ldm.export.png import write_picture
from ldm.export.psd import write_psd
from ldm.values import Effects, Layers, Masks

_COMPOSITE = "composite.png"


@dataclass(frozen=True, kw_only=True)
class Results:
    """Layers of one picture, what relates them, what they are called and what was asked."""

    layers: Layers
    effects: Effects
    names: Sequence[str]
    masks: Masks

    def document(self) -> Document:
        """Layers and effects as sheets."""
        return effects_document(self.layers, self.effects, self.names)


def require_writable(out: Path) -> None:
    """Raise BriefError when `out` holds something that is not ours to replace, is no folder, or
    lies where nothing can be written."""
    if out.exists() and not out.is_dir():
        raise BriefError(f"output {out}: found a file, expected a folder")
    if out.exists() and any(out.iterdir()) and not (out / _COMPOSITE).exists():
        raise BriefError(f"output {out}: holds other files, expected a new or an empty folder")
    nearest = next(folder for folder in out.absolute().parents if folder.exists())
    try:
        # Tried, not asked: permissions say nothing of read-only and virtual file systems.
        TemporaryDirectory(dir=nearest).cleanup()
    except OSError as error:
        raise BriefError(f"output {out}: {nearest} cannot be written ({error.strerror})") from error


def write_results(results: Results, brief: Brief, out: Path) -> None:
    """Write the folder `out` whole or not at all; an earlier result there is replaced."""
    require_writable(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    document = results.document()
    picture = flatten(document)
    with draft_folder(out) as folder:
        for slot, name in enumerate(results.names):
            layer = results.layers.rgba[:, slot]
            write_picture(layer, folder / f"layer_{slot:02d}_{_safe(name)}.png", {})
        write_psd(document, folder / "document.psd")
        write_ora(document, folder / "document.ora")
        write_picture(picture, folder / _COMPOSITE, parameters(brief))
        write_contact_sheet(
            picture,
            masks=results.masks,
            layers=results.layers,
            effects=results.effects,
            names=results.names,
            path=folder / "contact_sheet.png",
        )


def parameters(brief: Brief) -> dict[str, str]:
    """PNG text chunks: `parameters` as A1111 writes them, `layers` with the whole brief as JSON."""
    prompts = " | ".join(layer.prompt or f"[{layer.picture}]" for layer in brief.layers)
    settings = {
        "Steps": brief.steps,
        "Sampler": brief.sampler,
        "CFG scale": brief.guidance_scale,
        "Seed": brief.seed,
        "Order": brief.order,
        "Guess mode": brief.guess_mode,
    }
    negative = f"Negative prompt: {brief.negative_prompt}\n" if brief.negative_prompt else ""
    line = ", ".join(f"{name}: {value}" for name, value in settings.items())
    return {
        "parameters": f"{prompts}\n{negative}{line}",
        "layers": json.dumps(asdict(brief), ensure_ascii=False),
    }


def _safe(name: str) -> str:
    """A name as part of a file's name."""
    return "".join(letter if letter.isalnum() else "_" for letter in name)[:40]
