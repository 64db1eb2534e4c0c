"""The README's tables, made from the results of evaluations and benchmarks: `python -m
paper.tables` writes them anew.

A table stands between `<!-- table NAME -->` and `<!-- end -->`, NAME being that of a result.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from ldm.export.draft import draft

ROOT = Path(__file__).parent.parent
RESULTS = [ROOT / "paper" / "results", ROOT / "benchmarks" / "results"]
_PLACE = re.compile(r"(<!-- table (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def with_tables(text: str, folders: Sequence[Path]) -> str:
    """The text with each of its tables as its result says, in the first folder that has it.

    Raises `OSError` when a result is missing.
    """

    def made(place: re.Match[str]) -> str:
        names = [folder / f"{place[2]}.json" for folder in folders]
        return place[1] + table(next(filter(Path.is_file, names), names[0])) + place[3]

    return _PLACE.sub(made, text)


def table(path: Path) -> str:
    """One result in Markdown: a line for each figure, and the command that measured them."""
    result = json.loads(path.read_text(encoding="utf-8"))
    lines = [
        f"| {name} | {figure['value']:.3f} | {figure['low']:.3f} to {figure['high']:.3f}"
        f" | {figure['unit']} |\n"
        for name, figure in result["figures"].items()
    ]
    head = "| figure | value | interval | unit |\n|---|---|---|---|\n"
    foot = f"\n`{result['command']}`, {result['scenes']} scenes, {result['date']}\n"
    return head + "".join(lines) + foot


def main() -> None:
    """Write the README's tables."""
    readme = ROOT / "README.md"
    text = with_tables(readme.read_text(encoding="utf-8"), RESULTS)
    with draft(readme) as temporary:
        temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
