"""Which column of which file is what? Read from the options and the headers, before any row is read."""

from collections.abc import Iterable
from dataclasses import dataclass

from features.problems import nearest
from streams.audit.request import NO_COLUMN, AuditError, Request
from streams.audit.tables import Table, column_error

#: Columns of a LOG that have a meaning by name; none of them is a feature.
OPTIONAL = ("seq", "txid", "op", "version", "input_visible_from", "previous_entity")
VERSION_SUFFIX = "__version"


@dataclass(frozen=True, slots=True)
class LogRoles:
    """The columns of one LOG.

    Parameters
    ----------
    visible
        Upper bound of visibility; None: there is no such column.
    is_visible_assumed
        There is no such column, so the write time stands for it; otherwise None means "unknown".
    columns
        Wide logs: feature columns that TRAIN has too. Long logs: empty, see `is_long`.
    """

    table: Table
    entity: str
    write: str
    visible: str | None
    is_visible_assumed: bool
    event: str | None
    stamp: str | None
    optional: frozenset[str]
    is_long: bool
    columns: tuple[str, ...]
    has_label: bool

    @property
    def needed(self) -> list[str]:
        """Every column that has to be read, each once."""
        values = ["feature", "value"] if self.is_long else list(self.columns)
        times = [name for name in (self.write, self.visible, self.event, self.stamp) if name is not None]
        wanted = [self.entity, *times, *(name for name in OPTIONAL if name in self.optional), *values]
        return list(dict.fromkeys(wanted))


@dataclass(frozen=True, slots=True)
class TrainRoles:
    """The columns of TRAIN.

    Parameters
    ----------
    candidates
        What may be features.
    versions
        Feature to the column that names its version.
    not_audited
        Candidates that have no cells, and why.
    """

    table: Table
    candidates: tuple[str, ...]
    versions: dict[str, str]
    not_audited: dict[str, str]


def train_roles(request: Request, table: Table) -> TrainRoles:
    """What TRAIN's columns are.

    Raises
    ------
    AuditError, TableError
        A named column is not there.
    """
    names = table.schema.names
    wanted = [
        (request.entity, "entity column", "--entity"),
        (request.prediction_time, "prediction time column", "--prediction-time"),
        (request.label, "label column", "--label"),
        (request.label_time, "label time column", "--label-time"),
        (request.prediction_seq, "column of read positions", "--prediction-seq"),
    ]
    for name, what, option in wanted:
        if name is not None and name not in names:
            raise column_error(table, name, what, option)
    versions = {
        name.removesuffix(VERSION_SUFFIX): name
        for name in names
        if name.endswith(VERSION_SUFFIX) and name.removesuffix(VERSION_SUFFIX) in names
    }
    taken = {name for name, _, _ in wanted} | set(versions.values())
    free = [name for name in names if name not in taken]
    _check_named(request, table, free)
    not_audited = {}
    if request.features:
        not_audited = {name: "not among --feature" for name in free if name not in request.features}
        free = [name for name in free if name in request.features]
    return TrainRoles(table, tuple(free), versions, not_audited)


def _check_named(request: Request, table: Table, free: list[str]) -> None:
    named = [(name, "--feature") for name in request.features]
    named += [(name, "--tolerance") for name in request.tolerance]
    named += [(name, "--forward-dated") for name in sorted(request.forward_dated)]
    for name, option in named:
        if name not in free:
            raise column_error(table, name, "feature column", option)


def log_roles(request: Request, table: Table, train: TrainRoles) -> LogRoles:
    """What the columns of one LOG are.

    Raises
    ------
    TableError
        A column that is needed is not there.
    """
    names = table.schema.names
    write = _required(table, request.write_time, "write time column", "--write-time")
    entity = _required(table, request.entity, "entity column", "--entity")
    event = request.event_time
    if event is not None:
        _required(table, event, "event time column", "--event-time")
    elif "event_time" in names:
        event = "event_time"
    if request.order == "max_event_time" and event is None:
        raise column_error(table, "event_time", "event time column that --order max_event_time needs", "--event-time")
    visible = request.visible_time
    if visible is None:
        visible = "visible_time" if "visible_time" in names else None
        is_assumed = visible is None
    else:
        visible = None if visible == NO_COLUMN else _required(table, visible, "visible time column", "--visible-time")
        is_assumed = False
    stamp = request.stamp if request.stamp in names else ("updated_at" if "updated_at" in names else None)
    # Where no column of TRAIN names versions, a column of that name is a feature like any other.
    optional = {n for n in OPTIONAL if n in names and (n != "version" or train.versions or n not in train.candidates)}
    reserved = {entity, write, visible, event, request.stamp} | optional
    if request.prediction_seq is not None and "seq" not in names:
        raise column_error(table, "seq", "sequence column that --prediction-seq refers to", "--prediction-seq")
    is_long = "feature" in names and "value" in names
    shared = () if is_long else tuple(n for n in train.candidates if n in names and n not in reserved)
    has_label = not is_long and request.label is not None and request.label in names
    return LogRoles(
        table=table,
        entity=entity,
        write=write,
        visible=visible,
        is_visible_assumed=is_assumed,
        event=event,
        stamp=stamp if stamp not in (write, visible, event) and stamp not in shared else None,
        optional=frozenset(optional),
        is_long=is_long,
        columns=(*shared, request.label) if has_label and request.label is not None else shared,
        has_label=has_label,
    )


def _required(table: Table, name: str, what: str, option: str) -> str:
    if name not in table.schema.names:
        raise column_error(table, name, what, option)
    return name


def check_shared(train: TrainRoles, found: Iterable[str], logs: list[LogRoles]) -> None:
    """At least one column of TRAIN has a history, else there is nothing to judge.

    Raises
    ------
    AuditError
        There is none; names what both sides have.
    """
    found = set(found)
    if found:
        return
    inside = sorted({name for log in logs for name in log.table.schema.names})
    near = next((f"; is {c!r} what the log calls {n!r}?" for c in train.candidates if (n := nearest(c, inside))), "")
    raise AuditError(
        f"expected a column of {train.table.path} that is also in a LOG, found none: "
        f"TRAIN has {_some(train.candidates)}; the logs have {_some(inside)}{near}"
    )


def _some(names: Iterable[str], most: int = 8) -> str:
    listed = list(names)
    return (", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")) or "none"
