"""The rows of one bucket, sorted into histories: per entity, in winning order, each said once.

Features that stand in the same files share their rows, hence one sort and one set of bounds; a feature of a long log
has rows of its own. A deletion is a version in which every value is NULL; a truncation is one for every entity.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features import comparison, numerals, recast
from features.kinds import Kind
from features.times import FOREVER_US, NEVER_US
from monitors.audit.judging import History
from monitors.kernels import grouping
from monitors.leakage import bounds, group_rows
from streams.audit.intake import DELETE, EVERY_FEATURE, SNAPSHOT, Intake, LogIntake
from streams.audit.request import AuditError

Int64 = npt.NDArray[np.int64]
Int8 = npt.NDArray[np.int8]
UInt64 = npt.NDArray[np.uint64]
Bool = npt.NDArray[np.bool_]

_OPTIONAL = ("#event", "#ivf", "#seq", "#txid", "#version", "#stamp")
_MISSING: dict[str, int] = {
    "#event": NEVER_US,
    "#ivf": NEVER_US,
    "#seq": 0,
    "#txid": 0,
    "#version": 0,
    "#stamp": NEVER_US,
}


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows of one LOG in one bucket: core columns as arrays, values as Arrow; `at`: rows of the log's bucket table."""

    log: LogIntake
    table: pa.Table
    at: Int64


@dataclass(frozen=True, slots=True)
class Rows:
    """Sorted rows of some features: group g is entity g of the bucket, -1 in no group.

    Parameters
    ----------
    features
        Indices of the features that stand in these rows.
    order
        int64[n]: where each sorted row stands in the concatenated pieces.
    core
        Core columns, sorted: ``#row``, ``#write``, ``#visible``, ``#op`` and the optional ones.
    """

    features: tuple[int, ...]
    pieces: tuple[Piece, ...]
    start: Int64
    order: Int64
    core: dict[str, npt.NDArray[np.int64]]
    is_visible_assumed: Bool
    file: npt.NDArray[np.int16]

    def pick(self, feature: int, at: Int64, wanted: pa.DataType | None, kind: Kind) -> pa.Array:
        """Values of one feature at some sorted rows, in type `wanted` (None: as the logs have them); -1 is NULL."""
        is_known = at >= 0
        if self.order.size:
            is_known &= self.core["#op"][np.maximum(at, 0)] < DELETE
        places = np.where(is_known, self.order[np.maximum(at, 0)] if self.order.size else 0, 0)
        columns = [_column(piece, feature) for piece in self.pieces]
        index = pa.array(places, mask=~is_known)
        if len({column.type for column in columns}) == 1:
            joined = pa.concat_arrays(columns).take(index)
            return joined if wanted is None else recast.cast_like(joined, wanted, kind)
        return pa.concat_arrays([recast.cast_like(c, wanted or pa.utf8(), kind) for c in columns]).take(index)

    def hashes(self, feature: int, kind: Kind) -> UInt64:
        """uint64[n]: value hashes of one feature, sorted; 0 where the row is a deletion."""
        found = np.concatenate([comparison.hashes(_column(piece, feature), kind) for piece in self.pieces])
        found = found[self.order]
        found[self.core["#op"] >= DELETE] = 0
        return found

    def numbers(self, feature: int) -> npt.NDArray[np.float64]:
        """float64[n]: values of one feature as numbers, sorted; NaN for NULL and deletions."""
        found = np.concatenate([numerals.numbers(_column(piece, feature)) for piece in self.pieces])[self.order]
        found[self.core["#op"] >= DELETE] = np.nan
        return found

    def without(self, keep: Bool) -> "Rows":
        """Only the sorted rows that are kept."""
        return Rows(
            self.features,
            self.pieces,
            grouping.squeeze(self.start, keep),
            self.order[keep],
            {name: column[keep] for name, column in self.core.items()},
            self.is_visible_assumed[keep],
            self.file[keep],
        )

    def history(self, clock_error_us: int, resolution_us: int) -> History:
        """The histories with their bounds of visibility."""
        write, visible = self.core["#write"], self.core["#visible"]
        write = np.where(self.core["#op"] == SNAPSHOT, NEVER_US, write)
        # Coarse stamps of visibility may lie before finer ones of the write: within their resolution they agree.
        is_coarse = (visible < write) & (visible > write - resolution_us)
        inputs = self.core.get("#ivf")
        a_us, b_us = bounds(
            write,
            np.where(is_coarse, write, visible),
            clock_error_us=clock_error_us,
            resolution_us=resolution_us,
            input_visible_from_us=inputs,
        )
        by = np.where(is_coarse, visible, 0) if inputs is None else np.where(is_coarse, np.maximum(visible, inputs), 0)
        b_us = np.where(is_coarse, by + resolution_us + clock_error_us, b_us)
        if "#unordered" in self.core:
            b_us = np.where(self.core["#unordered"] != 0, FOREVER_US, b_us)
        assumed = self.is_visible_assumed
        return History(
            self.start,
            a_us,
            b_us,
            clock_error_us,
            resolution_us,
            assumed=assumed if assumed.any() else None,
            seq=self.core.get("#seq"),
            ids=self.core["#version"].view(np.uint64) if "#version" in self.core else None,
        )


