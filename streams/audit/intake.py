"""From files to rows with one meaning: times in microseconds, entities as hashes, values as they were.

One pass over each file, batch by batch. What has to be known of a whole column (how coarse its times are, whether its
texts are numbers) is gathered on the way; the rows go to stores, apart by entity.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features import comparison
from features.comparison import Evidence
from features.stamps import ResolutionEvidence, StampError, Stamps, read_stamps
from features.times import FOREVER_US, NEVER_US
from streams.audit.request import AuditError, Request
from streams.audit.roles import LogRoles, TrainRoles
from streams.audit.store import Store
from streams.audit.tables import Table, batches

Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]

#: Codes of `op`; a row without one is a write like any other.
WRITE, SNAPSHOT, DELETE, TRUNCATE = 0, 1, 2, 3
_OPS = {"c": WRITE, "u": WRITE, "r": SNAPSHOT, "d": DELETE, "t": TRUNCATE, "m": WRITE}

#: Row of a long log that speaks of every feature (a deletion).
EVERY_FEATURE = -2
NO_FEATURE = -1

Told = Callable[[str, int], None]


@dataclass(slots=True)
class Label:
    """The label's place among the features: it is followed like one and never judged."""

    index: int
    name: str


@dataclass(slots=True)
class LogIntake:
    """What one pass over a LOG left behind."""

    roles: LogRoles
    store: Store
    resolution: ResolutionEvidence
    found: set[int] = field(default_factory=set)  # features (and label) of which it has rows
    truncates: list[pa.RecordBatch] = field(default_factory=list)
    rows: int = 0
    newest_us: int = NEVER_US


@dataclass(slots=True)
class Intake:
    """All files, read once. `names[i]` is feature i; the label, if a log may have it, is the last one."""

    request: Request
    names: tuple[str, ...]
    label: Label | None
    log_evidence: list[Evidence]
    train_evidence: list[Evidence]
    logs: list[LogIntake] = field(default_factory=list)
    units: dict[str, set[str]] = field(default_factory=dict)  # "file: column" -> units of its stamps
    first_read_us: int = FOREVER_US
    last_read_us: int = NEVER_US
    renamed: dict[int, int] = field(default_factory=dict)  # entity hash -> hash of the key it had first


def read_log(intake: Intake, roles: LogRoles, store: Store, bucket: Callable[[UInt64], Int64], told: Told) -> LogIntake:
    """Read one LOG into `store`.

    Raises
    ------
    AuditError
        A row contradicts its columns: which row, what was expected, what was found.
    """
    log = LogIntake(roles, store, ResolutionEvidence())
    for batch in batches(roles.table, roles.needed, rows=intake.request.batch_rows):
        rows = _LogBatch(intake, log, batch)
        entity = rows.entities()
        core = rows.core(entity)
        _keep_log(intake, log, core, entity, bucket)
        log.rows += batch.num_rows
        told(str(roles.table.path), log.rows)
    return log


def read_renames(intake: Intake, roles: LogRoles) -> None:
    """Note which key an entity had before, from the rows of a LOG that say so."""
    if "previous_entity" not in roles.optional:
        return
    for batch in batches(roles.table, [roles.entity, "previous_entity"], rows=intake.request.batch_rows):
        now, before = (comparison.entity_hashes(batch.column(i)) for i in range(2))
        for at in np.flatnonzero((before != 0) & (before != now)).tolist():
            intake.renamed[int(now[at])] = int(before[at])


def first_keys(intake: Intake, entity: UInt64) -> UInt64:
    """uint64[n]: entities under the key that they had first, so that their history is one."""
    if not intake.renamed:
        return entity
    known = np.array(list(intake.renamed), np.uint64)
    first = entity.copy()
    for at in np.flatnonzero(np.isin(entity, known)).tolist():
        seen = set()
        key = int(entity[at])
        while key in intake.renamed and key not in seen:  # keys that were handed round in a circle stay as they are
            seen.add(key)
            key = intake.renamed[key]
        first[at] = key
    return first


