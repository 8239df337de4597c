"""What holds of a finished run of the entity stage on any broker: compared with the oracle, and accounted for."""

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tests.oracles import stage_oracle
from tests.oracles.stage_oracle import Truth
from tests.rig import Rig

VERDICTS = ("PASS", "LEAK", "STALE", "SKEW_AMBIGUOUS", "LEAK_OR_STALE", "UNVERIFIABLE")
CLASSES = ("applied", "forwarded", "late", "duplicate", "dead_lettered", "empty", "gap")

_CAUSE = 'entity, feature, topic, "partition", "offset", coalesce(window_end_us, 0)'
_VERSION = (
    'entity, feature, "value", event_time_us, ingest_time_us, input_event_time_us, topic, "partition", "offset", '
    "window_end_us, by_time"
)


def truth_of(rig: Rig) -> Truth:
    """What the oracle makes of the run's logs."""
    ids = {row[0]: tuple(row[1:]) for row in rig.query(f"SELECT id, {_CAUSE} FROM features")}
    return stage_oracle.run(rig.declared(), rig.logs(), ids)


def assert_same_cells(rig: Rig, truth: Truth, lake: Path | None = None) -> None:
    """Every version, late row, dead letter and verdict, and nothing else."""
    versions = rig.query(f"SELECT {_VERSION} FROM features", lake)
    _same("versions", Counter(v.cell for v in truth.versions), Counter(versions))
    ids = rig.query("SELECT count(*), count(DISTINCT id), count(DISTINCT (" + _CAUSE + ")) FROM features", lake)
    assert len(set(ids[0])) == 1, f"expected one id per version, found {ids}"
    late = 'SELECT topic, "partition", "offset", entity, event_time_us, watermark_us, reason FROM late'
    _same("late rows", Counter(truth.late), Counter(rig.query(late, lake)))
    dead = 'SELECT topic, "partition", "offset", reason FROM dlq'
    _same("dead letters", Counter(truth.dead), Counter(rig.query(dead, lake)))
    cells = rig.query("SELECT model, prediction_id, feature, form, verdict, lead_us FROM verdicts", lake)
    assert len(cells) == len(truth.verdicts)
    _same(
        "verdicts",
        Counter((*place, *found) for place, found in truth.verdicts.items()),
        Counter(tuple(cell) for cell in cells),
    )


def assert_accounted(rig: Rig, truth: Truth) -> None:
    """Every offset of every log in exactly one class, and in the right one."""
    sums = ", ".join(f"sum({name})::BIGINT" for name in CLASSES)
    rows = rig.query(
        f'SELECT topic, "partition", min("first"), max("next"), sum("next" - "first")::BIGINT, {sums} FROM accounting '
        "GROUP BY ALL"
    )
    found = {(topic, partition): numbers for topic, partition, *numbers in rows}
    for log, (first, end, covered, *classes) in found.items():
        assert (first, covered) == (0, end), f"{log}: offsets counted twice or not at all"
        assert sum(classes) == end, f"{log}: {dict(zip(CLASSES, classes, strict=True))} of {end} offsets"
    written = rig.definitions.run.prefix + "written"
    for log, expected in truth.classes.items():
        counted = dict(zip(CLASSES, found[log][3:], strict=True)) if log in found else dict.fromkeys(CLASSES, 0)
        # Logs of ours grow while workers run: markers, which are empty, and witnesses.
        compared = [k for k in CLASSES if log[0] in rig.names.values() or (log[0] != written and k != "empty")]
        assert {k: counted[k] for k in compared} == {k: expected[k] for k in compared}, log


def assert_audit_agrees(rig: Rig, lake: Path | None = None) -> Counter[tuple[str, str]]:
    """`tminus audit` over what the lake holds convicts nothing that the stream acquitted, and acquits no convict.

    Cells that a stamp decided are left out: a file has no stamps. Returns how often which words met.
    """
    train, log = rig.folder / "audited.parquet", rig.folder / "history.parquet"
    # Those that serving reads from the view, with what the configuration says of their lag; without it, no upper bound.
    features = [f for f in rig.definitions.features.values() if f.served_from == "view"]
    lags = {f.name: f.serving_lag_us for f in features}
    known = " ".join(f"WHEN '{name}' THEN visible_by_us + {us}" for name, us in lags.items() if us is not None)
    lag = f"CASE feature {known} END"
    names = ", ".join(f"'{f.name}'" for f in features)
    # Where no lower bound is known, the row says no more than a snapshot does: readable at the latest from then on.
    write = "coalesce(visible_from_us, ingest_time_us) AS write_time, if(visible_from_us IS NULL, 'r', 'u') AS op"
    history = f"SELECT entity, feature, value, {write}, {lag} AS visible_time FROM features WHERE feature IN ({names})"
    order = "entity, feature, log_offset, coalesce(window_end_us, 0)"
    pq.write_table(rig.table(f"{history} ORDER BY {order}", lake), log)
    served = "SELECT model, prediction_id, entity, read_time_us AS prediction_time, feature, judged_value FROM verdicts"
    where = f"form = 'served' AND feature IN ({names})"
    pivot = f"PIVOT ({served} WHERE {where}) ON feature USING first(judged_value) ORDER BY model, prediction_id"
    pq.write_table(rig.table(pivot, lake), train)
    cells = rig.folder / "cells.parquet"
    error = f"{rig.definitions.run.clock_error_us}us"
    command = ["audit", train, "--log", log, "--clock-error", error, "--resolution", "1us", "--cells", cells]
    run = subprocess.run(
        [sys.executable, "-m", "streams.cli.main", *map(str, [*command, "--fail-on", "never", "--json", "-"])],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-800:]
    rows = pq.read_table(train).to_pylist()
    found = pq.read_table(cells).to_pylist()
    place = {(row["model"], row["prediction_id"]): i for i, row in enumerate(rows)}
    met: Counter[tuple[str, str]] = Counter()
    for model, prediction, feature, verdict, tier in rig.query(
        f"SELECT model, prediction_id, feature, verdict, tier FROM verdicts WHERE {where}", lake
    ):
        if tier != "E0":
            met[verdict, found[place[model, prediction]][f"{feature}__verdict"]] += 1
    assert met["PASS", "LEAK"] == met["LEAK", "PASS"] == 0, met
    return met


def assert_everything_occurs(truth: Truth, times: int = 100) -> None:
    """A comparison proves something about those things only that occurred."""
    found = Counter(v for (*_, form), (v, _) in truth.verdicts.items() if form == "served")
    assert all(found[v] >= times for v in VERDICTS), f"expected each verdict {times} times, found {dict(found)}"
    by_time = sum(version.by_time for version in truth.versions)
    assert by_time >= times, f"expected {times} versions made by time alone, found {by_time}"
    reasons = {reason for *_, reason in truth.late}
    assert reasons == {"behind_watermark", "outside_window"}, f"expected both kinds of late rows, found {reasons}"
    assert len({reason for *_, reason in truth.dead}) >= 6, "expected dead letters of many kinds"


def _same(what: str, expected: Counter[Any], found: Counter[Any]) -> None:
    missing, extra = expected - found, found - expected
    if not missing and not extra:
        return
    lines = [f"{what}: {missing.total()} missing, {extra.total()} too many of {expected.total()}"]
    for who, rows in (("expected", missing), ("found", extra)):
        lines += [f"  only {who}: {row}" for row in sorted(rows, key=str)[:8]]
    raise AssertionError("\n".join(lines))
