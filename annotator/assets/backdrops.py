"""Backdrops: photographs -> samples of one opaque layer."""

import io

import numpy as np
from PIL import Image, ImageOps

from annotator.assets.pictures import Picture
from ldm.storage import Sample, StoredLayer

_LONG_SIDE = 512


def backdrop(picture: Picture) -> Sample:
    """The whole photograph as one opaque layer, its long side at most 512 px.

    Tags: `backdrop`, `family:NAME` and, where an object can stand in the lower half, `ground`.
    """
    with Image.open(io.BytesIO(picture.content)) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    if max(upright.size) > _LONG_SIDE:
        upright.thumbnail((_LONG_SIDE, _LONG_SIDE), Image.Resampling.LANCZOS)
    rgba = np.array(upright.convert("RGBA"))
    layer = StoredLayer(rgba=rgba, prompt=picture.choice.caption, provenance=picture.provenance)
    ground = ("ground",) if picture.choice.ground else ()
    tags = ("backdrop", f"family:{picture.choice.family}", *ground)
    return Sample(key=picture.key, layers=(layer,), tags=tags)
