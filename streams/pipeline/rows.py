"""What the pipeline found, as rows of the lake and of the topics behind it."""

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from features.definitions import Definitions, Model, Source
from features.lineage import show_id, show_ids
from monitors.verdicts import REASONS, VERDICTS, Finding, Tier, Verdict
from streams.pipeline.accounting import CLASSES
from streams.pipeline.pending import Judged
from streams.wire.outgoing import Written
from streams.wire.records import LETTER_BYTES_MAX, Headers, Rejected

Bool = npt.NDArray[np.bool_]

_FEATURES = (
    "entity_type", "entity", "feature", "value", "value_num", "event_time_us", "ingest_time_us",
    "input_event_time_us", "input_visible_from_us", "topic", "partition", "offset", "definition", "id",
    "window_end_us", "by_time",
)  # fmt: skip


def features(versions: pa.RecordBatch, topic: str, log: str, *, witnessed: bool) -> pa.RecordBatch:
    """Rows of `features`; without a `written` log, values count as visible at the ingest time of their newest input."""
    columns = {name: versions.column(name) for name in _FEATURES}
    log_topic, _, log_partition = log.rpartition("/")
    if log_topic != topic:  # forwarded: where the row was read from, beside where it came from
        n = versions.num_rows
        columns["log_topic"] = _constant(log_topic, n)
        columns["log_partition"] = pa.array(np.full(n, int(log_partition), np.int32))
        columns["log_offset"] = versions.column("log_offset")
    unknown = pa.nulls(versions.num_rows, pa.int64())
    columns["visible_from_us"] = unknown if witnessed else versions.column("ingest_time_us")
    columns["visible_by_us"] = unknown if witnessed else versions.column("ingest_time_us")
    return pa.RecordBatch.from_pydict(columns)


def late(rows: pa.RecordBatch, source: Source) -> pa.RecordBatch:
    """Rows of `late`."""
    n = rows.num_rows
    return pa.RecordBatch.from_pydict(
        {
            "topic": _constant(source.topic, n),
            "partition": rows.column("partition"),
            "offset": rows.column("offset"),
            "entity_type": _constant(source.entity_type, n),
            "entity": rows.column("entity"),
            "event_time_us": rows.column("event_time_us"),
            "watermark_us": rows.column("watermark_us"),
            "reason": rows.column("reason"),
        }
    )


def dead_letters(rejected: list[Rejected]) -> pa.RecordBatch:
    """Rows of `dlq`."""
    values = [r.value for r in rejected]
    sizes = [len(v) if v is not None else 0 for v in values]
    return pa.RecordBatch.from_pydict(
        {
            "topic": pa.array([r.topic for r in rejected], pa.utf8()),
            "partition": pa.array([r.partition for r in rejected], pa.int32()),
            "offset": pa.array([r.offset for r in rejected], pa.int64()),
            "reason": pa.array([r.reason.value for r in rejected], pa.utf8()),
            "detail": pa.array([r.detail for r in rejected], pa.utf8()),
            "key": pa.array([r.key for r in rejected], pa.binary()),
            "value": pa.array(
                [v if n <= LETTER_BYTES_MAX else None for v, n in zip(values, sizes, strict=True)], pa.binary()
            ),
            "size": pa.array(sizes, pa.int64()),
            "digest": pa.array([xxhash.xxh64_hexdigest(v or b"") for v in values], pa.utf8()),
            "headers": pa.array([_headers(r.headers) for r in rejected], pa.utf8()),
            "ingest_time_us": pa.array([r.ingest_time_us for r in rejected], pa.int64()),
        }
    )


def labels(model: Model, source: Source, rows: pa.RecordBatch, first: npt.NDArray[np.int64]) -> pa.RecordBatch:
    """Rows of `labels`: the label events at indices `first`."""
    taken = rows.take(pa.array(first))
    n = taken.num_rows
    return pa.RecordBatch.from_pydict(
        {
            "model": _constant(model.name, n),
            "entity_type": _constant(model.entity_type, n),
            "entity": taken.column("entity"),
            "event_time_us": taken.column("event_time_us"),
            "ingest_time_us": taken.column("ingest_time_us"),
            "positive": pa.array(np.ones(n, bool)),
            "topic": _constant(source.topic, n),
            "partition": taken.column("origin_partition"),
            "offset": taken.column("origin_offset"),
            "txid": taken.column("txid"),
        }
    )


def predictions(model: Model, topic: str, rows: pa.RecordBatch) -> pa.RecordBatch:
    """Rows of `predictions`."""
    n = rows.num_rows
    return pa.RecordBatch.from_pydict(
        {
            "model": _constant(model.name, n),
            "prediction_id": rows.column("prediction_id"),
            "version": rows.column("version"),
            "entity_type": _constant(model.entity_type, n),
            "entity": rows.column("entity"),
            "read_time_us": rows.column("read_time_us"),
            "ingest_time_us": rows.column("ingest_time_us"),
            "output": rows.column("output"),
            "topic": _constant(topic, n),
            "partition": rows.column("origin_partition"),
            "offset": rows.column("origin_offset"),
        }
    )


