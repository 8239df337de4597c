"""Evidence is taken away from passing cases, piece by piece: no verdict and no tier becomes better by it."""

import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.streams.audit.asking import T_US, Audited, T, audit, rows
from tests.streams.audit.random_files import World, world
from tests.streams.audit.test_metamorphic import typed


@dataclass(frozen=True)
class Case:
    """One cell that passes, with everything known about it."""

    train: str
    log: str
    options: tuple[str, ...] = ()


#: Acceptance cases that pass, each with a visible time beside the write time.
PASSING = {
    "an hour before": Case(
        "entity|prediction_time|x\nu1|T|D",
        "entity|write_time|visible_time|x\nu1|T-3600000|T-3600000|D",
    ),
    "before the trigger": Case(
        "entity|prediction_time|x\nu1|T|D",
        "entity|write_time|visible_time|txid|x\nu1|T-86400000|T-86400000|1|D\nu1|T+5003|T+5003|571|NULL",
    ),
    "a millisecond before": Case(
        "entity|prediction_time|x\nu1|T|7",
        "entity|write_time|visible_time|x\nu1|T-10000|T-10000|5\nu1|T-1|T-1|7",
    ),
    "by position": Case(
        "entity|prediction_time|at|x\nu1|T|3|7",
        "entity|write_time|visible_time|seq|x\nu1|T-10000|T-10000|1|5\nu1|T|T|2|7",
        ("--prediction-seq", "at"),
    ),
    "acknowledged": Case(
        "entity|prediction_time|x\nu1|T|7", "entity|write_time|visible_time|x\nu1|T-200|T-150|7"
    ),
    "a harmless rewrite": Case(
        "entity|prediction_time|x|x__version\nu1|T|7|1",
        "entity|write_time|visible_time|version|x\nu1|T-10000|T-10000|1|7\nu1|T+50|T+50|2|7",
    ),
    "nothing yet": Case(
        "entity|prediction_time|x\nu1|T|NULL", "entity|write_time|visible_time|x\nu1|T+7200000|T+7200000|42"
    ),
    "derived": Case(
        "entity|prediction_time|x\nu1|T|0.5",
        "entity|write_time|visible_time|input_visible_from|x\nu1|T-60000|T-60000|T-90000|0.5",
    ),
    "within the clock error": Case(
        "entity|prediction_time|x\nu1|T|7",
        "entity|write_time|visible_time|x\nu1|T-10000|T-10000|5\nu1|T-6|T-6|7",
        ("--clock-error", "5ms"),
    ),
    "from a snapshot": Case(
        "entity|prediction_time|x\nu1|T|7", "entity|write_time|visible_time|op|x\nu1|T-500|T-500|r|7"
    ),
}  # fmt: skip

BETTER = {"PASS": 0, "SKEW_AMBIGUOUS": 1, "UNVERIFIABLE": 2}


def without(log: list[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name not in names} for row in log]


def no_visible(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row | {"visible_time": None} for row in log]


