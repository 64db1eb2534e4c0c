"""What a finished brief leaves on disk: layers, documents, composite and contact sheet."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from cldm.brief import Brief
from ldm.document import Document, flatten
from ldm.effects import effects_document
from ldm.export.contact_sheet import write_contact_sheet
from ldm.export.folder import finished_folder
from ldm.values import Effects, Layers, Masks


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


def write_results(results: Results, brief: Brief, out: Path) -> None:
    """Write the folder `out` whole or not at all; an earlier result there is replaced. Raises
    OutputError."""
    document = results.document()
    with finished_folder(
        out,
        layers=results.layers,
        names=results.names,
        document=document,
        text=parameters(brief),
    ) as folder:
        write_contact_sheet(
            flatten(document),
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
