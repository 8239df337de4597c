"""What may stand in `tminus.toml`?

The tables as people write them: durations are texts, units are found. These Structs are the published JSON Schema and
the list of known keys; what they become is in `features.definitions`.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

DURATION_PATTERN = r"^\s*\d+(\.\d+)?\s*(us|ms|s|m|min|h|d|w)\s*$"

Scalar = bool | int | float | str
# The pattern is for editors: our own reading gives a better sentence.
Duration = Annotated[str, Meta(examples=["250ms", "30s", "5m", "3d"], extra_json_schema={"pattern": DURATION_PATTERN})]
Name = Annotated[str, Meta(min_length=1)]

#: Formats and aggregates that DESIGN.md names and that are not built yet; refused by name, never ignored.
FORMATS_LATER = ("cloudevents", "avro", "arrow")
AGGREGATES_LATER = ("first", "distinct", "quantile", "variance", "topk")


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the configuration."""


class TimeTable(Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A field that holds a time, with its unit."""

    field: Name
    unit: Literal["s", "ms", "us", "ns"] | UnsetType = UNSET


Time = Annotated[str | TimeTable, Meta(description="A field that holds a time; its unit is found unless declared.")]


class DelayTable(Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How long after its anchor something becomes known; for `tminus check`."""

    min: Duration | UnsetType = UNSET
    p99: Duration | UnsetType = UNSET
    max: Duration | UnsetType = UNSET


class RunTable(Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One run: its clock, the size of the entity stage, its environment."""

    clock: Literal["wall", "data"] = "wall"
    partitions: Annotated[int, Meta(ge=1, le=10_000)] = 4
    clock_error: Annotated[Duration, Meta(description="1s on the wall clock, 0s on the data clock")] | UnsetType = UNSET
    environment: Name = "dev"
    prefix: Annotated[str, Meta(description="What the names of our own topics begin with")] = "tminus."
    history: Annotated[Duration, Meta(description="How far back versions are kept for late predictions")] = "1h"
    snapshot_every: Duration = "10s"
    commit_every: Duration = "1s"


class SourceTable(Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Rows of one topic."""

    topic: Annotated[str, Meta(min_length=1, description="The name of the source unless declared")] | UnsetType = UNSET
    format: Annotated[str, Meta(examples=["json", "debezium"])] = "json"
    entity: Annotated[dict[str, Name], Meta(description="{ type = field }")] | UnsetType = UNSET
    event_time: Time | UnsetType = UNSET
    ingest_time: Time | UnsetType = UNSET
    write_time: Time | UnsetType = UNSET
    visible_time: Time | UnsetType = UNSET
    txid: Name | UnsetType = UNSET
    lateness: Duration = "0s"
    resolution: Annotated[Duration, Meta(description="How coarse the declared times are")] = "1us"
    clock_error: Duration | UnsetType = UNSET
    order: Literal["last_write", "max_event_time"] = "last_write"
    fields: Annotated[dict[str, Name], Meta(description="Renamed fields of a log of predictions")] = {}
    owner: str = ""
    tags: list[str] = []


class WindowTable(Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A window that does not slide: exactly one of these."""

    tumbling: Duration | UnsetType = UNSET
    session_gap: Annotated[Duration, Meta(description="Not supported yet")] | UnsetType = UNSET


class FeatureTable(Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A window aggregate, or the newest value of a column."""

    source: Name
    column: Name | UnsetType = UNSET
    aggregate: Annotated[str, Meta(examples=["count", "sum", "mean", "min", "max", "last"])] | UnsetType = UNSET
    window: Annotated[Duration | WindowTable, Meta(description="'5m' slides by panes")] | UnsetType = UNSET
    panes: Annotated[int, Meta(ge=1, le=10_000, description="A sliding window moves by window / panes")] | UnsetType = (
        UNSET
    )
    where: Annotated[str, Meta(description="SQL condition over the row")] | UnsetType = UNSET
    expr: Annotated[str, Meta(description="SQL expression over the row, instead of a column")] | UnsetType = UNSET
    mutable_by: list[str] = []
    default: Scalar | UnsetType = UNSET
    served_from: Literal["view", "source"] = "view"
    serving_lag: Duration | UnsetType = UNSET
    latency_budget: Duration | UnsetType = UNSET
    anchor: str | UnsetType = UNSET
    delay: DelayTable | UnsetType = UNSET
    cadence: Duration | UnsetType = UNSET
    inputs: list[str] | UnsetType = UNSET
    forward_dated: bool | UnsetType = UNSET
    ttl: Duration | UnsetType = UNSET
    owner: str | UnsetType = UNSET
    tags: list[str] | UnsetType = UNSET


class PositiveTable(Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which rows are the label event."""

    column: Name
    equals: Scalar


class LabelTable(Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The first row that fulfils `positive` is the label event."""

    source: Name
    positive: PositiveTable
    horizon: Duration
    anchor: str | UnsetType = UNSET
    delay: DelayTable | UnsetType = UNSET


class FallbackTable(Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What serving does when the model may not be believed."""

    default: Scalar | UnsetType = UNSET
    on_silence: Literal["hold", "fallback"] = "hold"
    lease: Duration = "5s"
    escalate_after: Duration = "3d"


class ReferenceTable(Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What drift is measured against."""

    rows: Annotated[int, Meta(ge=1, le=10_000_000)] | UnsetType = UNSET
    file: Annotated[str, Meta(description="Not supported yet")] | UnsetType = UNSET


class ModelTable(Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One model: what it reads, how it was trained, who is asked."""

    predictions: Name
    entities: Annotated[list[Name], Meta(min_length=1)]
    features: Annotated[list[Name], Meta(min_length=1)]
    reference: ReferenceTable | UnsetType = UNSET
    join: dict[str, Literal["as_of", "event_time", "latest"]] = {}
    label: LabelTable | UnsetType = UNSET
    fallback: FallbackTable = FallbackTable()
    settle: Duration = "1h"
    owner: str = ""
    runbook: str = ""
    anchor: str | UnsetType = UNSET
    selection: list[str] | UnsetType = UNSET
    tags: list[str] | UnsetType = UNSET


class ShareTable(Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """This share of the gaps is at most so long."""

    share: Annotated[float, Meta(gt=0, lt=1)]
    within: Duration


class GapTable(Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How far two events lie apart, at least and at most."""

    min: Duration | UnsetType = UNSET
    max: Duration | UnsetType = UNSET
    quantiles: Annotated[list[ShareTable], Meta(description="How the gaps are distributed, as far as known")] = []


class OrderRule(Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What must happen before what; for `tminus check`."""

    before: Name
    gap: GapTable | UnsetType = UNSET


class BudgetTable(Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Of whom the promise about false alarms is made."""

    scope: Annotated[str, Meta(examples=["model"])] = "model"


class Declared(Table, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A whole configuration."""

    run: RunTable = RunTable()
    source: dict[str, SourceTable] = {}
    feature: dict[str, FeatureTable] = {}
    model: dict[str, ModelTable] = {}
    order: dict[str, list[OrderRule]] = {}
    budget: BudgetTable = BudgetTable()
    kafka: Annotated[
        dict[str, bool | int | float | str], Meta(description="Client settings, passed on as they are")
    ] = {}


def json_schema() -> dict[str, Any]:
    """The published JSON Schema of `tminus.toml`.

    Examples
    --------
    >>> sorted(json_schema()["$defs"])[:3]
    ['BudgetTable', 'Declared', 'DelayTable']
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "tminus.toml",
        **msgspec.json.schema(Declared),
    }
