"""Random files through the command: equal to the literal twin, and nothing false about any possible world."""

import random
from collections import Counter
from math import inf
from pathlib import Path

import pyarrow as pa
import pytest

from tests.oracles import audit_twin, worlds
from tests.oracles.audit_twin import Options
from tests.streams.audit.asking import T_US, Audited, audit
from tests.streams.audit.random_files import World, world

#: Rows times features; a longer run is in `tests/soak.py`.
CELLS = 12_000
#: Equality classes of the generated values, 0 is NULL.
CODES = {None: 0, 1: 1, 2: 2, 3: 3, 4: 4, 0.5: 5, 0.5625: 6, 7.0: 7}


def asked(folder: Path, small: World) -> tuple[World, Audited]:
    """The world with real times, and what the command says of it."""
    big = small.rendered()
    logs = [pa.Table.from_pylist(log, schema=_schema(log[0])) for log in big.logs]
    return big, audit(folder, big.train, logs, *big.arguments())


def _schema(row: dict) -> pa.Schema:
    """Types do not depend on which rows there are."""
    texts, floats = {"entity", "op", "feature"}, {"y", "value"}
    types = {name: pa.string() if name in texts else pa.float64() if name in floats else pa.int64() for name in row}
    return pa.schema(list(types.items()))


def check_twin(big: World, found: Audited) -> None:
    """Verdicts, leads, counts, shares, tiers, coverage, assumptions and exit status are those of the text."""
    twin = audit_twin.audit(big.train, big.told(), big.options)
    assert found.report, found.err
    for name, cells in twin.cells.items():
        expected = [(cell.verdict, cell.lead_us) for cell in cells]
        for row, (ours, theirs) in enumerate(zip(found.leads(name), expected, strict=True)):
            assert ours == theirs, (name, big.train[row], big.options, _rows_of(big, big.train[row]["entity"]))
        said, meant = found.report["features"][name], twin.features[name]
        assert (said["verdict"], said["tier"], said["counts"]) == (meant.verdict, f"E{meant.tier}", meant.counts)
        assert said["leak_share"] == {"low": pytest.approx(meant.low), "high": pytest.approx(meant.high)}
        assert (said["lead_us"] or {}).get("max") == meant.lead_max
    assert found.report["coverage"] == pytest.approx(twin.coverage)
    assert found.report["assumes"] == twin.assumes
    assert found.report["rows"] == len(big.train)
    assert found.report["cells"] == 2 * len(big.train)
    assert found.status == twin.status


def check_worlds(big: World, verdicts: dict[str, list[str]]) -> Counter[str]:
    """No verdict says anything false about any world that the bounds allow; how often each verdict was checked."""
    counts: Counter[str] = Counter()
    for name, said in verdicts.items():
        if name in big.options.tolerance:  # no equivalence, so values have no classes
            continue
        told = audit_twin.Histories(name, big.told(), big.options)
        for row, verdict in zip(big.train, said, strict=True):
            if big.options.covers or row.get(f"{name}__version") is not None:
                continue
            counts[verdict] += 1
            true = truths(big, told.of(row["entity"]), row[name], row)
            assert verdict in true, (name, verdict, true, row, big.options, _rows_of(big, row["entity"]))
    return counts


def truths(big: World, versions: list[audit_twin.Version], value: object, row: dict) -> set[str]:
    """What may be said of a cell, from the enumeration of worlds."""
    values, x = tuple(CODES[version.value] for version in versions), CODES[value]
    if big.options.prediction_seq is not None:
        at = row["at"]
        return worlds.truths([(float(v.seq), v.seq + 1.0) for v in versions], values, at, at + 1, x)
    intervals = [(v.a - T_US if v.a > -inf else -inf, v.b - T_US if v.b < inf else inf) for v in versions]
    p_lo = row["prediction_time"] - T_US
    return worlds.truths(intervals, values, p_lo, p_lo + big.options.prediction_resolution_us, x)


def _rows_of(big: World, entity: str) -> list[dict]:
    return [row for log in big.logs for row in log if row["entity"] == entity]


def run(folder: Path, seed: int, entities: int) -> Counter[str]:
    """One world, checked against both."""
    big, found = asked(folder, world(random.Random(seed), entities))
    check_twin(big, found)
    return check_worlds(big, {name: found.verdicts(name) for name in ("x", "y")})


def test_random_files_agree_with_the_text_and_with_every_possible_world(tmp_path: Path):
    """No false PASS, no false LEAK, through the whole command; each of the six verdicts really occurs."""
    counts: Counter[str] = Counter()
    seed = 0
    while counts.total() < CELLS:
        counts += run(tmp_path / str(seed), seed, entities=60)
        seed += 1
    assert set(counts) == set(audit_twin.WORST_FIRST)
    assert min(counts.values()) >= 25, counts