def prediction_values(model: Model, topic: str, rows: pa.RecordBatch) -> pa.RecordBatch:
    """Rows of `prediction_values`: one per prediction and feature."""
    grid = _Grid(model, topic, rows)
    count = len(model.features)
    stamps = _interleave([rows.column(f"{f}.stamp").to_numpy() for f in model.features]).astype(np.uint64)
    numbers = _interleave([rows.column(f"{f}.number").to_numpy() for f in model.features])
    return pa.RecordBatch.from_pydict(
        {
            **grid.identity(),
            "feature": grid.feature(),
            "value": _values(model, rows),
            "value_num": pa.array(numbers, mask=np.isnan(numbers)),
            "stamp": pa.array(show_ids(stamps), pa.utf8(), mask=stamps == 0),
            "read_time_us": grid.repeat("read_time_us"),
            **grid.coordinates(),
        }
    ) if count else pa.RecordBatch.from_pydict({})  # fmt: skip


def verdicts(
    model: Model,
    topic: str,
    form: str,
    revision: int,
    generation: int,
    rows: pa.RecordBatch,
    judged: Judged,
    only: Bool | None = None,
) -> pa.RecordBatch:
    """Rows of `verdicts`: one per prediction and feature, or those cells of `only` [n, features]."""
    grid = _Grid(model, topic, rows)
    n = judged.verdict.size
    lead = judged.lead_us.ravel()
    version = judged.version.ravel()
    batch = pa.RecordBatch.from_pydict(
        {
            **grid.identity(),
            "feature": grid.feature(),
            "form": _constant(form, n),
            "verdict": _words([v.value for v in VERDICTS], judged.verdict),
            "reason": _words([r.value for r in REASONS], judged.reason),
            "tier": _words([t.name for t in Tier], judged.tier),
            "lead_us": pa.array(lead, mask=judged.verdict.ravel() != Verdict.LEAK.code),
            "revision": pa.array(np.full(n, revision, np.int32)),
            "generation": pa.array(np.full(n, generation, np.int64)),
            "read_time_us": grid.repeat("read_time_us"),
            "judged_value": _values(model, rows) if form == "served" else pa.nulls(n, pa.utf8()),
            "version_id": pa.array(show_ids(version), pa.utf8(), mask=version == 0),
            **grid.coordinates(),
        }
    )
    return batch if only is None else batch.filter(pa.array(only.ravel()))


def leaks(model: Model, topic: str, rows: pa.RecordBatch, judged: Judged) -> list[dict[str, object]]:
    """Records of `verdicts` on the topic: the LEAKs, as JSON objects."""
    found = []
    for i, f in zip(*np.nonzero(judged.verdict == Verdict.LEAK.code), strict=True):
        row, column = int(i), int(f)
        found.append(
            {
                "format": 1,
                "model": model.name,
                "prediction_id": rows.column("prediction_id")[row].as_py(),
                "entity_type": model.entity_type,
                "entity": rows.column("entity")[row].as_py(),
                "feature": model.features[column],
                "form": "served",
                "verdict": "LEAK",
                "lead_us": int(judged.lead_us[row, column]),
                "version_id": show_id(int(judged.version[row, column])),
                "tier": Tier(int(judged.tier[row, column])).name,
                "topic": topic,
                "partition": rows.column("origin_partition")[row].as_py(),
                "offset": rows.column("origin_offset")[row].as_py(),
            }
        )
    return found


def served(model: Model, topic: str, rows: pa.RecordBatch, judged: Judged) -> pa.RecordBatch:
    """Rows of kind `served` for the model stage."""
    columns = _scored(topic, rows)
    for index, name in enumerate(model.features):
        columns[name] = rows.column(f"{name}.number")
        columns[f"{name}.verdict"] = pa.array(judged.verdict[:, index])
    return pa.RecordBatch.from_pydict(columns)


def matured(model: Model, topic: str, rows: pa.RecordBatch, exposed: Judged, positive: Bool) -> pa.RecordBatch:
    """Rows of kind `matured` for the model stage."""
    columns = _scored(topic, rows)
    columns["positive"] = pa.array(positive)
    for index, name in enumerate(model.features):
        columns[f"{name}.exposure"] = pa.array(exposed.verdict[:, index])
        columns[f"{name}.lead_us"] = pa.array(exposed.lead_us[:, index])
    return pa.RecordBatch.from_pydict(columns)


def coupled(model: Model, told: pa.RecordBatch) -> pa.RecordBatch:
    """Rows of `coupled`."""
    return told.append_column("model", _constant(model.name, told.num_rows))


