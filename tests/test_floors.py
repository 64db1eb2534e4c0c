"""Laws of the house: imports point down, and the doors do no maths."""

import ast
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).parent.parent
DOORS = sorted(ROOT.glob("*.py"))
MATHS = {"torch.nn", "torch.nn.functional", "einops", "diffusers", "torch.optim"}


def imported(tree: ast.AST) -> set[str]:
    """Full names of all that a file imports."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_imports_point_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert lint_imports(config_filename="pyproject.toml", no_cache=True) == 0


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
def test_doors_do_no_maths(door: Path) -> None:
    tree = ast.parse(door.read_text(encoding="utf-8"))
    assert not imported(tree) & MATHS
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.MatMult)]


@pytest.mark.parametrize("package", ["ldm", "cldm", "annotator"])
def test_no_package_opens_a_door(package: str) -> None:
    doors = {door.stem for door in DOORS}
    for path in (ROOT / package).rglob("*.py"):
        assert not imported(ast.parse(path.read_text(encoding="utf-8"))) & doors, path
