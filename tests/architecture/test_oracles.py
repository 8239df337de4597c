"""Oracles know nothing of what they judge."""

import ast
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "oracles"
OURS = {"features", "monitors", "streams", "tminus_client"}


def imported(text: str) -> set[str]:
    """Top-level names that a module imports, and the oracles beside it."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            found.add("." * node.level + (node.module or ""))
    return {name if name.startswith("tests") else name.partition(".")[0] for name in found}


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_an_oracle_imports_nothing_of_ours(path):
    """A mistake shared by the code and its twin is a mistake nobody sees; helpers outside the folder count as ours."""
    names = imported(path.read_text())
    assert not names & OURS
    assert all(name.startswith("tests.oracles") for name in names if name.startswith("tests"))


def test_an_import_of_ours_would_be_seen():
    """The check above, on a module that breaks it."""
    assert imported("from features.lineage import value_hash\nimport streams.wire") & OURS == {"features", "streams"}
