"""What does one table of the configuration declare?

Each function takes a table whose keys and types are right, notes what contradicts itself or is not built yet, and
gives the definition.
"""

from typing import TypeVar

from msgspec import UNSET, UnsetType

from features import declared, design
from features.definitions import Fallback, Feature, Label, Model, Source, TimeField
from features.problems import Code, Where, nearest

T = TypeVar("T")

#: A sliding window moves by a tenth of itself unless declared.
PANES = 10
AGGREGATES = ("count", "sum", "mean", "min", "max", "last")


def source(where: Where, name: str, table: declared.SourceTable) -> Source:
    """A source; its `kinds` follow from what reads it."""
    if table.format in declared.FORMATS_LATER:
        where.complain(Code.NOT_SUPPORTED_YET, "format", f"{table.format!r} is not supported yet, use json or debezium")
    elif table.format not in ("json", "debezium"):
        near = nearest(table.format, ("json", "debezium"))
        where.complain(Code.WRONG_VALUE, "format", f"expected 'json' or 'debezium', found {table.format!r}", near)
    entity = _or_none(table.entity) or {}
    if len(entity) > 1:
        where.complain(
            Code.NOT_SUPPORTED_YET, "entity", f"several entity types are not supported yet, found {len(entity)}"
        )
    kind, of = next(iter(entity.items()), ("", ""))
    return Source(
        name=name,
        topic=_or_none(table.topic) or name,
        format="debezium" if table.format == "debezium" else "json",
        entity_type=kind,
        entity_field=of,
        event_time=_time(table.event_time),
        ingest_time=_time(table.ingest_time),
        write_time=_time(table.write_time),
        visible_time=_time(table.visible_time),
        txid=_or_none(table.txid),
        lateness_us=where.us("lateness", table.lateness),
        resolution_us=where.us("resolution", table.resolution, above=0),
        clock_error_us=where.maybe_us("clock_error", table.clock_error),
        order=table.order,
        fields=dict(table.fields),
        owner=table.owner,
        tags=tuple(table.tags),
    )


def feature(where: Where, name: str, table: declared.FeatureTable) -> Feature:
    """A feature."""
    aggregate = _aggregate(where, table)
    window_us, panes, tumbling = _window(where, table)
    return Feature(
        name=name,
        source=table.source,
        column=_or_none(table.column),
        aggregate=aggregate,  # type: ignore[arg-type]
        window_us=window_us,
        panes=panes,
        tumbling=tumbling,
        where=_or_none(table.where),
        expr=_or_none(table.expr),
        mutable_by=tuple(table.mutable_by),
        default=None if isinstance(table.default, UnsetType) else table.default,
        served_from=table.served_from,
        serving_lag_us=where.maybe_us("serving_lag", table.serving_lag),
        latency_budget_us=where.maybe_us("latency_budget", table.latency_budget),
        hints=design.feature_hints(where, table),
    )


def _aggregate(where: Where, table: declared.FeatureTable) -> str | None:
    aggregate = _or_none(table.aggregate)
    has_input = table.column is not UNSET or table.expr is not UNSET
    if table.column is not UNSET and table.expr is not UNSET:
        where.complain(Code.CONTRADICTION, "expr", "expected either column or expr, found both")
    if aggregate is None:
        if table.window is not UNSET:
            where.complain(Code.MISSING_KEY, "aggregate", f"a window needs one of {', '.join(AGGREGATES)}")
        elif not has_input:
            message = "expected aggregate, or column for its newest value, found neither"
            where.complain(Code.MISSING_KEY, "column", message)
        return None
    if aggregate in declared.AGGREGATES_LATER:
        where.complain(
            Code.NOT_SUPPORTED_YET,
            "aggregate",
            f"{aggregate!r} is not supported yet, use one of {', '.join(AGGREGATES)}",
        )
    elif aggregate not in AGGREGATES:
        message = f"expected one of {', '.join(AGGREGATES)}, found {aggregate!r}"
        where.complain(Code.WRONG_VALUE, "aggregate", message, nearest(aggregate, AGGREGATES))
    elif aggregate != "count" and not has_input:
        where.complain(Code.MISSING_KEY, "column", f"{aggregate} needs a column or an expr, found neither")
    if table.window is UNSET:
        where.complain(Code.MISSING_KEY, "window", f"{aggregate} needs a window such as '5m', found none")
    return aggregate


