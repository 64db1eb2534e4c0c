"""Cut-outs: pictures with alpha -> samples of one layer, cropped to what can be seen."""

import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from annotator.assets.pictures import Picture
from ldm.storage import Sample, StoredLayer

# Below this alpha (of 255) a pixel cannot be seen, and does not widen the crop.
_VISIBLE = 8


def cutout(picture: Picture) -> Sample:
    """The picture as one layer at its own size, cropped to its visible box.

    Tags: `cutout`, `category:FOLDER/FOLDER`, `family:NAME`.
    """
    with Image.open(io.BytesIO(picture.content)) as image:
        rgba = _visible_part(np.array(image.convert("RGBA")))
    layer = StoredLayer(rgba=rgba, prompt=picture.choice.caption, provenance=picture.provenance)
    category = picture.choice.path.rpartition("/")[0]
    tags = ("cutout", f"category:{category}", f"family:{picture.choice.family}")
    return Sample(key=picture.key, layers=(layer,), tags=tags)


def _visible_part(rgba: UInt8[np.ndarray, "h w 4"]) -> UInt8[np.ndarray, "y x 4"]:
    visible = rgba[..., 3] >= _VISIBLE
    rows, columns = np.flatnonzero(visible.any(1)), np.flatnonzero(visible.any(0))
    return rgba[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].copy()