def written(records: list[Written], appended: set[str]) -> pa.RecordBatch:
    """Rows of `written`; `appended`: the logs whose records carry the broker's append time."""
    names = ("topic", "partition", "first", "last", "sent_us", "acked_us", "resent")
    types = (pa.utf8(), pa.int32(), pa.int64(), pa.int64(), pa.int64(), pa.int64(), pa.bool_())
    columns = {n: pa.array([getattr(r, n) for r in records], t) for n, t in zip(names, types, strict=True)}
    is_append = [f"{r.topic}/{r.partition}" in appended for r in records]
    return pa.RecordBatch.from_pydict({**columns, "append_topic": pa.array(is_append, pa.bool_())})


def accounting(counts: dict[str, dict[str, int]]) -> pa.RecordBatch:
    """Rows of `accounting`: counts by log, offsets `first` to `next`."""
    names = [log.rpartition("/") for log in counts]
    columns: dict[str, Any] = {
        "topic": pa.array([topic for topic, _, _ in names], pa.utf8()),
        "partition": pa.array([int(partition) for _, _, partition in names], pa.int32()),
    }
    for field in ("first", "next", *CLASSES):
        columns[field] = pa.array([c[field] for c in counts.values()], pa.int64())
    return pa.RecordBatch.from_pydict(columns)


def findings(found: list[Finding]) -> pa.RecordBatch:
    """Rows of `findings`."""
    return pa.RecordBatch.from_pydict(
        {
            "finding_id": pa.array([f.finding_id for f in found], pa.utf8()),
            "model": pa.array([f.model for f in found], pa.utf8()),
            "feature": pa.array([f.feature for f in found], pa.utf8()),
            "kind": pa.array([f.kind for f in found], pa.utf8()),
            "severity": pa.array([f.severity.value for f in found], pa.utf8()),
            "since_us": pa.array([f.since_us for f in found], pa.int64()),
            "evidence": pa.array([msgspec.json.encode(f.evidence).decode() for f in found], pa.utf8()),
            "sql": pa.array([f.sql for f in found], pa.utf8()),
        }
    )


def changed_columns(
    definitions: Definitions, source: Source, rows: pa.RecordBatch, versions: pa.RecordBatch
) -> dict[int, list[str]]:
    """Which `column` features each row changed: by its before-image, else because it made a version."""
    made: dict[tuple[int, str], bool] = {}
    for offset, name in zip(
        versions.column("log_offset").to_pylist(), versions.column("feature").to_pylist(), strict=True
    ):
        made[offset, name] = True
    offsets = rows.column("offset").to_pylist()
    found: dict[int, list[str]] = {}
    for feature in definitions.features_of(source.name):
        if feature.aggregate is not None or feature.column is None:
            continue
        for i, flag in enumerate(rows.column(f"{feature.column}.changed").to_pylist()):
            if flag or (flag is None and (offsets[i], feature.name) in made):
                found.setdefault(i, []).append(feature.name)
    return found


class _Grid:
    """Columns of one row per (prediction, feature), features varying fastest."""

    def __init__(self, model: Model, topic: str, rows: pa.RecordBatch) -> None:
        self._model, self._topic, self._rows = model, topic, rows
        self._n, self._count = rows.num_rows, len(model.features)
        self._index = pa.array(np.repeat(np.arange(self._n), self._count))

    def repeat(self, name: str) -> pa.Array:
        return self._rows.column(name).take(self._index)

    def feature(self) -> pa.Array:
        index = np.tile(np.arange(self._count, dtype=np.int32), self._n)
        return pa.DictionaryArray.from_arrays(index, pa.array(self._model.features, pa.utf8())).dictionary_decode()

    def identity(self) -> dict[str, Any]:
        size = self._n * self._count
        return {
            "model": _constant(self._model.name, size),
            "prediction_id": self.repeat("prediction_id"),
            "entity_type": _constant(self._model.entity_type, size),
            "entity": self.repeat("entity"),
        }

    def coordinates(self) -> dict[str, Any]:
        return {
            "topic": _constant(self._topic, self._n * self._count),
            "partition": self.repeat("origin_partition"),
            "offset": self.repeat("origin_offset"),
        }


def _scored(topic: str, rows: pa.RecordBatch) -> dict[str, Any]:
    names = ("origin_partition", "origin_offset", "prediction_id", "entity", "read_time_us", "output")
    return {"topic": _constant(topic, rows.num_rows), **{n: rows.column(n) for n in names}}


def _values(model: Model, rows: pa.RecordBatch) -> pa.Array:
    """Logged values as text, features varying fastest."""
    n, count = rows.num_rows, len(model.features)
    stacked = pa.concat_arrays([rows.column(f) for f in model.features])
    order = np.arange(n * count).reshape(count, n).T.ravel()
    return stacked.take(pa.array(order))


def _interleave(columns: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    return np.stack(columns, axis=1).ravel()


def _words(words: list[str], codes: npt.NDArray[np.int8]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(codes.ravel()), pa.array(words, pa.utf8())).dictionary_decode()


def _constant(text: str, n: int) -> pa.Array:
    return pa.repeat(pa.scalar(text, pa.utf8()), n)


def _headers(headers: Headers) -> str:
    shown = [[name, None if value is None else value.decode("utf-8", "replace")] for name, value in headers]
    return msgspec.json.encode(shown).decode()
