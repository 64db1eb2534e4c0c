"""A run's report: one HTML page that needs nothing else, with counts, histograms and thumbnails.

Names and captions come from strangers: every text is escaped, and the page forbids itself scripts
and any request.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from jaxtyping import UInt8
from numpy import ndarray

from annotator.acceptance import recomposed
from annotator.charts import bars, histogram
from annotator.record import Record
from annotator.thumbnails import image, over_checkerboard
from ldm.export.draft import draft

_LISTED = 200
"""So many refused files are named; the rest are counted only."""

_STYLE = """
:root{color-scheme:light dark;--paper:#fafaf9;--card:#fff;--ink:#1c1c1a;--soft:#6b6b66;
--line:#e3e3df;--bar:#5b7c99}
@media(prefers-color-scheme:dark){:root{--paper:#161615;--card:#1f1f1d;--ink:#ecece8;--soft:#9a9a94;
--line:#33332f;--bar:#86a8c6}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1180px;padding:48px 32px;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
h1{font-size:28px;font-weight:600;margin:0 0 24px;letter-spacing:-.01em}
h2{font-size:17px;font-weight:600;margin:48px 0 16px}
small,figcaption,.soft{color:var(--soft);font-size:13px}
.counts{display:flex;flex-wrap:wrap;gap:16px 48px}
.counts b{display:block;font-size:34px;font-weight:600;line-height:1.2}
table{border-collapse:collapse;width:100%;font-size:14px}
th{font-weight:400;text-align:left;padding:4px 16px 4px 0;vertical-align:top}
td{padding:4px 0;vertical-align:top}
.bars th{white-space:nowrap;width:1%}
.track{width:100%}.bar{display:block;height:12px;margin:5px 0;min-width:2px;border-radius:2px;
background:var(--bar)}
.number{text-align:right;padding-left:16px;font-variant-numeric:tabular-nums}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(240px,1fr));gap:16px}
figure{margin:0}.charts figure{background:var(--card);border:1px solid var(--line);
border-radius:8px;padding:12px 16px}
.charts figcaption{display:flex;justify-content:space-between;gap:8px;margin-bottom:8px}
.charts b{font-weight:500;color:var(--ink)}
svg{display:block;width:100%}rect{fill:var(--bar)}line{stroke:var(--line)}
svg text{fill:var(--soft);font-size:11px}
article{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:16px;
margin-bottom:16px}
article header{display:flex;justify-content:space-between;gap:24px;flex-wrap:wrap;
margin-bottom:12px}
bdi{overflow-wrap:anywhere}
.pictures{display:flex;flex-wrap:wrap;gap:12px}
.pictures img{display:block;height:132px;width:auto;max-width:100%;border-radius:4px}
.reason{margin:0 0 12px}
details{margin-top:16px}summary{cursor:pointer;color:var(--soft)}
"""


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """A photograph to be shown with its record; no `layers` where it was not taken apart."""

    record: Record
    photograph: UInt8[ndarray, "h w 3"]
    layers: tuple[UInt8[ndarray, "h w 4"], ...]


def write_report(
    path: Path, title: str, records: Sequence[Record], exhibits: Sequence[Exhibit]
) -> None:
    """Write the page about all `records` to `path`, whole or not at all, some of them shown."""
    with draft(path) as temporary:
        # File names may hold bytes that are no text.
        temporary.write_bytes(page(title, records, exhibits).encode(errors="backslashreplace"))


def page(title: str, records: Sequence[Record], exhibits: Sequence[Exhibit]) -> str:
    """The report as HTML."""
    kept = [exhibit for exhibit in exhibits if exhibit.record.kept]
    refused = [exhibit for exhibit in exhibits if not exhibit.record.kept]
    body = (
        f"<h1>{escape(title)}</h1>",
        _counts(records),
        _section("Reasons for refusal", _reasons(records)),
        _section("Figures", _histograms(records)),
        _section("Kept", "".join(map(_card, kept))),
        _section("Refused", "".join(map(_card, refused)) + _list(records)),
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body>{''.join(body)}</body></html>\n"
    )


def _section(heading: str, content: str) -> str:
    return f"<section><h2>{heading}</h2>{content}</section>" if content else ""


def _counts(records: Sequence[Record]) -> str:
    kept = sum(record.kept for record in records)
    share = f"{100 * kept / len(records):.0f} %" if records else "none"
    numbers = {"photographs": len(records), "kept": kept, "refused": len(records) - kept}
    cells = "".join(f"<div><b>{number}</b>{name}</div>" for name, number in numbers.items())
    return f'<div class="counts">{cells}<div><b>{share}</b>kept share</div></div>'


def _reasons(records: Sequence[Record]) -> str:
    """Each reason with its count, the commonest first; a photograph may have several."""
    names = (refusal.name for record in records for refusal in record.refusals)
    reasons = Counter(name.replace("_", " ") for name in names)
    return bars(dict(reasons.most_common())) if reasons else ""


def _histograms(records: Sequence[Record]) -> str:
    names = dict.fromkeys(name for record in records for name in record.figures)
    charts = "".join(
        histogram([record.figures[name] for record in records if name in record.figures], name)
        for name in names
    )
    return f'<div class="charts">{charts}</div>' if charts else ""


def _card(exhibit: Exhibit) -> str:
    record = exhibit.record
    pictures = [(image(exhibit.photograph), "photograph")]
    if exhibit.layers:
        pictures += [
            (image(over_checkerboard(layer)), f"layer {index}" if index else "background")
            for index, layer in enumerate(exhibit.layers)
        ]
        again = (recomposed(exhibit.layers) * 255).round().astype("uint8")
        pictures.append((image(again), "layers together"))
    shown = "".join(
        f"<figure>{picture}<figcaption>{caption}</figcaption></figure>"
        for picture, caption in pictures
    )
    figures = " · ".join(f"{escape(name)} {value:.4g}" for name, value in record.figures.items())
    reasons = "".join(f'<p class="reason">{escape(each.text)}</p>' for each in record.refusals)
    return (
        f"<article><header><bdi>{escape(record.source)}</bdi><small>{figures}</small></header>"
        f'{reasons}<div class="pictures">{shown}</div></article>'
    )


def _list(records: Sequence[Record]) -> str:
    refused = [record for record in records if not record.kept]
    if not refused:
        return ""
    rows = "".join(
        f'<tr><th scope="row"><bdi>{escape(record.source)}</bdi></th><td class="soft">'
        f"{escape('; '.join(refusal.text for refusal in record.refusals))}</td></tr>"
        for record in refused[:_LISTED]
    )
    more = len(refused) - _LISTED
    rest = f'<p class="soft">and {more} more</p>' if more > 0 else ""
    return f"<details><summary>Refused files by name</summary><table>{rows}</table>{rest}</details>"
