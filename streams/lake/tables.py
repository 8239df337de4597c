"""Which tables does the lake have, and what does each column mean?

Data only: Arrow schemas whose comments reach the analyst through the views, the column that tells a row's time
for retention, and how long rows are kept. Times are int64 microseconds since the epoch, UTC.
"""

from dataclasses import dataclass
from enum import Enum

import pyarrow as pa

_DAY_US = 86_400_000_000

_TEXT, _INT, _FLOAT, _FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()
_SMALL, _BYTES = pa.int32(), pa.binary()


class Tier(Enum):
    """How long rows are kept, in microseconds; a hold wins over age."""

    RAW = 90 * _DAY_US
    FEATURES = 730 * _DAY_US
    PREDICTIONS = 1826 * _DAY_US


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its Arrow type, whether NULL is allowed, and what it means."""

    name: str
    type: pa.DataType
    comment: str
    is_nullable: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """One table: its columns, the column that ages it (None: kept for ever), and its tier."""

    name: str
    comment: str
    columns: tuple[Column, ...]
    time_column: str | None
    tier: Tier

    @property
    def schema(self) -> pa.Schema:
        """Arrow schema; each field carries its comment in the metadata key `comment`."""
        return pa.schema(
            pa.field(c.name, c.type, nullable=c.is_nullable, metadata={"comment": c.comment}) for c in self.columns
        )


def _need(name: str, type_: pa.DataType, comment: str) -> Column:
    return Column(name, type_, comment)


def _may(name: str, type_: pa.DataType, comment: str) -> Column:
    return Column(name, type_, comment, is_nullable=True)


_ENTITY_TYPE = _need("entity_type", _TEXT, "kind of entity, such as user or card")
_ENTITY = _need("entity", _TEXT, "id of the entity, the text of the declared field")
_FEATURE = _need("feature", _TEXT, "name of the feature")
_MODEL = _need("model", _TEXT, "name of the model")
_PREDICTION_ID = _need("prediction_id", _TEXT, "id that the serving node gave the prediction")
_EVENT_TIME = _need("event_time_us", _INT, "when it happened, by the producer's claim")
_INGEST_TIME = _need("ingest_time_us", _INT, "when it reached us: broker append time, else receive time")
_READ_TIME = _need("read_time_us", _INT, "when the prediction read its features")
_VALUE = _may("value", _TEXT, "canonical text of the value; NULL is a value too")
_VALUE_NUM = _may("value_num", _FLOAT, "the value as a number, where it is one")
_SOURCE = (
    _need("topic", _TEXT, "topic of the row that caused this one"),
    _need("partition", _SMALL, "partition of the row that caused this one"),
    _need("offset", _INT, "offset of the row that caused this one"),
)

_FEATURES = Table(
    "features",
    "Every version of every feature value: when it happened, when it could be read, and which row caused it",
    (
        _ENTITY_TYPE,
        _ENTITY,
        _FEATURE,
        _VALUE,
        _VALUE_NUM,
        _EVENT_TIME,
        _INGEST_TIME,
        _may("visible_from_us", _INT, "no read before this could return it; NULL: unknown"),
        _may("visible_by_us", _INT, "every read from this on returned it or a newer one; NULL: never proven"),
        _need("input_event_time_us", _INT, "newest event time among its inputs"),
        _may("input_visible_from_us", _INT, "newest lower visibility bound among its inputs"),
        *_SOURCE,
        _need("definition", _TEXT, "hash of the definition that computed it"),
        _need("id", _TEXT, "version id, 16 hex digits"),
        _may("window_end_us", _INT, "end of its window; NULL: no window"),
        _need("by_time", _FLAG, "changed by the passing of time alone, not by a row of its own"),
        _may("log_topic", _TEXT, "topic we consumed that row from, where forwarded; NULL: its own"),
        _may("log_partition", _SMALL, "partition we consumed that row from, where forwarded; NULL: its own"),
        _may("log_offset", _INT, "offset we consumed that row at, where forwarded; NULL: its own"),
    ),
    "event_time_us",
    Tier.FEATURES,
)

_WRITTEN = Table(
    "written",
    "When our own versions were sent and acknowledged: the witness of their visibility",
    (
        _need("topic", _TEXT, "consumed topic whose rows caused the versions"),
        _need("partition", _SMALL, "consumed partition"),
        _need("first", _INT, "first consumed offset, inclusive"),
        _need("last", _INT, "last consumed offset, inclusive"),
        _need("sent_us", _INT, "when the versions were handed to the producer"),
        _need("acked_us", _INT, "when the broker had acknowledged the last of them"),
        _need("resent", _FLAG, "computed anew after a restart from rows already in the log"),
        _need("append_topic", _FLAG, "the consumed topic carries broker append times"),
    ),
    "acked_us",
    Tier.FEATURES,
)

_PREDICTIONS = Table(
    "predictions",
    "Every prediction that serving logged",
    (
        _MODEL,
        _PREDICTION_ID,
        _may("version", _TEXT, "version of the model"),
        _ENTITY_TYPE,
        _ENTITY,
        _READ_TIME,
        _INGEST_TIME,
        _may("output", _FLOAT, "what the model answered"),
        *_SOURCE,
    ),
    "read_time_us",
    Tier.PREDICTIONS,
)

_PREDICTION_VALUES = Table(
    "prediction_values",
    "What each prediction read, feature by feature, as serving logged it",
    (
        _MODEL,
        _PREDICTION_ID,
        _ENTITY_TYPE,
        _ENTITY,
        _FEATURE,
        _VALUE,
        _VALUE_NUM,
        _may("stamp", _TEXT, "version id that the serving node says it read"),
        _READ_TIME,
        *_SOURCE,
    ),
    "read_time_us",
    Tier.PREDICTIONS,
)

_LABELS = Table(
    "labels",
    "Label events",
    (
        _MODEL,
        _ENTITY_TYPE,
        _ENTITY,
        _EVENT_TIME,
        _INGEST_TIME,
        _need("positive", _FLAG, "true: the label event; false: none within the horizon"),
        *_SOURCE,
        _may("txid", _TEXT, "transaction that wrote the label"),
    ),
    "event_time_us",
    Tier.PREDICTIONS,
)

_VERDICTS = Table(
    "verdicts",
    "The millisecond test of each served value and each exposed value; the last revision of each",
    (
        _MODEL,
        _PREDICTION_ID,
        _ENTITY_TYPE,
        _ENTITY,
        _FEATURE,
        _need("form", _TEXT, "served: the logged value; exposure: the value that training would join"),
        _need("verdict", _TEXT, "PASS, LEAK, STALE, SKEW_AMBIGUOUS, LEAK_OR_STALE or UNVERIFIABLE"),
        _need("reason", _TEXT, "why it is not certain; empty where it is"),
        _need("tier", _TEXT, "quality of the evidence"),
        _may("lead_us", _INT, "by how many microseconds a LEAK came too early; NULL otherwise"),
        _need("revision", _SMALL, "0 for the first answer; the highest one holds"),
        _need("generation", _INT, "of the owner that judged; of equal revisions the highest one holds"),
        _READ_TIME,
        _may("judged_value", _TEXT, "canonical text of the value put to the test"),
        _may("version_id", _TEXT, "id of the version that convicted or acquitted it"),
        *_SOURCE,
    ),
    "read_time_us",
    Tier.PREDICTIONS,
)

_COUPLED = Table(
    "coupled",
    "Rows of transactions that wrote a label, and what else they changed",
    (
        _MODEL,
        _need("clock_domain", _TEXT, "whose transactions and commit times these are"),
        _need("txid", _TEXT, "transaction"),
        _ENTITY_TYPE,
        _ENTITY,
        _need("is_label", _FLAG, "this row is the label"),
        _may("feature", _TEXT, "feature changed by this row"),
        _need("commit_time_us", _INT, "when the transaction was committed"),
        _may("lead_us", _INT, "from the entity's last read before it to the commit; NULL: there was none"),
        *_SOURCE,
    ),
    "commit_time_us",
    Tier.PREDICTIONS,
)

_FINDINGS = Table(
    "findings",
    "What a judge is sure enough of to act on; the newest state of each",
    (
        _need("finding_id", _TEXT, "id of the finding, the same through all its states"),
        _MODEL,
        _FEATURE,
        _need("kind", _TEXT, "which judge found what, such as COUPLED_TX or DRIFT"),
        _need("severity", _TEXT, "warning or page"),
        _need("since_us", _INT, "since when it holds"),
        _need("evidence", _TEXT, "JSON: entities, offsets, leads, e-value"),
        _need("sql", _TEXT, "query over this lake that shows the evidence"),
    ),
    "since_us",
    Tier.PREDICTIONS,
)

_CONTROL = Table(
    "control",
    "Every command to the serving nodes, with who, why and the evidence",
    (
        _need("scope", _TEXT, "what it commands, such as model:churn"),
        _need("incarnation", _INT, "first half of the epoch"),
        _need("epoch_offset", _INT, "second half of the epoch: offset of the claim record"),
        _need("epoch", _TEXT, "incarnation and claim offset, for people"),
        _need("seq", _INT, "number of the command within its epoch"),
        _need("mode", _TEXT, "live or fallback"),
        _need("since_us", _INT, "when it was issued"),
        _need("who", _TEXT, "policy or person"),
        _need("why", _TEXT, "reason"),
        _need("evidence", _TEXT, "JSON: ids of the findings behind it"),
    ),
    "since_us",
    Tier.PREDICTIONS,
)

_ALERTS = Table(
    "alerts",
    "Alerts as on-call sees them; the newest state of each",
    (
        _need("fingerprint", _TEXT, "hash over model, feature and kind"),
        _need("status", _TEXT, "firing or resolved"),
        _MODEL,
        _FEATURE,
        _need("kind", _TEXT, "which judge found what"),
        _need("severity", _TEXT, "warning or page"),
        _need("starts_at_us", _INT, "since when it fires"),
        _may("ends_at_us", _INT, "when it was resolved; NULL: still firing"),
        _need("summary", _TEXT, "one sentence for people"),
        _need("body", _TEXT, "JSON: the alert as sent"),
    ),
    "starts_at_us",
    Tier.PREDICTIONS,
)

_RECEIPTS = Table(
    "receipts",
    "Which command is in force on which serving node, since when",
    (
        _need("node", _TEXT, "serving node"),
        _need("scope", _TEXT, "what was commanded"),
        _need("epoch", _TEXT, "epoch of the command"),
        _need("seq", _INT, "number of the command within its epoch"),
        _need("mode", _TEXT, "live or fallback"),
        _need("effective_us", _INT, "since when it is in force there, by the node's clock"),
        _need("received_us", _INT, "when the receipt reached us"),
        _need("verified", _FLAG, "the receipt holds the signed command itself, and the signature is ours"),
    ),
    "received_us",
    Tier.PREDICTIONS,
)

_DRIFT = Table(
    "drift",
    "The evidence against 'nothing has changed', batch by batch",
    (
        _MODEL,
        _FEATURE,
        _need("log_e", _FLOAT, "natural logarithm of the e-value"),
        _need("threshold", _FLOAT, "an alarm at or above this, on the same scale"),
        _need("n_reference", _INT, "rows in the reference window"),
        _need("n_current", _INT, "rows judged against it so far"),
        _need("alarm", _FLAG, "the threshold is reached"),
        *_SOURCE,
    ),
    None,
    Tier.PREDICTIONS,
)

_LATENCY = Table(
    "latency",
    "From the event to the acknowledged feature value",
    (
        _ENTITY_TYPE,
        _FEATURE,
        _need("n", _INT, "values measured"),
        _need("p50_us", _INT, "median"),
        _need("p99_us", _INT, "99th percentile"),
        _need("max_us", _INT, "slowest"),
        _need("at_us", _INT, "when it was measured"),
    ),
    "at_us",
    Tier.RAW,
)

_DLQ = Table(
    "dlq",
    "Records that could not be used, with the reason and their bytes",
    (
        *_SOURCE,
        _need("reason", _TEXT, "kind of fault"),
        _need("detail", _TEXT, "what was expected and what was found"),
        _may("key", _BYTES, "key of the record"),
        _may("value", _BYTES, "original bytes; NULL when larger than the limit"),
        _need("size", _INT, "bytes of the original value"),
        _need("digest", _TEXT, "digest of the original value"),
        _need("headers", _TEXT, "JSON: headers of the record"),
        _INGEST_TIME,
    ),
    "ingest_time_us",
    Tier.RAW,
)

_LATE = Table(
    "late",
    "Rows that no window could apply any more",
    (
        *_SOURCE,
        _ENTITY_TYPE,
        _ENTITY,
        _EVENT_TIME,
        _need("watermark_us", _INT, "watermark that it missed"),
        _need("reason", _TEXT, "which windows it was too late for"),
    ),
    "event_time_us",
    Tier.RAW,
)

_ACCOUNTING = Table(
    "accounting",
    "Where every consumed offset went: each commit counts the offsets since the one before, class by class",
    (
        _need("topic", _TEXT, "consumed topic"),
        _need("partition", _SMALL, "consumed partition"),
        _need("first", _INT, "first offset counted"),
        _need("next", _INT, "first offset no longer counted"),
        _need("applied", _INT, "changed a history or a window"),
        _need("forwarded", _INT, "went to the partition where its entity lives"),
        _need("late", _INT, "no window could apply it"),
        _need("duplicate", _INT, "had been applied before"),
        _need("dead_lettered", _INT, "could not be used; see dlq"),
        _need("empty", _INT, "no record: control records, aborted, compacted away"),
        _need("gap", _INT, "gone before we could read it"),
    ),
    None,
    Tier.PREDICTIONS,
)

#: Every table by name.
TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        _FEATURES, _WRITTEN, _PREDICTIONS, _PREDICTION_VALUES, _LABELS, _VERDICTS, _COUPLED, _FINDINGS,
        _CONTROL, _ALERTS, _RECEIPTS, _DRIFT, _LATENCY, _DLQ, _LATE, _ACCOUNTING,
    )
}  # fmt: skip


def conform(name: str, rows: pa.Table | pa.RecordBatch) -> pa.Table:
    """`rows` with exactly the columns of table `name`, in order and of its types; absent nullable ones are NULL.

    Raises
    ------
    ValueError
        The table is unknown, a column is missing, foreign or of another type, or holds a forbidden NULL.

    Examples
    --------
    >>> conform("latency", pa.table({"entity_type": ["user"]}))
    Traceback (most recent call last):
    ValueError: lake table latency: expected column feature, found entity_type
    """
    if name not in TABLES:
        raise ValueError(f"expected a lake table, one of {', '.join(TABLES)}, found {name!r}")
    table = TABLES[name]
    if isinstance(rows, pa.RecordBatch):
        rows = pa.Table.from_batches([rows])
    foreign = set(rows.column_names) - {c.name for c in table.columns}
    if foreign:
        raise ValueError(f"lake table {name}: expected no column {', '.join(sorted(foreign))}")
    columns = []
    for column in table.columns:
        if column.name not in rows.column_names:
            if not column.is_nullable:
                raise ValueError(
                    f"lake table {name}: expected column {column.name}, found {', '.join(rows.column_names)}"
                )
            columns.append(pa.chunked_array([pa.nulls(rows.num_rows, column.type)]))
            continue
        found = rows.column(column.name)
        if not column.is_nullable and found.null_count:
            raise ValueError(f"lake table {name}: expected no NULL in {column.name}, found {found.null_count}")
        try:
            columns.append(found if found.type == column.type else found.cast(column.type))
        except pa.ArrowException as problem:
            raise ValueError(
                f"lake table {name}: expected {column.type} in {column.name}, found {found.type}"
            ) from problem
    return pa.Table.from_arrays(columns, schema=table.schema)