@pytest.mark.parametrize("order", ["last_write", "max_event_time"])
@pytest.mark.parametrize("visible", ["write", "none"])
def test_every_corner_is_visited(tmp_path: Path, order: str, visible: str):
    """Rare settings, together."""
    for is_long in (False, True):
        how = {"order": order, "visible": visible, "is_long": is_long, "has_seq": True, "has_ops": True}
        big, found = asked(tmp_path, world(random.Random(5), 25, **how, has_inputs=True, position=False))
        check_twin(big, found)
        check_worlds(big, {name: found.verdicts(name) for name in ("x", "y")})


def test_the_tier_of_every_kind_of_verdict_is_that_of_the_text(tmp_path: Path):
    """In larger files some leak hides the tiers of all other verdicts; so here are files of three or four rows."""
    seen = set()
    for seed in range(60):
        small = world(random.Random(seed), 1, visible="write", covers=False)
        if not small.logs[0]:
            continue
        big, found = asked(tmp_path, small)
        check_twin(big, found)
        seen |= {(feature["verdict"], feature["tier"]) for feature in found.report["features"].values()}
    assert seen >= {("LEAK", "E2"), ("STALE", "E4"), ("SKEW_AMBIGUOUS", "E4"), ("UNVERIFIABLE", "E1")}


@pytest.mark.parametrize("seed", range(4))
def test_files_that_know_different_things_are_one_source(tmp_path: Path, seed: int):
    """One log with visible times and one without, one with the feature y and one without: each row keeps its own."""
    rng = random.Random(seed)
    small = world(rng, 30, visible="gaps", is_long=False, has_seq=seed % 2 == 0, position=False)
    (log,) = small.logs
    cut = len(log) // 2
    bare = [{name: v for name, v in row.items() if name != "visible_time"} for row in log[:cut]]
    only_x = [{name: v for name, v in row.items() if name != "y"} for row in log[cut:]]
    big, found = asked(tmp_path, World(small.train, [bare, only_x], small.options))
    check_twin(big, found)
    check_worlds(big, {name: found.verdicts(name) for name in ("x", "y")})


