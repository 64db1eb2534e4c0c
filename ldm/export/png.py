"""Document <-> a folder of PNG files, and single pictures with text inside.

One PNG of the whole canvas per sheet, numbered from back to front, and `layers.json`, which holds
what a PNG cannot: names, blend modes, clipping, visibility, opacity and groups.
"""

import json
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxtyping import Float
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from ldm.document import Blend, Document, Sheet
from ldm.export.bitmap import quantised, read_pixels, require_exportable, restored
from ldm.export.draft import draft, draft_folder

MANIFEST = "layers.json"
_LONGEST_STEM = 60
_FIELDS: dict[str, tuple[type, ...]] = {
    "file": (str,),
    "name": (str,),
    "blend": (str,),
    "clipped": (bool,),
    "visible": (bool,),
    "opacity": (int, float),
    "group": (str,),
}
_OWN_FILE = re.compile(rf"\d{{3,}}(_.*)?\.png|{re.escape(MANIFEST)}")


def write_png_folder(document: Document, folder: Path) -> None:
    """Write a document of one picture as a folder, which appears whole or not at all.

    An earlier export in `folder` is replaced. Raises `ValueError` for a batch and for a folder that
    holds other things, `OSError` when it cannot be written.
    """
    require_exportable(document)
    _require_replaceable(folder)
    with draft_folder(folder) as temporary:
        entries: list[dict[str, object]] = []
        for index, sheet in enumerate(document.sheets):
            file = _file_name(index, sheet.name)
            _save(sheet.rgba, temporary / file, {})
            entries.append(_entry(sheet, file))
        text = json.dumps({"sheets": entries}, ensure_ascii=False, indent=2)
        (temporary / MANIFEST).write_text(text + "\n", encoding="utf-8")


def read_png_folder(folder: Path) -> Document:
    """Read what `write_png_folder` wrote.

    Raises `OSError` when a file is missing, `ValueError` for a broken picture, pictures of unequal
    size and a manifest that does not have the fields of a sheet.
    """
    manifest = folder / MANIFEST
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{manifest}: found {error}, expected JSON in UTF-8") from error
    entries = content.get("sheets") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{manifest}: sheets: found none, expected a list of them")
    sheets = tuple(
        _sheet(entry, f"{manifest}: sheet {index}", folder) for index, entry in enumerate(entries)
    )
    sizes = {tuple(sheet.rgba.shape[-2:]) for sheet in sheets}
    if len(sizes) > 1:
        raise ValueError(f"{folder}: pictures: found sizes {sorted(sizes)}, expected one size")
    return Document(sheets=sheets)


def write_picture(picture: Float[Tensor, "1 c h w"], path: Path, text: Mapping[str, str]) -> None:
    """Write one RGB or RGBA picture (0..1, straight alpha) as PNG with text chunks `text`.

    `path` appears whole or not at all. Raises `OSError` when it cannot be written.
    """
    with draft(path) as temporary:
        _save(picture, temporary, text)


def _save(picture: Float[Tensor, "1 c h w"], path: Path, text: Mapping[str, str]) -> None:
    chunks = PngInfo()
    for keyword, words in text.items():
        chunks.add_text(keyword, words)
    Image.fromarray(quantised(picture)).save(path, format="PNG", pnginfo=chunks)


def _require_replaceable(folder: Path) -> None:
    files = sorted(folder.iterdir()) if folder.exists() else []
    for file in files:
        if not _OWN_FILE.fullmatch(file.name):
            raise ValueError(f"{folder}: found {file.name!r}, expected only an earlier export")


def _file_name(index: int, name: str) -> str:
    """A name that every file system takes: letters, marks and digits of any script."""
    composed = unicodedata.normalize("NFC", name)
    safe = "".join(sign if unicodedata.category(sign)[0] in "LMN" else "_" for sign in composed)
    stem = "_".join(part for part in safe.split("_") if part)[:_LONGEST_STEM]
    return f"{index:03d}_{stem}.png" if stem else f"{index:03d}.png"


def _entry(sheet: Sheet, file: str) -> dict[str, object]:
    return {
        "file": file,
        "name": sheet.name,
        "blend": sheet.blend.value,
        "clipped": sheet.clipped,
        "visible": sheet.visible,
        "opacity": sheet.opacity,
        "group": sheet.group,
    }


def _sheet(entry: object, where: str, folder: Path) -> Sheet:
    fields = _checked(entry, where)
    blends = {blend.value: blend for blend in Blend}
    if fields["blend"] not in blends:
        raise _unexpected(where, "blend", fields["blend"], " or ".join(blends))
    if not 0 <= fields["opacity"] <= 1:
        raise _unexpected(where, "opacity", fields["opacity"], "0 to 1")
    if Path(fields["file"]).name != fields["file"]:
        raise _unexpected(where, "file", fields["file"], "a name without folders")
    path = folder / fields["file"]
    return Sheet(
        rgba=restored(read_pixels(path.read_bytes(), str(path))),
        name=fields["name"],
        blend=blends[fields["blend"]],
        clipped=fields["clipped"],
        visible=fields["visible"],
        opacity=float(fields["opacity"]),
        group=fields["group"],
    )


def _checked(entry: object, where: str) -> dict[str, Any]:
    """The fields of an entry, each of its type."""
    fields: dict[str, Any] = entry if isinstance(entry, dict) else {}
    for field, kind in _FIELDS.items():
        found = fields.get(field)
        if type(found) not in kind:
            raise _unexpected(where, field, found, " or ".join(one.__name__ for one in kind))
    return fields


def _unexpected(where: str, field: str, found: object, expected: str) -> ValueError:
    return ValueError(f"{where}: {field}: found {found!r}, expected {expected}")