def _keep_log(
    intake: Intake, log: LogIntake, core: pa.RecordBatch, entity: UInt64, bucket: Callable[[UInt64], Int64]
) -> None:
    op = core.column("#op").to_numpy()
    is_everybody = (op == TRUNCATE) & (entity == 0)
    if is_everybody.any():
        log.truncates.append(core.filter(pa.array(is_everybody)))
        core, entity = core.filter(pa.array(~is_everybody)), entity[~is_everybody]
    log.store.put(core, bucket(entity))


@dataclass(slots=True)
class _LogBatch:
    intake: Intake
    log: LogIntake
    batch: pa.RecordBatch

    @property
    def _where(self) -> str:
        return str(self.log.roles.table.path)

    def column(self, name: str) -> pa.Array:
        return self.batch.column(self.batch.schema.get_field_index(name))

    def entities(self) -> UInt64:
        roles = self.log.roles
        entity = comparison.entity_hashes(self.column(roles.entity))
        if not entity.all():
            is_truncate = self._ops() == TRUNCATE
            odd = np.flatnonzero((entity == 0) & ~is_truncate)
            if odd.size:
                raise AuditError(f"{self._where}: row {self.log.rows + odd[0]}: expected an entity, found NULL")
        return first_keys(self.intake, entity)

    def _ops(self) -> npt.NDArray[np.int8]:
        if "op" not in self.log.roles.optional:
            return np.zeros(self.batch.num_rows, np.int8)
        column = _plain(self.column("op"))
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            column = column.cast(pa.utf8())
        codes = pc.index_in(column, pa.array(list(_OPS)))
        unknown = np.flatnonzero(pc.and_(pc.is_null(codes), pc.is_valid(column)).to_numpy(zero_copy_only=False))
        if unknown.size:
            raise AuditError(
                f"{self._where}: row {self.log.rows + unknown[0]}: expected op to be c, u, d, r or t, "
                f"found {column[int(unknown[0])].as_py()!r}"
            )
        table = np.array([*_OPS.values(), WRITE], np.int8)
        return np.asarray(table[pc.fill_null(codes, len(_OPS)).to_numpy(zero_copy_only=False)], np.int8)

    def stamps(self, name: str, *, bounded: bool = True) -> Stamps:
        return stamps_of(self.column(name), self.log.roles.table, name, self.log.rows, bounded=bounded)

    def core(self, entity: UInt64) -> pa.RecordBatch:
        roles, n = self.log.roles, self.batch.num_rows
        write = self.stamps(roles.write)
        self._note_units(roles.write, write)
        seq = self._integers("seq")
        if write.missing.any() and seq is None:
            row = self.log.rows + int(np.flatnonzero(write.missing)[0])
            raise AuditError(
                f"{self._where}: row {row}: expected a time in {roles.write!r} "
                "(or a seq that orders the rows), found NULL"
            )
        visible_us = self._visible(write)
        columns: dict[str, pa.Array] = {
            "#entity": pa.array(entity),
            "#row": pa.array(np.arange(self.log.rows, self.log.rows + n)),
            "#write": pa.array(write.us),
            "#visible": pa.array(visible_us),
            "#op": pa.array(self._ops()),
        }
        if roles.event is not None:
            event = self.stamps(roles.event, bounded=False)
            self._note_units(roles.event, event)
            if self.intake.request.order == "max_event_time" and event.missing.any():
                row = self.log.rows + int(np.flatnonzero(event.missing)[0])
                raise AuditError(f"{self._where}: row {row}: expected an event time in {roles.event!r}, found NULL")
            columns["#event"] = pa.array(event.us)
        if roles.stamp is not None:
            columns["#stamp"] = pa.array(self.stamps(roles.stamp, bounded=False).us)
        if "input_visible_from" in roles.optional:
            columns["#ivf"] = pa.array(self.stamps("input_visible_from").us)
        if seq is not None:
            columns["#seq"] = pa.array(seq)
        for name in ("txid", "version"):
            if name in roles.optional:
                columns[f"#{name}"] = pa.array(comparison.id_hashes(self.column(name)))
        columns |= self._long_values() if roles.is_long else self._wide_values()
        return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))

    def _note_units(self, name: str, stamps: Stamps) -> None:
        note_units(self.intake, self.log.roles.table, name, self.column(name), stamps)

    def _visible(self, write: Stamps) -> Int64:
        roles = self.log.roles
        known = ~write.missing
        if known.any():
            self.log.newest_us = max(self.log.newest_us, int(write.us[known].max()))
        if roles.visible is None:
            self.log.resolution.observe(write)
            if not roles.is_visible_assumed:
                return np.full(write.us.size, FOREVER_US, np.int64)
            return np.where(write.missing, FOREVER_US, write.us)
        visible = self.stamps(roles.visible)
        self._note_units(roles.visible, visible)
        self.log.resolution.observe(visible)
        if visible.missing.all():
            self.log.resolution.observe(write)
        return np.where(visible.missing, FOREVER_US, visible.us)

    def _integers(self, name: str) -> Int64 | None:
        if name not in self.log.roles.optional:
            return None
        return integers_of(self.column(name), self.log.roles.table, name, self.log.rows)

    def _wide_values(self) -> dict[str, pa.Array]:
        places = {name: i for i, name in enumerate(self.intake.names)}
        found = {}
        for name in self.log.roles.columns:
            index = places[name]
            column = self.column(name)
            self.intake.log_evidence[index].observe(column, untyped=self.log.roles.table.is_csv)
            self.log.found.add(index)
            found[str(index)] = column
        return found

    def _long_values(self) -> dict[str, pa.Array]:
        named = _plain(self.column("feature")).cast(pa.utf8())
        value = self.column("value")
        place = pc.index_in(named, pa.array(self.intake.names, pa.utf8()))
        feature = pc.fill_null(place, NO_FEATURE).to_numpy(zero_copy_only=False).astype(np.int32)
        is_for_all = pc.is_null(named).to_numpy(zero_copy_only=False)
        if is_for_all.any():
            odd = np.flatnonzero(is_for_all & (self._ops() < DELETE))
            if odd.size:
                raise AuditError(
                    f"{self._where}: row {self.log.rows + odd[0]}: expected the name of a feature, found NULL "
                    "(only a deletion may go without)"
                )
            feature[is_for_all] = EVERY_FEATURE
        for index in np.unique(feature[feature >= 0]).tolist():
            self.log.found.add(index)
            self.intake.log_evidence[index].observe(
                value.filter(pa.array(feature == index)),
                untyped=True,  # one column for values of every kind
            )
        return {"#feature": pa.array(feature), "value": value}


