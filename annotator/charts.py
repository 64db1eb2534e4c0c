"""Small charts as text: bars in HTML, histograms in SVG. They take their colours from the page."""

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

_WIDTH, _HEIGHT, _BINS = 260, 90, 24
_FOOT = 18
"""Height below the bars for the labels."""


def bars(counts: Mapping[str, int]) -> str:
    """One row for each name, its bar as long as its count, in the order given."""
    longest = max(counts.values(), default=1)
    rows = (
        f'<tr><th scope="row">{escape(name)}</th>'
        f'<td class="track"><span class="bar" style="width:{100 * count / longest:.1f}%"></span>'
        f'</td><td class="number">{count}</td></tr>'
        for name, count in counts.items()
    )
    return f'<table class="bars">{"".join(rows)}</table>'


def histogram(values: Sequence[float], name: str) -> str:
    """How finite values spread, with their least, middle and greatest. Errors: none are given."""
    counts, edges = np.histogram(values, bins=_BINS)
    step = _WIDTH / _BINS
    columns = "".join(
        f'<rect x="{index * step + 0.5:.1f}" y="{_HEIGHT - height:.1f}" width="{step - 1:.1f}" '
        f'height="{height:.1f}" rx="1"/>'
        for index, height in enumerate(counts / counts.max() * (_HEIGHT - 4))
        if height
    )
    labels = (
        f'<text x="0" y="{_HEIGHT + 14}">{edges[0]:.4g}</text>'
        f'<text x="{_WIDTH}" y="{_HEIGHT + 14}" text-anchor="end">{edges[-1]:.4g}</text>'
    )
    return (
        f"<figure><figcaption>{escape(name)}<b>median {np.median(values):.4g}</b></figcaption>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT + _FOOT}" role="img">{columns}'
        f'<line x1="0" x2="{_WIDTH}" y1="{_HEIGHT}" y2="{_HEIGHT}"/>{labels}</svg></figure>'
    )