def _window(where: Where, table: declared.FeatureTable) -> tuple[int, int, bool]:
    """Width in microseconds, panes, and whether it tumbles."""
    window, panes = table.window, _or_none(table.panes)
    if isinstance(window, UnsetType):
        if panes is not None:
            where.complain(Code.CONTRADICTION, "panes", "panes belong to a sliding window, found no window")
        return 0, 1, False
    if isinstance(window, declared.WindowTable):
        if not isinstance(window.session_gap, UnsetType):
            where.complain(Code.NOT_SUPPORTED_YET, "window.session_gap", "session windows are not supported yet")
        elif isinstance(window.tumbling, UnsetType):
            where.complain(Code.MISSING_KEY, "window.tumbling", "expected a duration, found none")
        if panes is not None:
            where.complain(Code.CONTRADICTION, "panes", "a tumbling window has one pane")
        return where.us("window.tumbling", window.tumbling, above=0), 1, True
    window_us = where.us("window", window, above=0)
    panes = PANES if panes is None else panes
    if window_us % panes:
        where.complain(
            Code.CONTRADICTION, "panes", f"{window!r} cannot be divided into {panes} panes of whole microseconds"
        )
    return window_us, panes, False


def model(where: Where, name: str, table: declared.ModelTable) -> Model:
    """A model."""
    if len(table.entities) > 1:
        where.complain(Code.NOT_SUPPORTED_YET, "entities", "models of several entity types are not supported yet")
    reference = _or_none(table.reference) or declared.ReferenceTable()
    if reference.file is not UNSET:
        where.complain(Code.NOT_SUPPORTED_YET, "reference.file", "a reference file is not supported yet, use rows")
    twice = sorted({f for f in table.features if table.features.count(f) > 1})
    if twice:
        where.complain(Code.CONTRADICTION, "features", f"expected each feature once, found {', '.join(twice)} again")
    fallback = table.fallback
    return Model(
        name=name,
        predictions=table.predictions,
        entity_type=table.entities[0],
        features=tuple(table.features),
        join=dict(table.join),
        label=_label(where, table),
        fallback=Fallback(
            default=None if isinstance(fallback.default, UnsetType) else fallback.default,
            on_silence=fallback.on_silence,
            lease_us=where.us("fallback.lease", fallback.lease, above=0),
            escalate_after_us=where.us("fallback.escalate_after", fallback.escalate_after, above=0),
        ),
        reference_rows=_or_none(reference.rows) or 2000,
        settle_us=where.us("settle", table.settle, above=0),
        owner=table.owner,
        runbook=table.runbook,
        hints=design.model_hints(table),
    )


def _label(where: Where, table: declared.ModelTable) -> Label | None:
    label = table.label
    if isinstance(label, UnsetType):
        return None
    return Label(
        source=label.source,
        column=label.positive.column,
        equals=label.positive.equals,
        horizon_us=where.us("label.horizon", label.horizon, above=0),
        hints=design.label_hints(where, label),
    )


def _time(found: str | declared.TimeTable | UnsetType) -> TimeField | None:
    if isinstance(found, UnsetType):
        return None
    if isinstance(found, str):
        return TimeField(field=found)
    return TimeField(field=found.field, unit=None if isinstance(found.unit, UnsetType) else found.unit)


def _or_none(value: T | UnsetType) -> T | None:
    return None if isinstance(value, UnsetType) else value
