"""Document <-> OpenRaster, the open format of Krita, GIMP and MyPaint.

The format: https://www.openraster.org. A file is a zip of PNG bitmaps and `stack.xml`, which lists
them from front to back. OpenRaster cannot clip: light clipped to a sheet is baked into it, and the
unlit sheet and its light sheets stay hidden below, so that nothing is lost.
"""

import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TypeVar
from xml.etree import ElementTree

from PIL import Image
from torch import Tensor

from ldm.document import Blend, Document, Sheet, flatten
from ldm.export.bitmap import (
    Bitmap,
    cropped,
    quantised,
    read_pixels,
    require_exportable,
    uncropped,
)
from ldm.export.draft import draft

_OPERATORS = {
    Blend.NORMAL: "svg:src-over",
    Blend.MULTIPLY: "svg:multiply",
    Blend.ADD: "svg:plus",
}
_BLENDS = {operator: blend for blend, operator in _OPERATORS.items()}
_VISIBILITIES = {"visible": True, "hidden": False}
_THUMBNAIL_SIDE = 256
UNLIT = " (unlit)"
"""How the name of a sheet ends whose light is baked into the sheet above."""
_FARTHEST = -999_999
_BROKEN = (
    ValueError,
    KeyError,
    EOFError,
    RuntimeError,
    zlib.error,
    zipfile.BadZipFile,
    ElementTree.ParseError,
)
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


_Meaning = TypeVar("_Meaning")