def last_not_visible(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [*log[:-1], log[-1] | {"visible_time": None}]


#: What is taken away: rows of TRAIN and of the log, and options, changed.
REMOVALS = {
    "no visible times": lambda train, log, asked: (train, log, (*asked, "--visible-time", "none")),
    "no visible time column": lambda train, log, asked: (train, without(log, "visible_time"), asked),
    "all visible times NULL": lambda train, log, asked: (train, no_visible(log), asked),
    "one visible time NULL": lambda train, log, asked: (train, last_not_visible(log), asked),
    "a worse clock": lambda train, log, asked: (train, log, (*asked, "--clock-error", "10s")),
    "a coarser clock": lambda train, log, asked: (train, log, (*asked, "--resolution", "1h")),
    "coarser reads": lambda train, log, asked: (train, log, (*asked, "--prediction-resolution", "1min")),
    "no version ids": lambda train, log, asked: (without(train, "x__version"), without(log, "version"), asked),
    "no coverage before": lambda train, log, asked: (train, log, (*asked, "--covers", f"{T - 1000}..{T}")),
    "no coverage after": lambda train, log, asked: (train, log, (*asked, "--covers", f"{T + 1}..{T + 1000}")),
}  # fmt: skip


def best(found: Audited) -> tuple[str, int]:
    """The one cell's verdict and tier."""
    assert found.report, found.err
    return found.verdicts("x")[0], int(found.report["features"]["x"]["tier"][1:])


@pytest.mark.parametrize("name", PASSING)
def test_a_passing_case_never_becomes_better_by_knowing_less(tmp_path: Path, name: str):
    """PASS may stay PASS where the evidence was not needed; its tier may only fall."""
    case = PASSING[name]
    train, log = rows(case.train), rows(case.log)
    verdict, tier = best(audit(tmp_path, train, log, *case.options))
    assert verdict == "PASS"
    for what, remove in REMOVALS.items():
        poorer = audit(tmp_path, *_tables(*remove(train, log, case.options)))
        said, poorer_tier = best(poorer)
        assert said in BETTER, (what, said)
        assert poorer_tier >= tier, what
        if what == "no visible time column" and name not in ("nothing yet", "by position"):
            # The write time then stands for it, and that is said before anything else.
            assert (poorer.report["assumes"], poorer_tier) == (["visible = write"], 4), what
        if what.startswith("no coverage"):
            assert said == "UNVERIFIABLE", what


def _tables(train: list, log: list, asked: tuple[str, ...]) -> tuple[Any, ...]:
    return (train, log, *asked)


@pytest.mark.parametrize("name", ["an hour before", "before the trigger", "a millisecond before", "acknowledged"])
def test_without_upper_bounds_nothing_that_was_written_passes(tmp_path: Path, name: str):
    """Most stacks record when a row was sent and never when it could be read: that must not be enough."""
    case = PASSING[name]
    for what in ("no visible times", "all visible times NULL"):
        poorer = audit(tmp_path, *_tables(*REMOVALS[what](rows(case.train), rows(case.log), case.options)))
        assert poorer.verdicts("x") == ["UNVERIFIABLE"], what
        assert poorer.report["features"]["x"]["reasons"] == {"no_upper_bound": 1}


def _poorer(big: World, rng: random.Random) -> list[World]:
    """The same world with less known about it, in each of several ways."""
    options = big.options
    gaps = [[row | ({"visible_time": None} if rng.random() < 0.5 else {}) for row in log] for log in big.logs]
    no_ids = [[{n: v for n, v in row.items() if n != "version"} for row in log] for log in big.logs]
    return [
        replace(big, logs=[no_visible(log) for log in big.logs]),
        replace(big, logs=gaps),
        replace(big, logs=no_ids, train=[{n: v for n, v in r.items() if "__" not in n} for r in big.train]),
        replace(big, options=replace(options, clock_error_us=options.clock_error_us + 2)),
        replace(big, options=replace(options, resolution_us=(options.resolution_us or 1) + 5)),
        replace(big, options=replace(options, prediction_resolution_us=options.prediction_resolution_us + 3)),
        replace(big, options=replace(options, covers=[(T_US - 3, T_US + 4)])),
        replace(big, options=replace(options, visible_time="none")),
    ]


@pytest.mark.parametrize("seed", range(6))
def test_in_random_files_less_evidence_makes_no_new_pass_and_no_new_leak(tmp_path: Path, seed: int):
    """Whatever the history: doubt may grow, certainty may not."""
    rng = random.Random(seed)
    big = world(rng, 25, visible="column", position=False, covers=False).rendered()

    def verdicts(asked: World) -> list[tuple[str, str]]:
        found = audit(tmp_path, typed(asked.train), [typed(log) for log in asked.logs], *asked.arguments())
        return list(zip(found.verdicts("x"), found.verdicts("y"), strict=True))

    before = verdicts(big)
    assert {verdict for row in before for verdict in row} >= {"PASS", "LEAK"}
    for poorer in _poorer(big, rng):
        for rich, poor in zip(before, verdicts(poorer), strict=True):
            for had, has in zip(rich, poor, strict=True):
                assert has == had or has not in ("PASS", "LEAK"), (had, has, poorer.options)
