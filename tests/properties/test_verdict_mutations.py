"""Would anybody notice if one comparison of the compiled test were wrong? Break each, and ask the possible worlds.

The module of the kernels is read as text, one comparison is changed in a copy, and the copy runs as plain Python.
"""

import ast
import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from monitors import leakage
from monitors.kernels import intervals
from tests.oracles import worlds
from tests.properties import test_verdict_worlds as kernel

SOURCE = Path(intervals.__file__).read_text()
#: Where the rule stands; the other functions check shapes, look up ids or name reasons.
RULE = {"_first_not_beaten", "_verdict"}
#: A bisection that never ends, and what only a cell that names its version reaches: worlds know nothing of ids.
NOT_BROKEN = {"s < e", "named >= s", "named < e", "value[named] == x", "a[named] >= p_hi"}
#: Ways out of a loop: taken a step later they cost time and change nothing.
SHORTCUTS = {"from_a[j] >= p_hi", "from_a_us[j] >= soonest", "to_a[j] < p_hi"}
#: Among versions with the same bounds any may be named as the decisive one.
TIES = {"a_us[j] < soonest", "a_us[j] <= soonest"}
#: Places of versions, where -1 is none: broken by a step they differ for the first history only, so they are turned.
INDICES = {"past >= 0", "past < 0", "future < 0"}
BROKEN = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq}
TURNED = {ast.Lt: ast.GtE, ast.GtE: ast.Lt}

Place = tuple[int, int]


def comparisons() -> Iterator[tuple[str, Place]]:
    """(text, (line, column)) of each comparison of the rule that decides about a verdict."""
    for function in ast.parse(SOURCE).body:
        if isinstance(function, ast.FunctionDef) and function.name in RULE:
            chooses_words = {
                part for node in ast.walk(function) if isinstance(node, ast.IfExp) for part in ast.walk(node)
            }
            for node in ast.walk(function):
                if isinstance(node, ast.Compare) and node not in chooses_words:
                    yield ast.unparse(node), (node.lineno, node.col_offset)


def copy(broken: Place | None) -> ModuleType:
    """The kernels as plain Python, with the comparison at this place broken."""
    tree = ast.parse(SOURCE)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.decorator_list = []
        if isinstance(node, ast.Compare) and (node.lineno, node.col_offset) == broken:
            how = TURNED if ast.unparse(node) in INDICES else BROKEN
            node.ops = [how[type(node.ops[0])]()]
    made = ModuleType("broken")
    exec(compile(tree, "broken", "exec"), made.__dict__)
    return made


@cache
def cells() -> tuple[Any, list[set[str] | None]]:
    """Random histories with cells, and what may truly be said of each; None where worlds know nothing."""
    rng = random.Random(11)
    generated = [kernel.world(rng) for _ in range(1500)]
    true: list[set[str] | None] = []
    for history, how, asked in generated:
        intervals_, values = [(v.a, v.b) for v in history], tuple(v.value for v in history)
        for cell in asked:
            is_plain = cell.covered and not cell.stamp and not cell.named and cell.position is None and how["begins"]
            true.append(worlds.truths(intervals_, values, cell.p_lo, cell.p_hi, cell.value) if is_plain else None)
    return generated, true


def is_noticed(monkeypatch: pytest.MonkeyPatch, broken: Place | None) -> bool:
    """Whether some verdict of the broken copy is false in some world."""
    monkeypatch.setattr(leakage, "intervals", copy(broken))
    generated, true = cells()
    try:
        found = kernel.judged(generated)[0].words()
    except IndexError:  # an empty history was looked into
        return broken is not None
    return any(told is not None and str(verdict) not in told for (verdict, _), told in zip(found, true, strict=True))


def test_the_rule_as_it_stands_says_nothing_false(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the tests below would prove nothing."""
    assert not is_noticed(monkeypatch, None)


@pytest.mark.parametrize(
    "place",
    [
        pytest.param(place, id=f"line {place[0]}: {text}")
        for text, place in comparisons()
        if text not in NOT_BROKEN | SHORTCUTS | TIES
    ],
)
def test_one_broken_comparison_is_noticed(monkeypatch: pytest.MonkeyPatch, place: Place) -> None:
    """One microsecond more or less, or the wrong way round: some verdict becomes false in some world."""
    assert is_noticed(monkeypatch, place)