def sorted_rows(
    intake: Intake,
    pieces: Sequence[Piece],
    features: tuple[int, ...],
    groups: int,
    group_of: "Grouping",
    kinds: dict[int, Kind],
) -> Rows:
    """Histories of some features from their pieces.

    Raises
    ------
    AuditError
        Two rows have the same place in the sequence and say different things, or only some logs have a sequence.
    """
    core = _core(intake, pieces)
    group = group_of.numbers(core.pop("#entity").view(np.uint64))
    order, start = group_rows(
        group,
        groups,
        core["#write"],
        seq=core.get("#seq"),
        event_time_us=core.get("#event"),
        order=intake.request.order,
    )
    files = np.repeat(np.arange(len(pieces), dtype=np.int16), [p.at.size for p in pieces])
    assumed = np.repeat([p.log.roles.is_visible_assumed for p in pieces], [p.at.size for p in pieces])
    # Rows that are in no group fall out here; `values` and `hashes` go through `order` and see the rest only.
    rows = Rows(
        features,
        tuple(pieces),
        start,
        order,
        {name: column[order] for name, column in core.items()},
        assumed[order].astype(np.bool_),
        files[order],
    )
    return _once(intake, rows, kinds)


class Grouping:
    """The entities of TRAIN in one bucket, numbered."""

    def __init__(self, entities: UInt64) -> None:
        self.train, self.distinct, self._table = grouping.number_keys(entities)

    def __len__(self) -> int:
        return self.distinct.size

    def numbers(self, entities: UInt64) -> Int64:
        """int64[n]: the number of each entity, -1 where TRAIN has none of it."""
        found: Int64 = grouping.look_up(entities, self.distinct, self._table)
        return found


def pieces_of(
    logs: Sequence[LogIntake], tables: dict[int, pa.Table], audited: Sequence[int]
) -> Iterator[tuple[tuple[int, ...], list[Piece]]]:
    """(features, pieces) such that every audited feature comes once: those of the same wide files together."""
    shared: dict[tuple[int, ...], list[int]] = {}
    for index in audited:
        holders = tuple(k for k, log in enumerate(logs) if index in log.found)
        is_wide = not any(logs[k].roles.is_long for k in holders)
        shared.setdefault(holders if is_wide else (*holders, -1 - index), []).append(index)
    for holders, indices in shared.items():
        pieces = []
        for k in holders:
            if k < 0:
                continue
            table = tables[k]
            if logs[k].roles.is_long:
                feature = table.column("#feature").to_numpy()
                at = np.flatnonzero((feature == indices[0]) | (feature == EVERY_FEATURE))
                table = table.take(pa.array(at))
            else:
                at = np.arange(table.num_rows)
            pieces.append(Piece(logs[k], table, at))
        yield tuple(indices), pieces


