"""What was the value of this feature, and when could each value be read?

Every version of every feature of one partition group, append-only, in columns, chained per (entity, feature) in
source order. Bounds of visibility come with the version (its source's own) and later (witnesses of our own writes).
A slice of a history is a function of what had arrived by an instant, never of when it is asked for.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.kernels.chains import count_rows, fill_rows, kept_rows, link
from features.times import FOREVER_US, NEVER_US

Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]
Bool = npt.NDArray[np.bool_]

_INT64 = (
    "key", "previous", "log_offset", "event_time_us", "ingest_time_us", "append_time_us", "source_from_us",
    "source_by_us", "sent_us", "sent_acked_us", "resent_acked_us",
)  # fmt: skip
_UINT64 = ("hash", "id64")


@dataclass(frozen=True, slots=True)
class Slices:
    """Parts of histories in CSR form: group g owns `rows[start[g]:start[g + 1]]`, oldest first.

    Parameters
    ----------
    is_base
        bool[g]: versions older than the first row exist (or existed) and are left out.
    until_us
        int64[g]: what had arrived by then.
    """

    start: Int64
    rows: Int64
    is_base: Bool
    until_us: Int64

    @property
    def group(self) -> Int64:
        """int64[rows]: the group of each row."""
        return np.repeat(np.arange(self.start.size - 1), np.diff(self.start))


class History:
    """Versions of one partition group.

    Columns are attributes: `hash`, `id64` (uint64[n]), `event_time_us`, `ingest_time_us`, `append_time_us` (NEVER_US:
    the log has no append times), `source_from_us`, `source_by_us` (int64[n]), and more.

    Examples
    --------
    >>> history = History()
    >>> len(history), history.slices(np.array([0]), np.array([10]), np.array([0])).start.tolist()
    (0, [0, 0])
    """

    def __init__(self) -> None:
        self._n = 0
        self._columns: dict[str, npt.NDArray[Any]] = {name: np.empty(1024, np.int64) for name in _INT64}
        self._columns |= {name: np.empty(1024, np.uint64) for name in _UINT64}
        self._columns["has_older"] = np.empty(1024, np.bool_)
        self._heads = np.full(1024, -1, np.int64)  # newest row by key
        self._logs: dict[str, Int64] = {}  # rows of each log, offsets rising; with room to grow
        self._log_rows: dict[str, int] = {}

    def __len__(self) -> int:
        return self._n

    def __getattr__(self, name: str) -> npt.NDArray[Any]:
        columns = self.__dict__.get("_columns", {})
        if name not in columns:
            raise AttributeError(name)
        column: npt.NDArray[Any] = columns[name][: self._n]
        return column

    def append(self, versions: pa.RecordBatch, keys: Int64, log: str) -> None:
        """Add versions of one log, in source order.

        Parameters
        ----------
        versions
            Columns of `features.batches.VERSION_SCHEMA`; offsets of one log never fall from call to call.
        keys
            int64[n], small and not negative: one number per (entity, feature).
        """
        n = versions.num_rows
        if not n:
            return
        first, end = self._n, self._n + n
        self._reserve(end, int(keys.max()) + 1)
        columns = self._columns
        columns["key"][first:end] = keys
        for name in ("log_offset", "event_time_us", "ingest_time_us", "source_from_us", "source_by_us", "hash", "id64"):
            columns[name][first:end] = versions.column(name).to_numpy()
        columns["append_time_us"][first:end] = versions.column("append_time_us").fill_null(NEVER_US).to_numpy()
        for name in ("sent_us", "sent_acked_us", "resent_acked_us"):
            columns[name][first:end] = FOREVER_US
        self._n = end
        link(keys, first, self._heads, columns["previous"], columns["has_older"])
        self._note(log, np.arange(first, end))

    def witness(self, log: str, first: int, last: int, sent_us: int | None, acked_us: int) -> None:
        """Versions caused by offsets `first` to `last` of `log` were sent and acknowledged.

        Parameters
        ----------
        sent_us
            Lower bound; None: computed anew from rows already in the log, so perhaps sent before. Of several
            witnesses the least bounds hold.
        """
        rows = self._rows_of(log)
        offsets = self._columns["log_offset"][rows]
        touched = rows[np.searchsorted(offsets, first, "left") : np.searchsorted(offsets, last, "right")]
        if sent_us is None:
            self._lower("resent_acked_us", touched, acked_us)
            return
        self._lower("sent_us", touched, sent_us)
        self._lower("sent_acked_us", touched, acked_us)

    def slices(self, keys: Int64, until_us: Int64, since_us: Int64) -> Slices:
        """Parts of histories, one group per request.

        All versions that arrived from `since_us` to `until_us` (ingest time, both included), and the one that was
        newest before; a negative or unknown key has none.
        """
        columns = self._columns
        keys, until_us, since_us = (np.ascontiguousarray(a, np.int64) for a in (keys, until_us, since_us))
        arguments = (keys, until_us, since_us, self._heads, columns["previous"], columns["ingest_time_us"])
        counts = count_rows(*arguments)
        start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        rows, is_base = fill_rows(*arguments, columns["has_older"], start)
        return Slices(start, rows, is_base, until_us)

    def view_bounds(self, slices: Slices) -> tuple[Int64, Int64]:
        """int64[rows] each: when the feature view certainly had not yet, and certainly had, each version.

        By the witnesses acknowledged until the slice's instant alone, without clock errors. A version sent again may
        have been readable since its cause was appended, or (no append times) for ever: NEVER_US.
        """
        until = slices.until_us[slices.group]
        columns = {name: self._columns[name][slices.rows] for name in _INT64}
        is_sent = columns["sent_acked_us"] <= until
        is_resent = columns["resent_acked_us"] <= until
        lower = np.where(is_sent, columns["sent_us"], FOREVER_US)
        lower = np.where(is_resent, np.minimum(lower, columns["append_time_us"]), lower)
        upper = np.where(is_sent, columns["sent_acked_us"], FOREVER_US)
        upper = np.where(is_resent, np.minimum(upper, columns["resent_acked_us"]), upper)
        return np.where(is_sent | is_resent, lower, NEVER_US).astype(np.int64), upper.astype(np.int64)

    def prune(self, before_us: int) -> None:
        """Forget what no slice from `before_us` on can hold; the newest version before it stays."""
        if not self._n:
            return
        columns = self._columns
        keep = kept_rows(self._n, self._heads, columns["previous"], columns["ingest_time_us"], before_us)
        place = np.where(keep, np.cumsum(keep) - 1, -1)
        previous = columns["previous"][: self._n][keep]
        for name, column in columns.items():
            columns[name] = column[: self._n][keep]
        columns["previous"] = np.where(previous >= 0, place[np.maximum(previous, 0)], -1)
        self._heads = np.where(self._heads >= 0, place[np.maximum(self._heads, 0)], -1)
        kept = {log: place[self._rows_of(log)] for log in self._logs}
        self._logs = {log: rows[rows >= 0] for log, rows in kept.items()}
        self._log_rows = {log: len(rows) for log, rows in self._logs.items()}
        self._n = int(keep.sum())

    def snapshot(self) -> dict[str, Any]:
        """Arrays and JSON-ables."""
        state: dict[str, Any] = {name: column[: self._n].copy() for name, column in self._columns.items()}
        names = list(self._logs)
        return {**state, "heads": self._heads.copy(), "logs": names} | {
            f"log{i}": self._rows_of(name).copy() for i, name in enumerate(names)
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot."""
        self._columns = {name: np.array(state[name]) for name in self._columns}
        self._n = len(self._columns["key"])
        self._heads = np.array(state["heads"])
        self._logs = {name: np.array(state[f"log{i}"]) for i, name in enumerate(state["logs"])}
        self._log_rows = {log: len(rows) for log, rows in self._logs.items()}

    def _rows_of(self, log: str) -> Int64:
        return self._logs[log][: self._log_rows[log]] if log in self._logs else np.empty(0, np.int64)

    def _note(self, log: str, rows: Int64) -> None:
        """Rows of one log, behind those that are there; room doubles."""
        known, n = self._logs.get(log, np.empty(0, np.int64)), self._log_rows.get(log, 0)
        if n + len(rows) > len(known):
            grown = np.empty(max(1024, 2 * (n + len(rows))), np.int64)
            grown[:n] = known[:n]
            known = grown
        known[n : n + len(rows)] = rows
        self._logs[log], self._log_rows[log] = known, n + len(rows)

    def _lower(self, name: str, rows: Int64, value: int) -> None:
        column = self._columns[name]
        column[rows] = np.minimum(column[rows], value)

    def _reserve(self, n: int, keys: int) -> None:
        """Room for n rows and that many keys; doubles, so appending stays linear."""
        for name, column in self._columns.items():
            if n > len(column):
                grown = np.empty(max(n, 2 * len(column)), column.dtype)
                grown[: self._n] = column[: self._n]
                self._columns[name] = grown
        if keys > len(self._heads):
            grown = np.full(max(keys, 2 * len(self._heads)), -1, np.int64)
            grown[: len(self._heads)] = self._heads
            self._heads = grown
