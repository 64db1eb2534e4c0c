"""Document <-> Photoshop PSD, through psd-tools.

Groups are pass-through; sheets are pixel layers cropped to their content, blended by normal,
multiply or linear dodge, clipped by Photoshop's flag. The merged preview, which file browsers show,
is `flatten`'s picture.

A sheet that has light clipped to it holds its alpha as layer mask over opaque pixels: then every
renderer lights the colour first and cuts the edge afterwards, where psd-tools' own would otherwise
let the white or black of the light show through half transparent edges. Krita, which has no
clipping in pass-through groups, lights what lies below as well (give it ORA).
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from psd_tools import PSDImage
from psd_tools.api.layers import Group, GroupMixin, Layer, PixelLayer
from psd_tools.constants import BlendMode, ColorMode

from ldm.document import Blend, Document, Sheet, flatten
from ldm.export.bitmap import Bitmap, cropped, quantised, require_exportable, uncropped
from ldm.export.draft import draft

_MODES = {
    Blend.NORMAL: BlendMode.NORMAL,
    Blend.MULTIPLY: BlendMode.MULTIPLY,
    Blend.ADD: BlendMode.LINEAR_DODGE,
}
_BLENDS = {mode: blend for blend, mode in _MODES.items()}
_LONGEST_NAME = 255


def write_psd(document: Document, path: Path) -> None:
    """Write a document of one picture as a PSD; `path` appears whole or not at all.

    Names longer than 255 characters are cut. Raises `ValueError` for a batch or a clipped sheet
    without base in its group, `OSError` when the file cannot be written.
    """
    require_exportable(document)
    preview = _preview(document)
    psd = PSDImage.new(preview.mode, preview.size)
    lit = [sheet.clipped for sheet in document.sheets[1:]] + [False]
    entries = zip(document.sheets, cropped(document), lit, strict=True)
    for group, members in groupby(entries, key=lambda entry: entry[0].group):
        parent = _group(psd, group) if group else psd
        for sheet, bitmap, has_light in members:
            if has_light and not sheet.clipped:
                _added(parent, sheet, _opaque(bitmap)).create_mask(_alpha(bitmap))
            else:
                _added(parent, sheet, bitmap)
    with draft(path) as temporary:
        _save(psd, preview, temporary)


def read_psd(path: Path) -> Document:
    """Read an RGB PSD; cropped layers are filled up to the canvas.

    Nested groups become one, named by the whole way to it. Raises `OSError` when there is no such
    file, `ValueError` for a broken file and for what a document cannot hold: layers that are not
    pixels, other blend modes, vector masks, masks of groups, layer styles, groups that are not
    pass-through.
    """
    psd = _opened(path)
    if psd.color_mode is not ColorMode.RGB:
        raise ValueError(f"{path}: colour mode: found {psd.color_mode.name}, expected RGB")
    try:
        sheets = tuple(_sheets(psd, "", (psd.height, psd.width)))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if not sheets:
        raise ValueError(f"{path}: layers: found none, expected at least one")
    return Document(sheets=sheets)


def _preview(document: Document) -> Image.Image:
    """The picture as the merged data of a PSD.

    It has alpha only where it needs one; then its colours are mixed with white, and readers take
    the white out again.
    """
    picture = flatten(document)
    rgb, alpha = picture.split([3, 1], dim=1)
    opaque = bool((quantised(alpha) == 255).all())
    return Image.fromarray(
        quantised(rgb if opaque else torch.cat([rgb * alpha + (1 - alpha), alpha], dim=1))
    )


def _group(psd: PSDImage, name: str) -> Group:
    group = psd.create_group()
    # Given to the constructor, a name outside MacRoman breaks saving; the setter is safe.
    group.name = name[:_LONGEST_NAME]
    return group


def _added(parent: GroupMixin, sheet: Sheet, bitmap: Bitmap) -> PixelLayer:
    layer = parent.create_pixel_layer_from_array(
        bitmap.pixels,
        top=bitmap.top,
        left=bitmap.left,
        opacity=round(sheet.opacity * 255),
        blend_mode=_MODES[sheet.blend],
    )
    layer.name = sheet.name[:_LONGEST_NAME]
    layer.clipping = sheet.clipped
    layer.visible = sheet.visible
    return layer


def _opaque(bitmap: Bitmap) -> Bitmap:
    pixels = bitmap.pixels.copy()
    pixels[:, :, 3] = 255
    return replace(bitmap, pixels=pixels)


def _alpha(bitmap: Bitmap) -> Image.Image:
    return Image.fromarray(bitmap.pixels[:, :, 3])


def _save(psd: PSDImage, preview: Image.Image, path: Path) -> None:
    """Save with our preview; `PSDImage.save` would render its own."""
    record = psd._record  # pyright: ignore[reportPrivateUsage]  # documented as the way to the bytes
    record.image_data.set_data([band.tobytes() for band in preview.split()], record.header)
    layers = record.layer_and_mask_information.layer_info
    if layers is not None and preview.mode == "RGBA":
        # By its sign, the count of layers says that the fourth channel is the picture's alpha.
        layers.layer_count = -abs(layers.layer_count)
    with path.open("wb") as file:
        record.write(file)


def _opened(path: Path) -> PSDImage:
    with path.open("rb") as file:
        try:
            return PSDImage.open(file)
        except Exception as error:
            # psd-tools parses with assertions, struct, enumerations and its own errors.
            raise ValueError(f"{path}: found {error}, expected a whole PSD") from error


def _sheets(parent: GroupMixin, group: str, size: tuple[int, int]) -> Iterator[Sheet]:
    for layer in parent:
        if isinstance(layer, Group):
            _require_pass_through(layer)
            inner = f"{group} / {layer.name}" if group else layer.name
            yield from _sheets(layer, inner, size)
        else:
            _require_pixels(layer)
            yield _sheet(layer, group, size)


def _sheet(layer: Layer, group: str, size: tuple[int, int]) -> Sheet:
    blend = _BLENDS[layer.blend_mode]
    bitmap = Bitmap(pixels=_pixels(layer), left=layer.left, top=layer.top)
    return Sheet(
        rgba=uncropped(bitmap, blend, size),
        name=layer.name,
        blend=blend,
        clipped=layer.clipping,
        visible=layer.is_visible(),
        opacity=layer.opacity / 255,
        group=group,
    )


def _pixels(layer: Layer) -> UInt8[np.ndarray, "h w 4"]:
    """The pixels of a layer, its mask in their alpha; one without any gives a transparent pixel."""
    values = layer.numpy() if layer.width and layer.height else None
    if values is None:
        return np.zeros((1, 1, 4), dtype=np.uint8)
    levels = (values * 255).round().astype(np.uint8)
    if levels.shape[2] == 3:
        levels = np.concatenate([levels, np.full_like(levels[:, :, :1], 255)], axis=2)
    mask = layer.mask.topil(layer_sized=True) if layer.mask else None
    if mask is not None:
        alpha = levels[:, :, 3:] * (np.asarray(mask)[:, :, None] / 255)
        levels = np.concatenate([levels[:, :, :3], alpha.round().astype(np.uint8)], axis=2)
    return levels


def _require_pass_through(group: Group) -> None:
    _require_plain(group)
    _require(group, "mask", group.has_mask(), [False])
    _require(group, "blend mode", group.blend_mode.name, ["PASS_THROUGH"])
    _require(group, "opacity", group.opacity, [255])


def _require_pixels(layer: Layer) -> None:
    _require_plain(layer)
    _require(layer, "kind", layer.kind, ["pixel"])
    if layer.mask:
        plain = layer.mask.parameters is None and not layer.mask.disabled
        _require(layer, "mask", "plain" if plain else "disabled, feathered or thinned", ["plain"])
    _require(layer, "blend mode", layer.blend_mode.name, [mode.name for mode in _BLENDS])


def _require_plain(layer: Layer) -> None:
    _require(layer, "vector mask", layer.has_vector_mask(), [False])
    _require(layer, "style", layer.has_effects(), [False])
    _require(layer, "fill opacity", layer.fill_opacity, [255])


def _require(layer: Layer, term: str, found: object, expected: Sequence[object]) -> None:
    if found not in expected:
        either = " or ".join(f"{one}" for one in expected)
        raise ValueError(f"layer {layer.name!r}: {term}: found {found}, expected {either}")
