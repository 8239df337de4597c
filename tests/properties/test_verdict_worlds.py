"""The compiled test against two slow ones: a literal twin (equal in all) and possible worlds (says nothing false)."""

import random
from collections import Counter
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitors.leakage import FOREVER_US, NEVER_US, NO_POSITION, CellSet, Verdicts, VersionSet, judge
from monitors.verdicts import Verdict
from tests.oracles import worlds
from tests.oracles.verdict_twin import Answer, Cell, Version, answer

CELLS = 24_000


def world(rng: random.Random) -> tuple[list[Version], dict[str, int | bool], list[Cell]]:
    """One random history with its cells: few values and a short time axis, so that everything collides."""
    eps, res = rng.choice([0, 0, 1, 3]), rng.choice([1, 1, 4])
    ordered = rng.random() < 0.7
    writes = [rng.randrange(-12, 13) for _ in range(rng.choice([0, 1, 2, 3, 3, 5]))]
    history = []
    for j, write in enumerate(sorted(writes) if ordered else writes):
        a: float = write - eps if rng.random() < 0.9 else -inf
        b: float = write + rng.choice([0, 0, 0, 2, 6]) + res + eps if rng.random() < 0.85 else inf
        history.append(Version(a, b, rng.randrange(4), seq=j * 2 if ordered else rng.randrange(8), id=j + 1))
    cells = []
    width = rng.choice([1, 1, 1, 4])
    p_lo = rng.randrange(-10, 11)
    for _ in range(4):
        kind = rng.choice(["plain"] * 6 + ["named", "named", "stamped", "placed", "uncovered"])
        cells.append(
            Cell(
                p_lo,
                p_lo + width,
                value=rng.randrange(5),
                named=rng.randrange(1, 6) if kind == "named" else 0,
                stamp=rng.randrange(1, 6) if kind == "stamped" else 0,
                position=rng.randrange(10) if kind == "placed" else None,
                covered=kind != "uncovered",
            )
        )
    return history, {"eps": eps, "res": res, "begins": rng.random() < 0.9}, cells


def judged(generated: list[tuple[list[Version], dict[str, int | bool], list[Cell]]]) -> tuple[Verdicts, list[int]]:
    """All cells of all histories in one call; beside it the first row of each cell's history."""
    start = np.cumsum([0] + [len(history) for history, _, _ in generated])
    versions = [v for history, _, _ in generated for v in history]
    cells = [(g, cell) for g, (_, _, asked) in enumerate(generated) for cell in asked]
    found = judge(
        VersionSet(
            start.astype(np.int64),
            np.array([NEVER_US if v.a == -inf else v.a for v in versions], np.int64),
            np.array([FOREVER_US if v.b == inf else v.b for v in versions], np.int64),
            np.array([v.value for v in versions], np.uint64),
            ids=np.array([v.id for v in versions], np.uint64),
            seq=np.array([v.seq for v in versions], np.int64),
            begins=np.array([how["begins"] for _, how, _ in generated], np.bool_),
            eps_us=np.array([how["eps"] for _, how, _ in generated], np.int64),
            resolution_us=np.array([how["res"] for _, how, _ in generated], np.int64),
        ),
        CellSet(
            np.array([g for g, _ in cells], np.int64),
            np.array([cell.p_lo for _, cell in cells], np.int64),
            np.array([cell.value for _, cell in cells], np.uint64),
            p_hi_us=np.array([cell.p_hi for _, cell in cells], np.int64),
            stamps=np.array([cell.stamp for _, cell in cells], np.uint64),
            named=np.array([cell.named for _, cell in cells], np.uint64),
            position=np.array([NO_POSITION if c.position is None else c.position for _, c in cells], np.int64),
            covered=np.array([cell.covered for _, cell in cells], np.bool_),
        ),
    )
    return found, [int(start[g]) for g, _ in cells]