def _column(piece: Piece, feature: int) -> pa.Array:
    name = "value" if piece.log.roles.is_long else str(feature)
    column = piece.table.column(name)
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def _core(intake: Intake, pieces: Sequence[Piece]) -> dict[str, npt.NDArray[np.int64]]:
    """Core columns of all pieces, one after the other; an optional one that only some logs have is filled."""
    names = ["#entity", "#row", "#write", "#visible", "#op"]
    has = {name: [name in piece.table.column_names for piece in pieces] for name in _OPTIONAL}
    if any(has["#seq"]) and not all(has["#seq"]):
        with_seq, without = (next(p for p, h in zip(pieces, has["#seq"], strict=True) if h is x) for x in (True, False))
        raise AuditError(
            f"{without.log.roles.table.path}: expected a column 'seq', because {with_seq.log.roles.table.path} orders "
            "the same features by one; found none"
        )
    names += [name for name in _OPTIONAL if any(has[name])]
    core = {}
    for name in names:
        parts = [
            piece.table.column(name).to_numpy() if name in piece.table.column_names
            else np.full(piece.table.num_rows, _MISSING[name], np.int64)
            for piece in pieces
        ]  # fmt: skip
        joined = np.concatenate(parts)
        core[name] = joined.view(np.int64) if joined.dtype == np.uint64 else joined
    return core


def _once(intake: Intake, rows: Rows, kinds: dict[int, Kind]) -> Rows:
    """Rows without those that only say again what an earlier one said; a sequence may not contradict itself."""
    has_seq = "#seq" in rows.core
    is_by_event = intake.request.order == "max_event_time"
    place = by_sequence(rows) if has_seq and is_by_event else np.arange(rows.order.size)
    key = rows.core["#event"] if is_by_event else rows.core["#seq" if has_seq else "#write"]
    has_ties = grouping.has_ties(rows.start, key)
    if not has_ties and not (has_seq and grouping.has_ties(rows.start, rows.core["#seq"][place])):
        return rows
    content = np.zeros(rows.order.size, np.uint64)
    for feature in rows.features:
        grouping.mix_columns(content, rows.hashes(feature, kinds[feature]))
    grouping.mix_columns(content, rows.core["#op"].astype(np.uint64))
    if has_seq:
        odd = grouping.contradiction(rows.start, rows.core["#seq"][place], content[place])
        if odd >= 0:
            raise AuditError(
                f"{_place(rows, place[odd])}: expected one content per entity and place in the sequence, found two: "
                f"seq {rows.core['#seq'][place[odd]]} stands in {_place(rows, place[odd - 1])} too, with other values"
            )
    group = np.repeat(np.arange(rows.start.size - 1), np.diff(rows.start)).astype(np.uint64)
    grouping.mix_columns(content, group)
    for name, column in rows.core.items():
        if name not in ("#row", "#op"):
            grouping.mix_columns(content, column.astype(np.int64).view(np.uint64))
    keep = grouping.first_of_each(content)
    if keep.all():
        return rows
    if not has_seq:
        keys = ("#event", "#write") if is_by_event else ("#write",)
        rows.core["#unordered"] = _unordered(rows, keys, content, keep)
    return rows.without(keep)


def by_sequence(rows: Rows) -> Int64:
    """int64[n]: the rows of each group in the order of their sequence."""
    group = np.repeat(np.arange(rows.start.size - 1), np.diff(rows.start))
    return np.lexsort((rows.core["#seq"], group)).astype(np.int64)


def _unordered(rows: Rows, keys: tuple[str, ...], content: UInt64, keep: Bool) -> Int64:
    """int64[n]: 1 where the order of rows with one stamp is not in the file; their last rows are then kept.

    1, 2, 1 within one stamp may be three writes, or two and the first one told again. Which of the two values stood
    last is unknown, so none of the later rows has an upper bound.
    """
    last = np.ones(content.size, np.bool_)
    last[:-1] = np.any([rows.core[name][1:] != rows.core[name][:-1] for name in keys], axis=0)
    last[rows.start[1:][rows.start[1:] > 0] - 1] = True
    run = np.concatenate([[0], np.cumsum(last)[:-1]])
    ends, begins = np.flatnonzero(last), np.concatenate([[0], np.flatnonzero(last)[:-1] + 1])
    newest = np.maximum.reduceat(np.where(keep, np.arange(keep.size), 0), begins)
    open_ = ~keep[ends] & (content[newest] != content[ends])
    keep[ends[open_]] = True
    found: Int64 = open_[run].astype(np.int64)
    found[begins] = 0
    return found


def _place(rows: Rows, at: int | np.int64) -> str:
    piece = rows.pieces[int(rows.file[at])]
    return f"{piece.log.roles.table.path}: row {rows.core['#row'][at]}"