def read_train(
    intake: Intake,
    roles: TrainRoles,
    audited: Sequence[int],
    store: Store,
    bucket: Callable[[UInt64], Int64],
    told: Told,
) -> int:
    """Read TRAIN into `store`; the number of its rows.

    Raises
    ------
    AuditError
        A row without entity or prediction time, or with one that is no time.
    """
    request = intake.request
    names = [intake.names[i] for i in audited]
    extra = [request.label, request.label_time, request.prediction_seq]
    needed = [request.entity, request.prediction_time, *(n for n in extra if n is not None), *names]
    needed += [roles.versions[name] for name in names if name in roles.versions]
    done = 0
    for batch in batches(roles.table, list(dict.fromkeys(needed)), rows=request.batch_rows):
        entity = first_keys(intake, _train_entities(request, roles.table, batch, done))
        columns = _train_columns(intake, roles, audited, batch, done)
        all_columns = {"#entity": pa.array(entity), **columns}
        store.put(pa.RecordBatch.from_arrays(list(all_columns.values()), names=list(all_columns)), bucket(entity))
        done += batch.num_rows
        told(str(roles.table.path), done)
    if done == 0:
        raise AuditError(f"{roles.table.path}: expected at least one row, found none")
    return done


def _train_entities(request: Request, table: Table, batch: pa.RecordBatch, done: int) -> UInt64:
    entity = comparison.entity_hashes(batch.column(batch.schema.get_field_index(request.entity)))
    if not entity.all():
        row = done + int(np.flatnonzero(entity == 0)[0])
        raise AuditError(f"{table.path}: row {row}: expected an entity in {request.entity!r}, found NULL")
    return entity