def write_ora(document: Document, path: Path) -> None:
    """Write a document of one picture as OpenRaster; `path` appears whole or not at all.

    Characters that XML cannot hold are replaced in names. Raises `ValueError` for a batch or a
    clipped sheet without base in its group, `OSError` when the file cannot be written.
    """
    require_exportable(document)
    baked = Document(sheets=tuple(_baked(document.sheets)))
    bitmaps = cropped(baked)
    merged = Image.fromarray(quantised(flatten(document)))
    thumbnail = merged.copy()
    thumbnail.thumbnail((_THUMBNAIL_SIDE, _THUMBNAIL_SIDE))
    with draft(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        # Stored, not deflated, and first: programs know the file by these bytes.
        archive.writestr("mimetype", "image/openraster")
        archive.writestr("stack.xml", _stack_xml(baked, bitmaps), zipfile.ZIP_DEFLATED)
        for index, bitmap in enumerate(bitmaps):
            _store(archive, _source(index), Image.fromarray(bitmap.pixels))
        _store(archive, "Thumbnails/thumbnail.png", thumbnail)
        _store(archive, "mergedimage.png", merged)


def read_ora(path: Path) -> Document:
    """Read an OpenRaster file; cropped layers are filled up to the canvas.

    Nested groups become one, named by the whole way to it. Raises `OSError` when there is no such
    file, `ValueError` for a broken file and for what a document cannot hold: other operators,
    isolated groups.
    """
    try:
        return _document(path)
    except _BROKEN as error:
        raise ValueError(f"{path}: {error}") from error


def _baked(sheets: tuple[Sheet, ...]) -> Iterator[Sheet]:
    """The same picture without clipping."""
    runs: list[list[Sheet]] = []
    for sheet in sheets:
        if sheet.clipped:
            runs[-1].append(sheet)
        else:
            runs.append([sheet])
    for base, *clipped in runs:
        hidden = [replace(sheet, clipped=False, visible=False) for sheet in clipped]
        if any(sheet.visible for sheet in clipped):
            yield replace(base, name=base.name + UNLIT, visible=False)
            yield from hidden
            yield replace(base, rgba=_lit(base, clipped))
        else:
            yield base
            yield from hidden


def _lit(base: Sheet, clipped: list[Sheet]) -> Tensor:
    alone = replace(base, blend=Blend.NORMAL, visible=True, opacity=1.0)
    return flatten(Document(sheets=(alone, *clipped)))


def _source(index: int) -> str:
    return f"data/{index:03d}.png"


def _store(archive: zipfile.ZipFile, name: str, image: Image.Image) -> None:
    with archive.open(name, "w") as file:
        image.save(file, format="PNG")


def _stack_xml(document: Document, bitmaps: list[Bitmap]) -> bytes:
    height, width = document.size
    image = ElementTree.Element("image", version="0.0.3", w=f"{width}", h=f"{height}")
    root = ElementTree.SubElement(image, "stack")
    numbered = list(enumerate(zip(document.sheets, bitmaps, strict=True)))
    for group, members in groupby(reversed(numbered), key=lambda entry: entry[1][0].group):
        parent = _group_element(root, group) if group else root
        for index, (sheet, bitmap) in members:
            parent.append(_layer_element(sheet, bitmap, _source(index)))
    return ElementTree.tostring(image, encoding="UTF-8", xml_declaration=True)


def _group_element(root: ElementTree.Element, name: str) -> ElementTree.Element:
    """A group that is not isolated: its sheets act on all that lies below it."""
    attributes = {
        "name": _in_xml(name),
        "opacity": "1",
        "visibility": "visible",
        # Some readers isolate a group that does not name the default operator.
        "composite-op": "svg:src-over",
        "isolation": "auto",
    }
    return ElementTree.SubElement(root, "stack", attributes)


def _layer_element(sheet: Sheet, bitmap: Bitmap, source: str) -> ElementTree.Element:
    attributes = {
        "name": _in_xml(sheet.name),
        "src": source,
        "x": f"{bitmap.left}",
        "y": f"{bitmap.top}",
        "opacity": f"{sheet.opacity:.6g}",
        "visibility": "visible" if sheet.visible else "hidden",
        "composite-op": _OPERATORS[sheet.blend],
    }
    return ElementTree.Element("layer", attributes)


def _in_xml(text: str) -> str:
    return _NOT_IN_XML.sub("\ufffd", text)


def _document(path: Path) -> Document:
    with zipfile.ZipFile(path) as archive:
        image = ElementTree.fromstring(archive.read("stack.xml"))
        size = (_whole(image, "h", 1), _whole(image, "w", 1))
        root = image.find("stack")
        sheets = [] if root is None else list(_sheets(root, archive, size, "", True))
    if not sheets:
        raise ValueError("stack.xml: found no layers, expected at least one")
    return Document(sheets=tuple(sheets))


def _sheets(
    stack: ElementTree.Element,
    archive: zipfile.ZipFile,
    size: tuple[int, int],
    group: str,
    visible: bool,
) -> Iterator[Sheet]:
    """The sheets of a stack from back to front; `visible`: all stacks around them are."""
    for element in reversed(stack):
        shown = visible and _one_of(element, "visibility", _VISIBILITIES)
        name = element.get("name", "")
        if element.tag == "stack":
            _require_not_isolated(element)
            inner = f"{group} / {name}" if group else name
            yield from _sheets(element, archive, size, inner, shown)
        elif element.tag == "layer":
            blend = _one_of(element, "composite-op", _BLENDS)
            yield Sheet(
                rgba=uncropped(_bitmap(element, archive), blend, size),
                name=name,
                blend=blend,
                visible=shown,
                opacity=_opacity(element),
                group=group,
            )


def _bitmap(element: ElementTree.Element, archive: zipfile.ZipFile) -> Bitmap:
    source = element.get("src", "")
    pixels = read_pixels(archive.read(source), source)
    return Bitmap(
        pixels=pixels, left=_whole(element, "x", _FARTHEST), top=_whole(element, "y", _FARTHEST)
    )


def _require_not_isolated(stack: ElementTree.Element) -> None:
    """Raises `ValueError` for a group that is mixed by itself before it meets what lies below."""
    _one_of(stack, "isolation", {"auto": True})
    _one_of(stack, "composite-op", {"svg:src-over": True})
    if _opacity(stack) != 1:
        raise _unexpected(stack, "opacity", "1")


def _one_of(
    element: ElementTree.Element, attribute: str, meanings: dict[str, _Meaning]
) -> _Meaning:
    """What an attribute means; without it, the first meaning holds."""
    found = element.get(attribute, next(iter(meanings)))
    if found not in meanings:
        raise _unexpected(element, attribute, " or ".join(meanings))
    return meanings[found]


def _opacity(element: ElementTree.Element) -> float:
    try:
        opacity = float(element.get("opacity", "1"))
    except ValueError:
        opacity = -1.0
    if not 0 <= opacity <= 1:
        raise _unexpected(element, "opacity", "0 to 1")
    return opacity


def _whole(element: ElementTree.Element, attribute: str, lowest: int) -> int:
    """A whole number, at least `lowest`; without the attribute, 0."""
    found = element.get(attribute, "0")
    if not re.fullmatch(r"-?\d{1,6}", found) or int(found) < lowest:
        raise _unexpected(element, attribute, f"a whole number from {lowest}")
    return int(found)


def _unexpected(element: ElementTree.Element, attribute: str, expected: str) -> ValueError:
    found = element.get(attribute)
    name = element.get("name", "")
    return ValueError(
        f"stack.xml: {element.tag} {name!r}: {attribute}: found {found!r}, expected {expected}"
    )
