"""Laws of COCO's format: pictures come with all that is told of them, at the right place."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from photographs import HEIGHT, LIMITS, WIDTH, check_opens, png, store
from PIL import ExifTags, Image, ImageOps

from annotator.opening import Limits, photograph
from annotator.refusal import PhotographError, Reason
from annotator.sources.coco import coco_entries
from annotator.sources.entry import Entry, SourceError

CAPTIONS = [
    {"image_id": 2, "caption": "A cat\nand its food."},
    {"image_id": 2, "caption": "Another sentence."},
]


def cat() -> np.ndarray:
    area = np.zeros((HEIGHT, WIDTH), bool)
    area[4:10, 20:30] = True
    return area


def food() -> np.ndarray:
    area = np.zeros((HEIGHT, WIDTH), bool)
    area[2:8, 2:12] = area[2:4, 14:18] = True
    return area


def instances() -> dict[str, Any]:
    about = {"height": HEIGHT, "width": WIDTH, "license": 3, "coco_url": "http://there/2"}
    # Column by column: 20 columns of nothing, then each of the ten has 4 outside and 6 inside.
    counts = [20 * HEIGHT + 4, 6, *[HEIGHT - 6, 6] * 9, 2 * HEIGHT + HEIGHT - 10]
    polygons = [[2, 2, 12, 2, 12, 8, 2, 8], [14.0, 2, 18, 2, 18, 4, 14, 4], [1, 1, 9, 9]]
    return {
        "licenses": [{"id": 3, "name": "CC BY", "url": "http://licence"}],
        "categories": [{"id": 7, "name": "cat"}, {"id": 9, "name": "hot  dog"}],
        "images": [
            {"id": 2, "file_name": "two.png", **about},
            {"id": 1, "file_name": "one.png", **about, "license": 99},
            {"id": 5, "file_name": "gone.png", **about},
        ],
        "annotations": [
            {"image_id": 2, "category_id": 9, "iscrowd": 0, "segmentation": polygons},
            {
                "image_id": 2,
                "category_id": 7,
                "segmentation": {"size": [HEIGHT, WIDTH], "counts": counts},
            },
            {"image_id": 2, "category_id": 7, "iscrowd": 1, "bbox": [0, 0, 9, 9]},
            {"image_id": 1, "category_id": 7, "segmentation": [], "bbox": [1, 2, 3.0, 4]},
            {"image_id": 77, "category_id": 7, "bbox": [1, 2, 3, 4]},
        ],
    }


def coco(root: Path, document: Any, **options: Any) -> list[Entry]:
    pictures = {"one.png": png(1), "two.png": png(2, **options)}
    store(
        root, {**pictures, "instances.json": document, "captions.json": {"annotations": CAPTIONS}}
    )
    return coco_entries(root, root / "instances.json", root / "captions.json")


def test_coco_gives_captions_and_licences(tmp_path: Path):
    _, one, two = coco(tmp_path, instances())
    check_opens([one, two], 1, 2)
    assert (one.caption, two.caption) == ("", "A cat and its food.")
    assert (two.provenance.licence, two.provenance.note) == ("CC BY", "http://licence")
    assert (two.provenance.source, one.provenance.licence) == ("http://there/2", "")


def test_coco_gives_marks(tmp_path: Path):
    _, one, two = coco(tmp_path, instances())
    polygons, runs = photograph(two, LIMITS).marks
    assert (polygons.label, polygons.exact) == ("hot dog", True)
    assert (runs.label, runs.exact) == ("cat", True)
    assert np.array_equal(polygons.area, food())
    assert np.array_equal(runs.area, cat())
    [box] = photograph(one, LIMITS).marks
    assert (box.box, box.exact) == ((1, 2, 4, 6), False)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_marks_turn_and_shrink_with_their_picture(tmp_path: Path, orientation: int):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    entry = coco(tmp_path, instances(), exif=exif)[2]
    for step in (1, 2):
        opened = photograph(entry, Limits(long_side=WIDTH // step, minimum_side=8))
        for mark, area in zip(opened.marks, (food(), cat()), strict=True):
            image = Image.fromarray(area[::step, ::step])
            image.getexif()[ExifTags.Base.Orientation] = orientation
            assert np.array_equal(mark.area, np.asarray(ImageOps.exif_transpose(image)))
            assert mark.area.shape == opened.pixels.shape[:2]


def test_a_named_picture_that_is_not_there_is_refused_alone(tmp_path: Path):
    with pytest.raises(PhotographError, match=r"gone\.png: cannot be read") as caught:
        photograph(coco(tmp_path, instances())[0], LIMITS)
    assert caught.value.reason is Reason.MISSING


@pytest.mark.parametrize(
    ("row", "change"),
    [
        (1, {"segmentation": {"size": [HEIGHT, WIDTH], "counts": [3, 5]}}),
        (1, {"segmentation": {"size": [WIDTH, HEIGHT], "counts": [WIDTH * HEIGHT]}}),
    ],
)
def test_marks_that_do_not_fit_refuse_their_picture(
    tmp_path: Path, row: int, change: dict[str, Any]
):
    document = instances()
    document["annotations"][row].update(change)
    with pytest.raises(PhotographError, match=r"two\.png: annotation 'cat': [^\n]+$") as caught:
        photograph(coco(tmp_path, document)[2], LIMITS)
    assert caught.value.reason is Reason.BAD_ANNOTATION


def without(table: str, row: int, name: str) -> dict[str, Any]:
    document = instances()
    del document[table][row][name]
    return document


def changed(table: str, row: int, **values: Any) -> dict[str, Any]:
    document = instances()
    document[table][row].update(values)
    return document


@pytest.mark.parametrize(
    ("document", "line"),
    [
        ("{", r"is no JSON"),
        ([], r"expected an object"),
        ({}, r"lacks the list 'images'"),
        ({"images": []}, r"lacks the list 'categories'"),
        ({**instances(), "annotations": {}}, r"lacks the list 'annotations'"),
        (without("images", 1, "height"), r"images\[1\] lacks 'height'"),
        (changed("images", 1, width=0), r"images\[1\]: 0 x 24 pixels"),
        (changed("images", 1, width="wide"), r"images\[1\]: .*wide"),
        (changed("images", 1, file_name="two.png"), r"two of the images"),
        (without("categories", 0, "name"), r"categories\[0\] lacks 'name'"),
        (without("annotations", 2, "image_id"), r"annotations\[2\] lacks 'image_id'"),
        (without("annotations", 3, "bbox"), r"annotations\[3\] lacks 'bbox'"),
        (changed("annotations", 0, category_id=8), r"annotations\[0\]: category 8 is not"),
        (changed("annotations", 0, segmentation=[[1, 2, 3]]), r"annotations\[0\]: "),
        (changed("annotations", 0, segmentation=[[1, 2, 3, 4, 5, float("nan")]]), r"finite"),
        (changed("annotations", 3, bbox=[1, 2, 3]), r"annotations\[3\]: "),
        ({**instances(), "images": ["one.png"]}, r"images\[0\]: "),
    ],
)
def test_a_broken_file_is_refused_in_one_line(tmp_path: Path, document: Any, line: str):
    with pytest.raises(SourceError, match=rf"\A[^\n]*instances\.json: [^\n]*{line}[^\n]*\Z"):
        coco(tmp_path, document)