def _train_columns(
    intake: Intake, roles: TrainRoles, audited: Sequence[int], batch: pa.RecordBatch, done: int
) -> dict[str, pa.Array]:
    request = intake.request

    def column(name: str) -> pa.Array:
        return batch.column(batch.schema.get_field_index(name))

    read = stamps_of(column(request.prediction_time), roles.table, request.prediction_time, done)
    note_units(intake, roles.table, request.prediction_time, column(request.prediction_time), read)
    if read.missing.any():
        row = done + int(np.flatnonzero(read.missing)[0])
        raise AuditError(f"{roles.table.path}: row {row}: expected a time in {request.prediction_time!r}, found NULL")
    if read.us.size:
        intake.first_read_us = min(intake.first_read_us, int(read.us.min()))
        intake.last_read_us = max(intake.last_read_us, int(read.us.max()))
    columns: dict[str, pa.Array] = {
        "#row": pa.array(np.arange(done, done + batch.num_rows)),
        "#read": pa.array(read.us),
        "#name": column(request.entity),
    }
    if request.prediction_seq is not None:
        position = integers_of(column(request.prediction_seq), roles.table, request.prediction_seq, done)
        columns["#position"] = pa.array(position)
    if request.label is not None:
        columns["#label"] = column(request.label)
    if request.label_time is not None:
        stamps = stamps_of(column(request.label_time), roles.table, request.label_time, done)
        columns["#label_time"] = pa.array(stamps.us)
    for index in audited:
        name = intake.names[index]
        columns[str(index)] = column(name)
        intake.train_evidence[index].observe(column(name), untyped=roles.table.is_csv)
        if name in roles.versions:
            columns[f"#version-{index}"] = pa.array(comparison.id_hashes(column(roles.versions[name])))
    return columns


def note_units(intake: Intake, table: Table, name: str, column: pa.Array, stamps: Stamps) -> None:
    """Remember in which units a column counts; Arrow's own times say it themselves and cannot be mistaken."""
    if not pa.types.is_temporal(column.type):
        intake.units.setdefault(f"{table.path}: {name}", set()).update(stamps.units)


def stamps_of(column: pa.Array, table: Table, name: str, first_row: int, *, bounded: bool = True) -> Stamps:
    """`features.stamps.read_stamps` of a batch that begins at `first_row`, its complaints with file, column and row."""
    try:
        return read_stamps(column, bounded=bounded)
    except StampError as error:
        row = first_row + error.row
        raise AuditError(
            f"{table.path}: row {row}: column {name!r}: expected {error.expected}, found {error.found}"
        ) from None


def integers_of(column: pa.Array, table: Table, name: str, first_row: int) -> Int64:
    """int64[n] of a column of places in a sequence.

    Raises
    ------
    AuditError
        A row is NULL or no integer.
    """
    column = _plain(column)
    if column.null_count:
        row = first_row + int(np.flatnonzero(pc.is_null(column).to_numpy(zero_copy_only=False))[0])
        raise AuditError(f"{table.path}: row {row}: expected an integer in {name!r}, found NULL")
    try:
        return np.asarray(column.cast(pa.int64()).to_numpy(zero_copy_only=False), np.int64)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        row = next((i for i, value in enumerate(column.to_pylist()) if not _is_integer(value)), 0)
        raise AuditError(
            f"{table.path}: row {first_row + row}: expected an integer in {name!r}, found {column[row].as_py()!r}"
        ) from None


def _is_integer(value: object) -> bool:
    try:
        return int(value) == float(value)  # type: ignore[call-overload, arg-type, no-any-return]
    except (TypeError, ValueError, OverflowError):
        return False


def _plain(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
