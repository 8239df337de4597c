"""The whole entity stage once more: slow, naive, and written from what the documents promise.

In go the raw records of every log (inputs, forwarded rows, `written`) and the declarations as plain dicts; out come all
versions, late rows, dead letters, the account of every log, and the final verdict of every cell. No batches, no clocks,
no incremental state: windows are put together from all rows an entity ever had, verdicts by asking of each version
whether it could have been the current one.

Declarations::

    {"partitions": N, "counts": {topic: its partitions}, "clock_error_us": ..., "history_us": ..., "written": topic,
     "sources": {name: {"topic", "by_topic", "format", "entity_type", "entity_field", "event_time", "event_unit",
                        "ingest_time", "lateness_us", "columns": {column: kind}}},
     "features": {name: {"source", "column", "aggregate", "window_us", "panes", "where": (column, text) or None,
                         "served_from", "serving_lag_us"}},
     "models": {name: {"predictions", "entity_type", "features": [...], "join": {...}, "matures_us", "labelled"}}}
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf
from typing import Any

from tests.oracles.stage_decoding import (
    Prediction,
    Raw,
    Refused,
    Row,
    home_of,
    kind_and_text,
    prediction_of,
    row_of,
    text_of,
)
from tests.oracles.stage_verdicts import Candidate, verdict

Logs = dict[tuple[str, int], list[Raw]]


@dataclass(frozen=True)
class Version:
    """One version. `value` is the scalar itself; `log`: where its row was read; `append_us`: of that row."""

    entity: str
    feature: str
    value: Any
    event_us: int
    ingest_us: int
    input_event_us: int
    topic: str
    partition: int
    offset: int
    window_end_us: int | None
    by_time: bool
    log: tuple[str, int]
    log_offset: int
    append_us: int | None
    from_us: int | None
    by_us: int | None

    @property
    def cell(self) -> tuple[Any, ...]:
        """What the lake shows of it."""
        return (
            self.entity, self.feature, text_of(self.value), self.event_us, self.ingest_us, self.input_event_us,
            self.topic, self.partition, self.offset, self.window_end_us, self.by_time,
        )  # fmt: skip

    @property
    def cause(self) -> tuple[Any, ...]:
        """What tells it from all others: its id is a function of this."""
        return (self.entity, self.feature, self.topic, self.partition, self.offset, self.window_end_us or 0)


@dataclass
class Truth:
    """What a run over these logs must have come to."""

    versions: list[Version] = field(default_factory=list)
    late: list[tuple[Any, ...]] = field(default_factory=list)  # topic, partition, offset, entity, watermark, reason
    dead: list[tuple[str, int, int, str]] = field(default_factory=list)
    classes: dict[tuple[str, int], Counter[str]] = field(default_factory=dict)
    predictions: list[Prediction] = field(default_factory=list)
    verdicts: dict[tuple[str, str, str, str], tuple[str, int | None]] = field(default_factory=dict)


def run(declared: dict[str, Any], logs: Logs, ids: dict[str, tuple[Any, ...]] | None = None) -> Truth:
    """Everything that the entity stage must find.

    Parameters
    ----------
    logs
        Records by (topic, partition), offsets rising and without holes.
    ids
        Version id -> cause, for what predictions were stamped with: ids are names, any naming without clashes does.
    """
    truth = Truth()
    logged = {model["predictions"] for model in declared["models"].values()}
    for name, source in declared["sources"].items():
        read = _predictions if name in logged else _rows
        for topic in (source["topic"], source["by_topic"]):
            for (found, partition), records in sorted(logs.items()):
                if found == topic:
                    read(declared, name, (topic, partition), records, truth)
    witnesses = _witnesses(declared, logs, truth)
    _judge(declared, truth, witnesses, ids or {})
    return truth


# -- where every record belongs --------------------------------------------------------------------------------------


def _walk(
    declared: dict[str, Any], name: str, log: tuple[str, int], records: Iterable[Raw], truth: Truth, decode: Any
) -> list[Any]:
    """What of one log is to be applied there; everything else is told to the account."""
    source = declared["sources"][name]
    is_forwarded = log[0] == source["by_topic"]
    account = truth.classes.setdefault(log, Counter())
    newest: dict[int, int] = {}
    found = []
    for raw in records:
        partition, offset, append_us = log[1], raw.offset, raw.append_us
        if is_forwarded:
            headers = dict(raw.headers)
            if "tminus_marker" in headers:
                account["empty"] += 1
                continue
            _, partition, offset, stamp_ms, is_append, _ = json.loads(headers["tminus_origin"] or b"")
            append_us = stamp_ms * 1000 if is_append else None
            if offset <= newest.get(partition, -1):
                account["duplicate"] += 1
                continue
            newest[partition] = offset
        if raw.value is None and source["format"] == "debezium":
            account["empty"] += 1
            continue
        try:
            if raw.value is None:
                raise Refused("null_value")
            row = decode(raw.value, partition, offset, raw.offset, append_us)
        except Refused as refusal:
            account["dead_lettered"] += 1
            truth.dead.append((*log, raw.offset, str(refusal)))
            continue
        is_torn = declared["counts"].get(source["topic"]) != declared["partitions"]
        if not is_forwarded and (is_torn or home_of(row.entity, declared["partitions"]) != log[1]):
            account["forwarded"] += 1
            continue
        assert home_of(row.entity, declared["partitions"]) == log[1], "a row away from the home of its entity"
        found.append(row)
    return found


# -- versions --------------------------------------------------------------------------------------------------------


def _rows(declared: dict[str, Any], name: str, log: tuple[str, int], records: list[Raw], truth: Truth) -> None:
    source = declared["sources"][name]
    error_us = declared["clock_error_us"]

    def decode(value: bytes, partition: int, offset: int, log_offset: int, append_us: int | None) -> Row:
        return row_of(value, source, error_us, (partition, offset, log_offset), append_us)

    rows = _walk(declared, name, log, records, truth, decode)
    features = {f: d for f, d in declared["features"].items() if d["source"] == name}
    windows = {f: d for f, d in features.items() if d["aggregate"]}
    columns = {f: d for f, d in features.items() if not d["aggregate"]}
    present: dict[tuple[str, str], Any] = {}
    applied: dict[tuple[str, str], list[Row]] = defaultdict(list)  # (feature, entity) -> rows its windows took
    watermark = -inf
    for row in rows:
        before = watermark
        watermark = max(watermark, row.event_us - source["lateness_us"])
        for f, d in columns.items():
            value = row.values[d["column"]]
            key = (f, row.entity)
            if key not in present or kind_and_text(present[key]) != kind_and_text(value):
                present[key] = value
                version = _version(row, row.entity, f, value, row.event_us, row.event_us, None, False, log, source)
                truth.versions.append(version)
        taken = False
        for f, d in windows.items():
            taken |= _window(truth, source, log, row, f, d, before, watermark, present, applied)
        is_selected = [_selects(d, row) for d in windows.values()]
        reason = None
        if windows and row.event_us < before:
            reason = "behind_watermark"
        elif windows and any(is_selected) and not taken:
            reason = "outside_window"
        if reason is not None:
            truth.late.append((source["topic"], row.partition, row.offset, row.entity, row.event_us, before, reason))
        truth.classes[log]["late" if reason else "applied"] += 1


def _window(
    truth: Truth, source: dict[str, Any], log: tuple[str, int], row: Row, f: str, d: dict[str, Any], before: float,
    watermark: float, present: dict[tuple[str, str], Any], applied: dict[tuple[str, str], list[Row]],
) -> bool:  # fmt: skip
    """Let time and one row move the windows of one feature; whether the row's own window took it."""
    pane_us = d["window_us"] // d["panes"]
    mark = int(watermark) // pane_us

    def ends(entity: str) -> int:
        return max([r.event_us // pane_us for r in applied[f, entity]] + [mark])

    takes = _selects(d, row) and row.event_us >= before and row.event_us // pane_us > ends(row.entity) - d["panes"]
    if before == -inf or mark > int(before) // pane_us:
        for _, entity in sorted(key for key in list(applied) if key[0] == f and applied[key]):
            if entity == row.entity and takes:
                continue
            value, newest_us = _value(d, applied[f, entity], ends(entity), pane_us)
            if value != present[f, entity]:
                present[f, entity] = value
                end_us = (ends(entity) + 1) * pane_us
                input_us = newest_us or row.event_us
                version = _version(row, entity, f, value, mark * pane_us, input_us, end_us, True, log, source)
                truth.versions.append(version)
    if not takes:
        return False
    applied[f, row.entity].append(row)
    value, newest_us = _value(d, applied[f, row.entity], ends(row.entity), pane_us)
    if (f, row.entity) not in present and value is None:
        present[f, row.entity] = None  # nothing before, NULL now: no change
    if (f, row.entity) not in present or value != present[f, row.entity]:
        present[f, row.entity] = value
        end_us = (ends(row.entity) + 1) * pane_us
        truth.versions.append(
            _version(row, row.entity, f, value, row.event_us, newest_us or row.event_us, end_us, False, log, source)
        )
    return True


def _selects(d: dict[str, Any], row: Row) -> bool:
    """`where` of the compared declarations: column differs from a text, NULL not selected."""
    if d["where"] is None:
        return True
    column, text = d["where"]
    return row.values[column] is not None and row.values[column] != text


def _value(d: dict[str, Any], rows: list[Row], end: int, pane_us: int) -> tuple[Any, int | None]:
    """Value of the window of panes up to `end`, and the newest event time in it."""
    inside = [r for r in rows if end - d["panes"] < r.event_us // pane_us <= end]
    if d["column"]:
        inside = [r for r in inside if r.values[d["column"]] is not None]
    newest_us = max((r.event_us for r in inside), default=None)
    numbers = [float(r.values[d["column"]]) if d["column"] else 1.0 for r in inside]
    if d["aggregate"] in ("count", "sum"):
        return (float(len(numbers)) if d["aggregate"] == "count" else sum(numbers, 0.0)), newest_us
    if not numbers:
        return None, newest_us
    if d["aggregate"] == "last":
        newest = max(range(len(inside)), key=lambda i: (inside[i].event_us, i))
        return numbers[newest], newest_us
    simple = {"mean": lambda x: sum(x) / len(x), "min": min, "max": max}
    return simple[d["aggregate"]](numbers), newest_us


def _version(
    row: Row, entity: str, f: str, value: Any, event_us: int, input_us: int, end_us: int | None, by_time: bool,
    log: tuple[str, int], source: dict[str, Any],
) -> Version:  # fmt: skip
    return Version(
        entity, f, value, event_us, row.ingest_us, input_us, source["topic"], row.partition, row.offset, end_us,
        by_time, log, row.log_offset, row.append_us, row.from_us, row.by_us,
    )  # fmt: skip


# -- predictions, witnesses, verdicts --------------------------------------------------------------------------------


def _predictions(declared: dict[str, Any], name: str, log: tuple[str, int], records: list[Raw], truth: Truth) -> None:
    source = declared["sources"][name]
    models = {m: d for m, d in declared["models"].items() if d["predictions"] == name}

    def decode(value: bytes, partition: int, offset: int, _: int, append_us: int | None) -> Prediction:
        return prediction_of(value, source, models, declared["clock_error_us"], (partition, offset), append_us)

    found = _walk(declared, name, log, records, truth, decode)
    truth.classes[log]["applied"] += len(found)
    truth.predictions += found


@dataclass(frozen=True)
class Witness:
    """Versions of offsets `first` to `last` were sent and acknowledged."""

    first: int
    last: int
    sent_us: int
    acked_us: int
    resent: bool


def _witnesses(declared: dict[str, Any], logs: Logs, truth: Truth) -> dict[tuple[str, int], list[Witness]]:
    found: dict[tuple[str, int], list[Witness]] = defaultdict(list)
    for log, records in logs.items():
        if log[0] != declared["written"]:
            continue
        truth.classes[log] = Counter(applied=len(records))
        for raw in records:
            told = json.loads(raw.value or b"")
            witness = Witness(*(told[n] for n in ("first", "last", "sent_us", "acked_us", "resent")))
            found[told["topic"], told["partition"]].append(witness)
    return found


def _judge(
    declared: dict[str, Any],
    truth: Truth,
    witnesses: dict[tuple[str, int], list[Witness]],
    ids: dict[str, tuple[Any, ...]],
) -> None:
    by_offset: dict[tuple[tuple[str, int], int], list[Witness]] = defaultdict(list)
    for log, told in witnesses.items():
        for witness in told:
            for offset in range(witness.first, witness.last + 1):
                by_offset[log, offset].append(witness)
    histories: dict[tuple[str, str], list[Version]] = defaultdict(list)
    for version in truth.versions:
        histories[version.entity, version.feature].append(version)
    for prediction in truth.predictions:
        model = declared["models"][prediction.model]
        until_us = prediction.read_us + model["matures_us"]
        for f in model["features"]:
            arrived = [v for v in histories[prediction.entity, f] if v.ingest_us <= until_us]
            told = [[w for w in by_offset[v.log, v.log_offset] if w.acked_us <= until_us] for v in arrived]
            place = (prediction.model, prediction.prediction_id, f)
            truth.verdicts[(*place, "served")] = _served(declared, prediction, f, arrived, told, ids)
            if model["labelled"]:
                truth.verdicts[(*place, "exposure")] = _exposed(declared, prediction, f, model, arrived, told)


def _served(
    declared: dict[str, Any], prediction: Prediction, f: str, arrived: list[Version], told: list[list[Witness]],
    ids: dict[str, tuple[Any, ...]],
) -> tuple[str, int | None]:  # fmt: skip
    if prediction.ingest_us - prediction.read_us > declared["history_us"]:
        return "UNVERIFIABLE", None
    d = declared["features"][f]
    if d["served_from"] == "source":
        history = [_by_source(v) for v in arrived]
    else:
        history = [_by_view(declared, v, w, d["serving_lag_us"]) for v, w in zip(arrived, told, strict=True)]
    value, stamp = prediction.cells[f]
    name = ids.get(stamp, "nobody's") if stamp is not None else None
    return verdict(history, prediction.read_us, kind_and_text(value), stamp=name)


def _exposed(
    declared: dict[str, Any], prediction: Prediction, f: str, model: dict[str, Any], arrived: list[Version],
    told: list[list[Witness]],
) -> tuple[str, int | None]:  # fmt: skip
    if prediction.ingest_us - prediction.read_us > declared["history_us"]:
        return "UNVERIFIABLE", None
    if declared["features"][f]["aggregate"]:
        history = [_by_view(declared, v, w, 0) for v, w in zip(arrived, told, strict=True)]
    else:
        history = [_by_source(v) for v in arrived]
    places = list(range(len(arrived)))
    join = model["join"].get(f, "latest")
    if join == "as_of":
        places = [i for i in places if history[i].b <= prediction.read_us]
    if join == "event_time":
        places = [i for i in places if arrived[i].event_us <= prediction.read_us]
        places.sort(key=lambda i: (arrived[i].event_us, i))
    joined = history[places[-1]] if places else None
    value = joined.value if joined else None
    return verdict(history, prediction.read_us, value, named=joined.name if joined else None)


def _by_source(v: Version) -> Candidate:
    a = -inf if v.from_us is None else v.from_us
    b = inf if v.by_us is None else v.by_us
    return _candidate(v, a, b)


def _by_view(declared: dict[str, Any], v: Version, told: list[Witness], lag_us: int | None) -> Candidate:
    """Bounds by the witnesses of our own writes: the least of each side; sent again, it may have been out before."""
    if not told:
        return _candidate(v, -inf, inf)
    append = -inf if v.append_us is None else v.append_us
    lower = min(append if w.resent else w.sent_us for w in told)
    upper = min(w.acked_us for w in told)
    error_us = declared["clock_error_us"]
    return _candidate(v, lower - error_us, inf if lag_us is None else upper + 1 + error_us + lag_us)


def _candidate(v: Version, a: float, b: float) -> Candidate:
    if a > b:  # contradicts itself: says nothing
        a, b = -inf, inf
    return Candidate(a, b, kind_and_text(v.value), v.cause)