def test_logs_without_a_common_feature_have_clocks_of_their_own(tmp_path: Path):
    """Seconds in one source do not make the other one coarse; a feature in both makes them one source."""
    second = 1_000_000
    log_x = [{"entity": "u1", "write_time": T_US // second - 1, "x": 1}]
    log_y = [{"entity": "u1", "write_time": T_US - 300_000, "y": 1}]
    train = [{"entity": "u1", "prediction_time": T_US - 200_000, "x": 1, "y": 1}]
    found = audit(tmp_path, train, [log_x, log_y])
    assert (found.verdicts("x"), found.verdicts("y")) == (["SKEW_AMBIGUOUS"], ["PASS"])
    both = [row | {"x": 1} for row in log_y]
    found = audit(tmp_path, train, [log_x, both])
    assert (found.verdicts("x"), found.verdicts("y")) == (["SKEW_AMBIGUOUS"], ["SKEW_AMBIGUOUS"])


def test_the_possible_worlds_notice_a_verdict_that_is_too_sure():
    """Were the twin and the engine wrong alike, this would be left: a PASS instead of a doubt is seen."""
    small = world(random.Random(3), 60, visible="gaps", covers=False, tolerance=False)
    with pytest.raises(AssertionError):
        check_worlds(small.rendered(), {"x": ["PASS"] * len(small.train)})


def test_the_resolution_is_found_in_the_stamps(tmp_path: Path):
    """At least 200 stamps that are all whole minutes are minutes; 199 tell no more than their column."""
    minute = 60_000_000
    for n in (199, 200):
        log = [{"entity": f"u{i}", "write_time": T_US - T_US % minute - i * minute, "x": 1} for i in range(n)]
        train = [{"entity": "u3", "prediction_time": log[3]["write_time"] + 59_000_000, "x": 1}]
        twin = audit_twin.audit(train, [audit_twin.Log(log)], Options())
        found = audit(tmp_path, train, log)
        assert found.leads("x") == [(cell.verdict, cell.lead_us) for cell in twin.cells["x"]]
        assert found.verdicts("x") == (["PASS"] if n == 199 else ["SKEW_AMBIGUOUS"])


@pytest.mark.parametrize("unit_us", [1, 1_000, 1_000_000])
@pytest.mark.parametrize("has_seq", [False, True])
def test_no_verdict_contradicts_what_really_happened(tmp_path: Path, unit_us: int, has_seq: bool):
    """Times are drawn first, then stamped by a clock that is off and coarse; the resolution is found by the command."""
    rng = random.Random(unit_us + has_seq)
    error = rng.choice([0, 2]) * unit_us
    log, train, really = [], [], []
    for entity in range(150):
        history = _happened(rng, unit_us)
        offset = rng.randint(-error, error)
        for place, (written, visible, value) in enumerate(history):
            # With a sequence every stamp may err on its own; without one their order must be right.
            off = rng.randint(-error, error) if has_seq else offset
            stamps = [(t + off) // unit_us * unit_us for t in (written, visible)]
            row = {"entity": entity, "write_time": stamps[0], "visible_time": stamps[1], "x": value}
            log.append(row | ({"seq": place} if has_seq else {}))
        for _ in range(6):
            read, x = T_US + rng.randrange(-6 * unit_us, 7 * unit_us), rng.choice([None, 1, 2])
            train.append({"entity": entity, "prediction_time": read, "x": x})
            really.append([(visible, value) for _, visible, value in history])
    found = audit(tmp_path, train, log, "--clock-error", f"{error}us")
    for row, history, (verdict, lead) in zip(train, really, found.leads("x"), strict=True):
        visible = [value for at, value in history if at <= row["prediction_time"]]
        current = visible[-1] if visible else None
        if verdict == "PASS":
            assert current == row["x"], (row, history)
        if verdict in ("LEAK", "STALE"):
            assert current != row["x"], (row, history)
            assert (row["x"] in visible) == (verdict == "STALE"), (row, history)
        if verdict == "LEAK":
            assert lead <= min(at for at, value in history if value == row["x"]) - row["prediction_time"]
    assert set(found.counts("x")) >= {"PASS", "LEAK", "STALE", "SKEW_AMBIGUOUS"}
    assert found.report["features"]["x"]["resolution_us"] == unit_us


def _happened(rng: random.Random, unit_us: int) -> list[tuple[int, int, int | None]]:
    """(written, visible, value) of some versions, in the order in which they were written."""
    writes = sorted(T_US + rng.randrange(-8 * unit_us, 8 * unit_us) for _ in range(rng.randrange(1, 5)))
    return [(w, w + rng.choice([0, 0, unit_us // 3, 2 * unit_us]), rng.choice([None, 1, 2])) for w in writes]


def test_coarse_stamps_of_visibility_are_not_refined_by_fine_ones_of_the_write(tmp_path: Path):
    """Written by the microsecond, acknowledged by the second: the acquittal is only as fine as the second."""
    second = 1_000_000
    log = [
        {"entity": f"u{i}", "write_time": T_US + i * second + 137, "visible_time": T_US + i * second, "x": 1}
        for i in range(250)
    ]
    train = [{"entity": "u7", "prediction_time": T_US + 7 * second + at, "x": 1} for at in (500_000, second)]
    assert audit(tmp_path, train, log).verdicts("x") == ["SKEW_AMBIGUOUS", "PASS"]


@pytest.mark.parametrize("order", ["last_write", "max_event_time"])
def test_a_value_that_comes_back_within_one_stamp_is_not_taken_for_a_duplicate(tmp_path: Path, order: str):
    """1, 2, 1 in one second: whether the third row is news or the first one again is not in the file: no PASS of 2."""
    second = T_US // 1_000_000
    log = [{"entity": "u1", "event_time": second - 100, "write_time": second - 100, "x": x} for x in (1, 2, 1)]
    train = [{"entity": "u1", "prediction_time": second, "x": x} for x in (1, 2, 3)]
    assert audit(tmp_path, train, log, "--order", order).verdicts("x") == ["UNVERIFIABLE"] * 3
    # What was told twice in the same order says nothing new, and what comes later decides again.
    assert audit(tmp_path, train, log[:2] * 2, "--order", order).verdicts("x")[:2] == ["STALE", "PASS"]
    newer = [*log, {"entity": "u1", "event_time": second - 50, "write_time": second - 50, "x": 3}]
    assert audit(tmp_path, train, newer, "--order", order).verdicts("x") == ["STALE", "STALE", "PASS"]


def test_a_truncated_table_holds_nothing_for_anybody(tmp_path: Path):
    """`t` without an entity: from then on every value of every entity is NULL."""
    log = [
        {"entity": "u1", "write_time": T_US - 100, "op": "c", "x": 1},
        {"entity": None, "write_time": T_US - 50, "op": "t", "x": None},
        {"entity": "u2", "write_time": T_US - 20, "op": "c", "x": 2},
    ]
    train = [
        {"entity": entity, "prediction_time": T_US + at, "x": x}
        for entity in ("u1", "u2", "u3")
        for at in (-60, -30, 0)
        for x in (None, 1, 2)
    ]
    twin = audit_twin.audit(train, [audit_twin.Log(log)], Options())
    assert audit(tmp_path, train, log).leads("x") == [(cell.verdict, cell.lead_us) for cell in twin.cells["x"]]