def answers(found: Verdicts, starts: list[int]) -> list[Answer]:
    places = [v - s if v >= 0 else -1 for v, s in zip(found.version.tolist(), starts, strict=True)]
    rows = zip(found.words(), found.lead_us.tolist(), places, found.clock_gap_us.tolist(), strict=True)
    return [Answer(str(verdict), str(reason), lead, place, gap) for (verdict, reason), lead, place, gap in rows]


def check(generated: list[tuple[list[Version], dict[str, int | bool], list[Cell]]]) -> Counter[str]:
    """Every cell equals the twin; every plain cell says nothing false about the possible worlds."""
    found = answers(*judged(generated))
    cells = [(history, how, cell) for history, how, asked in generated for cell in asked]
    for (history, how, cell), ours in zip(cells, found, strict=True):
        twin = answer(history, cell, **how)  # type: ignore[arg-type]
        assert ours == twin, (history, how, cell)
        is_plain = cell.covered and not cell.stamp and not cell.named and cell.position is None and how["begins"]
        if is_plain:
            intervals, values = [(v.a, v.b) for v in history], tuple(v.value for v in history)
            assert ours.verdict in worlds.truths(intervals, values, cell.p_lo, cell.p_hi, cell.value), (history, cell)
            if ours.verdict == "LEAK":
                assert ours.lead == worlds.least_lead(intervals, values, cell.p_lo, cell.value), (history, cell)
    return Counter(ours.verdict for ours in found)


@pytest.mark.parametrize("seed", [1])  # a longer run: more seeds
def test_kernel_equals_twin_and_possible_worlds_on_many_random_cells(seed: int) -> None:
    """No false PASS and no false LEAK, whatever the bounds; and each of the six verdicts really occurs."""
    rng = random.Random(seed)
    counts = check([world(rng) for _ in range(CELLS // 4)])
    assert sum(counts.values()) == CELLS
    assert set(counts) == set(Verdict)
    assert min(counts.values()) >= 100, counts


@settings(max_examples=100, deadline=None)
@given(st.lists(st.randoms(use_true_random=False).map(world), min_size=1, max_size=4))
def test_kernel_equals_twin_on_whatever_hypothesis_invents(generated: list[object]) -> None:
    """Shrinks a disagreement to a few versions and one cell."""
    check(generated)  # type: ignore[arg-type]


@settings(max_examples=100, deadline=None)
@given(st.randoms(use_true_random=False))
def test_a_duplicate_row_of_the_log_changes_no_verdict(rng: random.Random) -> None:
    """Delivery is at least once: a row that comes twice must not count twice."""
    history, how, cells = world(rng)
    cells = [Cell(c.p_lo, c.p_hi, c.value, covered=c.covered) for c in cells]
    before = answers(*judged([(history, how, cells)]))
    twice = [v for v in history for _ in range(1 + rng.randrange(2))]
    after = answers(*judged([(twice, how, cells)]))
    assert [(x.verdict, x.reason, x.lead) for x in before] == [(x.verdict, x.reason, x.lead) for x in after]


@settings(max_examples=100, deadline=None)
@given(st.randoms(use_true_random=False))
def test_losing_evidence_never_turns_a_verdict_into_a_pass_or_a_leak(rng: random.Random) -> None:
    """Missing evidence may cost certainty; it must never create any."""
    history, how, cells = world(rng)
    if not history:
        return
    cells = [Cell(c.p_lo, c.p_hi, c.value) for c in cells]
    at = rng.randrange(len(history))
    lost = history[at]
    poorer = list(history)
    poorer[at] = Version(-inf, lost.b, lost.value) if rng.random() < 0.5 else Version(lost.a, inf, lost.value)
    before, after = answers(*judged([(history, how, cells)])), answers(*judged([(poorer, how, cells)]))
    for rich, poor in zip(before, after, strict=True):
        if poor.verdict in ("PASS", "LEAK"):
            assert rich.verdict == poor.verdict
