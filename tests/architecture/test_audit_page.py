"""Does docs/audit.md tell of everything that `tminus audit` takes and finds?"""

import ast
from collections.abc import Iterator

from monitors.audit.rows import _WORDS
from streams.cli.audit import command
from tests.architecture.documents import ROOT

PAGE = (ROOT / "docs" / "audit.md").read_text()


def kinds() -> Iterator[str]:
    """Kinds of findings, as the code spells them: first arguments of `TableFinding`, and the words about rows."""
    for path in [*(ROOT / "monitors").rglob("*.py"), *(ROOT / "streams" / "audit").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "TableFinding":
                named = [k.value for k in node.keywords if k.arg == "kind"]
                yield from (a.value for a in [*node.args[:1], *named] if isinstance(a, ast.Constant))
    yield from (*_WORDS, "DUPLICATE_ROWS", "CONFLICTING_LABELS")


def test_every_option_is_on_the_page():
    """What is not listed is not found."""
    options = [option for parameter in command.params for option in parameter.opts if option.startswith("--")]
    assert [option for option in options if f"`{option}" not in PAGE and option != "--help"] == []


def test_every_finding_says_what_to_do_on_the_page():
    """A word in capitals is all that somebody has who meets it in a build log."""
    found = set(kinds())
    assert {"COUPLED_TX", "LATE", "TOO_GOOD", "ROW_EXISTENCE"} <= found
    assert sorted(kind for kind in found if kind not in PAGE.partition("## What is found")[2]) == []
