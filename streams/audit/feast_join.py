"""What does Feast's default join return for these moments, and when was it written?

The point-in-time join of Feast's file store: of an entity's rows the newest by event time that is not after the moment
and, with a time to live, not older than that; of rows with one event time the newest by its created timestamp. That a
row was *created* after the moment does not keep it from being returned, which is what an audit of it shows.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from streams.audit.feast import Repository, View
from streams.audit.feast_files import FeastError
from streams.audit.feast_rows import NONE, Moments, Source, asked, times

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

#: Columns of the tables of a `ViewTable`, beside its features.
ENTITY, PREDICTION_TIME = "__entity", "__prediction_time"
EVENT_TIME, WRITE_TIME, VISIBLE_TIME = "__event_time", "__write_time", "__visible_time"

_NOTHING = -1  # no row


@dataclass(frozen=True, slots=True)
class ViewTable:
    """What the join returns for one view, and the log to judge it by.

    Parameters
    ----------
    features
        Columns of `train` and `log` that are features.
    train
        `ENTITY` (text), `PREDICTION_TIME`, the features, and the columns to carry. Times are timestamps, UTC.
    log
        The rows of the source in the order in which the join prefers them, later is better: `ENTITY`, `EVENT_TIME`,
        `WRITE_TIME` and the features. A row counts as written once it has been created *and* its event time has come:
        the join cannot return it before. Where no created timestamp is known, it may have been written at any time
        after its event; then the log has a column `VISIBLE_TIME`, NULL in such rows, so that nothing passes for want
        of evidence. The winning order is by event time (``max_event_time``).
    rows
        int64[n]: which row of the entity table each row of `train` is.
    dropped
        Entity rows that the join does not return although the entity has rows in the source.
    duplicates
        Entity rows that the join does not return because another has the same keys and moment.
    tied
        Rows of `train` that come from an event time with several rows of the entity. The newest by created timestamp
        is taken, as Feast documents; its file store sorts twice by quicksort and may return any of them (feast#3360).
    has_write_time
        Whether the view has a created timestamp; without one nothing about it can be verified.
    notes
        What a reader of the result must know, one sentence each.
    """

    view: View
    features: tuple[str, ...]
    train: pa.Table
    log: pa.Table
    rows: Int64
    dropped: int
    duplicates: int
    tied: int
    has_write_time: bool
    notes: tuple[str, ...]


def joined(
    repository: Repository,
    entity_rows: pa.Table | None,
    *,
    moment: str | None = None,
    views: Collection[str] = (),
    carry: Sequence[str] = (),
) -> Iterator[ViewTable]:
    """Per view, what Feast's default join returns.

    Parameters
    ----------
    entity_rows
        Join keys and moments, as one gives them to ``get_historical_features``; None: the moments of the sources
        themselves, which the notes say.
    moment
        The column of the moments; None: ``event_timestamp``, else the only timestamp column.
    views
        Only these; empty: all whose join keys `entity_rows` has.
    carry
        Columns of `entity_rows` to take over, such as the label.

    Raises
    ------
    FeastError
        A file, or the entity table, cannot be read as what it should be; no view can be joined.
    """
    chosen = [repository.view(name) for name in views] or list(repository.views)
    if entity_rows is not None and not views:
        without = left_out(repository, entity_rows.column_names)
        chosen = [view for view in chosen if view.name not in without]
        if not chosen:
            keys = sorted({", ".join(view.join_keys) for view in repository.views})
            raise FeastError(
                f"expected an entity table with the join keys of a view ({'; '.join(keys)}), "
                f"found the columns {', '.join(entity_rows.column_names)}"
            )
    names = [feature for view in chosen for feature in view.features]
    own: dict[tuple[str, ...], Moments] = {}
    for view in chosen:
        source = Source(view)
        if entity_rows is not None:
            at = asked(entity_rows, view, moment)
        else:
            at = own[view.join_keys] = own.get(view.join_keys) or _own_moments(repository, view.join_keys)
        # Feast refuses equal names of two views unless each carries its view's name.
        shown = {f: f"{view.name}__{f}" if names.count(f) > 1 else f for f in view.features}
        yield _join(repository, view, source, at, shown, entity_rows, carry)


def left_out(repository: Repository, columns: Collection[str] | None) -> dict[str, str]:
    """What `joined` passes over, and why: what the repository could not read, and views whose keys are not asked for.

    Parameters
    ----------
    columns
        Of the entity table; None: there is none.
    """
    lost = dict(repository.unread)
    for view in repository.views if columns is not None else ():
        missing = [key for key in view.join_keys if key not in (columns or ())]
        if missing:
            lost[view.name] = f"the entity table has no column {', '.join(missing)}"
    return lost


def _join(
    repository: Repository,
    view: View,
    source: Source,
    at: Moments,
    shown: dict[str, str],
    entity_rows: pa.Table | None,
    carry: Sequence[str],
) -> ViewTable:
    code_of_source, code_of_moment = _codes(source.entity, at.entity)
    if repository.store == "duckdb":  # SQL: NULL keys and times equal nothing
        code_of_source[~source.is_usable] = _NOTHING
    order = np.lexsort((source.created, source.event, code_of_source))
    code, event = code_of_source[order], source.event[order]
    place, has_rows = newest(code, event, code_of_moment, at.ns, view.ttl_us * 1_000)
    is_empty = has_rows & (place == _NOTHING)
    is_first, is_dropped = np.ones(at.ns.size, np.bool_), np.zeros(at.ns.size, np.bool_)
    if repository.store == "dask":
        is_first = _first_of(code_of_moment, at.ns)
        is_dropped = is_first & is_empty
    rows = np.flatnonzero(is_first & ~is_dropped)
    place = place[rows]
    is_tied = _is_tied(code, event, place) if order.size else np.zeros(rows.size, np.bool_)
    take = pa.array(order[place] if order.size else place, mask=place == _NOTHING)
    train = {ENTITY: at.entity.take(pa.array(rows)), PREDICTION_TIME: times(at.ns[rows])}
    train |= {shown[f]: source.table.column(f).take(take) for f in view.features}
    if entity_rows is not None:
        train |= {name: entity_rows.column(name).take(pa.array(rows)) for name in carry if name not in train}
    log, notes = _log(view, source, order, shown)
    counts = _Counts(int(is_dropped.sum()), int((~is_first).sum()), int(is_tied.sum()))
    if repository.store == "duckdb" and is_empty.any():
        notes.append(
            f"{view.name}: {int(is_empty.sum()):,} entity rows come back empty: the entity has rows, but none in the "
            "window before that moment; such a cell cannot be verified"
        )
    notes = [*([f"{view.name}: {at.note}"] if at.note else []), *notes, *counts.notes(view.name)]
    has_write_time = view.created_column is not None
    names = tuple(shown.values())
    return ViewTable(
        view,
        names,
        pa.table(train),
        log,
        rows,
        counts.dropped,
        counts.duplicates,
        counts.tied,
        has_write_time,
        tuple(notes),
    )


def _is_tied(code: Int64, event: Int64, place: Int64) -> Bool:
    """bool[n]: whether the row before has the same entity and event time; the chosen is the last of its like."""
    before = place - 1
    tied: Bool = (place > 0) & (code[before] == code[place]) & (event[before] == event[place])
    return tied


@dataclass(frozen=True, slots=True)
class _Counts:
    dropped: int
    duplicates: int
    tied: int

    def notes(self, view: str) -> Iterator[str]:
        if self.dropped:
            yield (
                f"{view}: the join leaves out {self.dropped:,} entity rows: the entity has rows, but none in the "
                "window before that moment"
            )
        if self.duplicates:
            yield f"{view}: the join keeps one of equal (entity, moment) and leaves out {self.duplicates:,} entity rows"
        if self.tied:
            yield (
                f"{view}: {self.tied:,} returned rows had to be chosen among several of one event time; the newest by "
                "created timestamp is taken, and Feast's file store may return any of them (feast#3360)"
            )


def newest(code: Int64, event: Int64, code_asked: Int64, at: Int64, ttl: int) -> tuple[Int64, Bool]:
    """For each moment the last row of its entity with ``at - ttl <= event <= at``, and whether it has any row.

    Rows are sorted by (code, event), the better one last; times in any one unit, the least int64 is no time. A row
    without event time is what remains when no other fits, as in Feast. A `ttl` of 0 is for ever.

    Returns
    -------
    rows
        int64[n]: index of the row, -1 where there is none.
    has_rows
        bool[n].

    Examples
    --------
    >>> code, event = np.array([1, 1, 2]), np.array([10, 20, 5])
    >>> [part.tolist() for part in newest(code, event, np.array([1, 1, 2, 3]), np.array([20, 9, 15, 15]), 10)]
    [[1, -1, 2, -1], [True, True, True, False]]
    """
    if code.size == 0:
        return np.full(at.size, _NOTHING), np.zeros(at.size, np.bool_)
    first = np.searchsorted(code, code_asked, "left")
    has_rows = np.searchsorted(code, code_asked, "right") > first
    last = _last_before(code, event, code_asked, at)
    row = np.where(has_rows & (last >= first), last, _NOTHING)
    if ttl:
        stale = (row != _NOTHING) & (event[row] != NONE) & (event[row] < at - ttl)
        undated = _last_before(code, event, code_asked, np.full(at.size, NONE))
        row = np.where(stale, np.where(undated >= first, undated, _NOTHING), row)
    return row, has_rows


def _last_before(code: Int64, event: Int64, code_asked: Int64, at: Int64) -> Int64:
    """Index of the last row with (code, event) not above (code_asked, at); -1 if there is none."""
    side = np.concatenate([np.zeros(code.size, np.int8), np.ones(at.size, np.int8)])
    order = np.lexsort((side, np.concatenate([event, at]), np.concatenate([code, code_asked])))
    rows_so_far = np.cumsum(side[order] == 0) - 1
    last = np.empty(at.size, np.int64)
    asked = side[order] == 1
    last[order[asked] - code.size] = rows_so_far[asked]
    return last


def _log(view: View, source: Source, order: Int64, shown: dict[str, str]) -> tuple[pa.Table, list[str]]:
    notes = []
    is_usable = source.is_usable
    if not is_usable.all():
        notes.append(
            f"{view.name}: {int((~is_usable).sum()):,} rows of {view.path.name} have no join key or event time "
            "and are no evidence"
        )
        order = order[is_usable[order]]
    event, created = source.event[order], source.created[order]
    undated = created == NONE
    if view.created_column is None:
        notes.append(
            f"{view.name}: no created_timestamp_column, so nothing says when its rows were written: "
            "its cells cannot be verified"
        )
    elif undated.any():
        notes.append(
            f"{view.name}: {int(undated.sum()):,} rows have no created timestamp: "
            "nothing says when they were written, for the others visible = created is assumed"
        )
    ahead = ~undated & (event > created)
    if ahead.any():
        notes.append(
            f"{view.name}: {int(ahead.sum()):,} rows were created before their event time; "
            "they count from their event time on, as in the join"
        )
    write = times(np.maximum(event, created), source.unit)
    columns = {ENTITY: source.entity.take(pa.array(order)), EVENT_TIME: times(event), WRITE_TIME: write}
    if undated.any():
        columns[VISIBLE_TIME] = pc.if_else(pa.array(undated), pa.scalar(None, write.type), write)
    columns |= {shown[f]: source.table.column(f).take(pa.array(order)) for f in view.features}
    return pa.table(columns), notes


def _own_moments(repository: Repository, keys: tuple[str, ...]) -> Moments:
    """Distinct (entity, event time) of every source that has these join keys."""
    texts, stamps, names = [], [], []
    for other in repository.views:
        if set(keys) <= set(other.join_keys):
            source = Source(replace(other, join_keys=keys, created_column=None, features=()))
            texts.append(source.entity.filter(pa.array(source.is_usable)))
            stamps.append(source.event[source.is_usable])
            names.append(other.path.name)
    entity, ns = pa.concat_arrays(texts), np.concatenate(stamps)
    codes, _ = _codes(entity, entity.slice(0, 0))
    rows = np.flatnonzero(_first_of(codes, ns))
    note = (
        f"no entity table was given, so the moments are the {rows.size:,} (entity, event time) of "
        f"{', '.join(dict.fromkeys(names))}: what happened then had often not been written yet; "
        "give the table that you train on"
    )
    return Moments(entity.take(pa.array(rows)), ns[rows], note)


def _codes(*texts: pa.Array) -> tuple[Int64, Int64]:
    """The same number for the same text in both arrays; a NULL is an entity of its own, as in the join."""
    ends = len(texts[0])
    coded = pa.concat_arrays(texts).dictionary_encode(null_encoding="encode")
    numbers = coded.indices.to_numpy().astype(np.int64)
    return numbers[:ends], numbers[ends:]


def _first_of(code: Int64, at: Int64) -> Bool:
    """bool[n]: the first row of each (code, at)."""
    order = np.lexsort((at, code))
    is_new = np.ones(at.size, np.bool_)
    is_new[1:] = (np.diff(code[order]) != 0) | (np.diff(at[order]) != 0)
    first = np.empty(at.size, np.bool_)
    first[order] = is_new
    return first
