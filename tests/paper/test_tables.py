"""The README's tables say what was measured."""

import json
from pathlib import Path

import pytest

from paper.tables import RESULTS, ROOT, with_tables


def test_the_readme_shows_the_results_as_they_are() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.count("<!-- table ") == 8
    assert with_tables(text, RESULTS) == text


def test_a_table_is_made_anew_and_all_else_stays(tmp_path: Path) -> None:
    figure = {"value": 1.25, "low": 1, "high": 2, "unit": "dB"}
    result = {"command": "make it", "date": "today", "scenes": 3, "figures": {"gain": figure}}
    (tmp_path / "one.json").write_text(json.dumps(result))
    text = "before\n<!-- table one -->\nold\n<!-- end -->\nafter\n"
    made = with_tables(text, [tmp_path / "none", tmp_path])
    assert made.startswith("before\n<!-- table one -->\n| figure |")
    assert "| gain | 1.250 | 1.000 to 2.000 | dB |\n" in made
    assert "`make it`, 3 scenes, today\n<!-- end -->\nafter\n" in made
    assert "old" not in made
    assert with_tables(made, [tmp_path]) == made


def test_a_missing_result_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        with_tables("<!-- table none -->\n<!-- end -->", [tmp_path])
