"""Laws of the report: what it says is true, nothing in it runs, it needs nothing else."""

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from annotator.record import Record, Refusal
from annotator.report import Exhibit, page, write_report
from annotator.thumbnails import over_checkerboard

HOSTILE = "<script>alert(1)</script>\" onload='x' & </style> \u202egpj.\udcff"
PIXELS = np.array(Image.open(Path("tests/fixtures/duck.jpg")).convert("RGB"))
BLUR = Refusal(name="blur", text="the photograph is blurred")


def record(key: str, *refusals: Refusal, source: str = "a.jpg", psnr: float = 40.0) -> Record:
    """A record with one figure."""
    return Record(key=key, source=source, refusals=refusals, figures={"recomposition_psnr": psnr})


class Tags(HTMLParser):
    """Collects a page's elements and texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def hostile_page() -> str:
    """A page in which every text that people give is hostile."""
    refused = Record(
        key="k",
        source=HOSTILE,
        refusals=(Refusal(name=HOSTILE, text=HOSTILE),),
        figures={HOSTILE: 1.0},
    )
    shown = Exhibit(record=refused, photograph=PIXELS, layers=())
    return page(HOSTILE, [refused], [shown])


def test_hostile_names_stay_text() -> None:
    tags = Tags(hostile_page())
    assert "script" not in {tag for tag, _ in tags.found}
    assert not [name for _, given in tags.found for name in given if name.startswith("on")]
    # Title, heading, reason in the bars, histogram, card and its reason, list of names.
    assert sum(HOSTILE in text for text in tags.texts) >= 7


def test_the_page_asks_for_nothing() -> None:
    tags = Tags(hostile_page())
    addresses = [
        value
        for _, given in tags.found
        for name, value in given.items()
        if name in {"src", "href", "action", "srcset"}
    ]
    assert addresses
    assert all(address and address.startswith("data:image/jpeg;base64,") for address in addresses)
    assert "default-src 'none'" in hostile_page()


def test_counts_and_reasons_are_true() -> None:
    records = [record("a"), record("b", BLUR), record("c", BLUR, Refusal(name="x", text="tiny"))]
    text = page("run", records, [])
    assert re.findall(r"<b>([^<]+)</b>(photographs|kept share|kept|refused)", text) == [
        ("3", "photographs"),
        ("1", "kept"),
        ("2", "refused"),
        ("33 %", "kept share"),
    ]
    assert re.findall(r'width:([\d.]+)%.*?class="number">(\d)', text) == [
        ("100.0", "2"),
        ("50.0", "1"),
    ]


def test_each_file_has_its_own_words_and_they_are_counted_as_one_reason() -> None:
    records = [
        record(key, Refusal(name="not_a_picture", text=f"{key}.jpg: is none")) for key in "abc"
    ]
    text = page("run", records, [])
    assert re.findall(r'width:([\d.]+)%.*?class="number">(\d)', text) == [("100.0", "3")]
    assert "not a picture" in text
    assert all(f"{key}.jpg: is none" in text for key in "abc")


def test_a_histogram_holds_all_values() -> None:
    text = page("run", [record(str(n), psnr=float(n)) for n in range(24)], [])
    heights = [float(height) for height in re.findall(r'<rect[^>]* height="([\d.]+)"', text)]
    assert len(heights) == 24
    assert len(set(heights)) == 1
    assert "median 11.5" in text


def test_a_kept_photograph_is_shown_with_its_layers_and_their_sum() -> None:
    rgba = np.dstack([PIXELS, np.full(PIXELS.shape[:2], 255, np.uint8)])
    clear = rgba.copy()
    clear[..., 3] = 0
    shown = Exhibit(record=record("a"), photograph=PIXELS, layers=(rgba, clear))
    images = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page("run", [], [shown]))
    pictures = [np.array(Image.open(io.BytesIO(base64.b64decode(each)))) for each in images]
    assert len(pictures) == 4
    np.testing.assert_array_equal(pictures[0], pictures[3])
    assert max(pictures[0].shape[:2]) <= 528
    assert np.ptp(pictures[2], axis=-1).max() <= 4  # nothing but the grey board


def test_the_checkerboard_shows_through_as_far_as_alpha_lets_it() -> None:
    rgba = np.zeros((36, 36, 4), np.uint8)
    assert set(np.unique(over_checkerboard(rgba))) == {204, 255}
    rgba[..., 3] = 255
    assert over_checkerboard(rgba).max() == 0


def test_a_run_without_photographs_has_a_page() -> None:
    assert "<b>0</b>photographs" in page("run", [], [])


def test_the_page_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_report(path, HOSTILE, [record("a", BLUR, source=HOSTILE)], [])
    written = path.read_bytes()
    assert written.decode().endswith("</html>\n")
    with pytest.raises(TypeError):
        write_report(path, "run", [None], [])  # pyright: ignore[reportArgumentType]
    assert path.read_bytes() == written
    assert list(tmp_path.iterdir()) == [path]


def test_records_survive_json() -> None:
    original = record("a", BLUR, Refusal(name="x", text=HOSTILE), source=HOSTILE, psnr=1 / 3)
    text = original.to_json()
    assert "\n" not in text
    text.encode("ascii")
    assert Record.from_json(text) == original


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"key": "a"}', "null"])
def test_what_is_no_record_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match="not the record of a photograph"):
        Record.from_json(text)
