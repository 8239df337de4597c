"""When did the label of an entity happen?

The first row that fulfils `positive` is the label event. Labels are kept per model and entity, first one wins, by
(event time, coordinates), so duplicates and order change nothing.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.definitions import Label
from features.lineage import value_hash


@dataclass(frozen=True, slots=True, order=True)
class LabelEvent:
    """One label event; ordered by when it happened."""

    event_time_us: int
    partition: int
    offset: int
    ingest_time_us: int
    txid: str = ""


class Labels:
    """Label events of one model."""

    def __init__(self, label: Label) -> None:
        self.label = label
        self._wanted = np.uint64(value_hash(label.equals))
        self.first: dict[str, LabelEvent] = {}

    def mask(self, rows: pa.RecordBatch) -> npt.NDArray[np.bool_]:
        """Which rows fulfil `positive`, bool[n]."""
        hashes = rows.column(f"{self.label.column}.hash").to_numpy()
        deleted = np.array([op == "d" for op in rows.column("op").to_pylist()], bool)
        return np.array((hashes == self._wanted) & ~deleted)

    def observe(self, rows: pa.RecordBatch) -> npt.NDArray[np.int64]:
        """Take in rows of the label's source; indices of those that are an entity's first label so far."""
        found = []
        entities = rows.column("entity")
        for i in np.flatnonzero(self.mask(rows)):
            row = int(i)
            event = LabelEvent(
                event_time_us=rows.column("event_time_us")[row].as_py(),
                partition=rows.column("origin_partition")[row].as_py(),
                offset=rows.column("origin_offset")[row].as_py(),
                ingest_time_us=rows.column("ingest_time_us")[row].as_py(),
                txid=rows.column("txid")[row].as_py() or "",
            )
            entity = entities[row].as_py()
            if entity not in self.first:
                found.append(row)
            if entity not in self.first or event < self.first[entity]:
                self.first[entity] = event
        return np.array(found, np.int64)

    def events(self, rows: pa.RecordBatch) -> npt.NDArray[np.bool_]:
        """Which of these rows *are* the label event of their entity, bool[n].

        A row that fulfils `positive` again (a cancelled user whose other columns are touched) is none.
        """
        found = self.mask(rows)
        for i in np.flatnonzero(found):
            row = int(i)
            event = self.first.get(rows.column("entity")[row].as_py())
            place = (rows.column("origin_partition")[row].as_py(), rows.column("origin_offset")[row].as_py())
            found[i] = event is not None and (event.partition, event.offset) == place
        return found

    def positive(self, entities: list[str], read_time_us: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Did the label happen within the horizon after the read, and was it known by then? bool[n]."""
        out = np.zeros(len(entities), bool)
        for i, entity in enumerate(entities):
            event = self.first.get(entity)
            if event is not None:
                after_us = event.event_time_us - int(read_time_us[i])
                known = event.ingest_time_us <= int(read_time_us[i]) + self.label.horizon_us
                out[i] = known and 0 < after_us <= self.label.horizon_us
        return out

    def snapshot(self) -> list[list[object]]:
        """JSON-able state."""
        return [[e, v.event_time_us, v.partition, v.offset, v.ingest_time_us, v.txid] for e, v in self.first.items()]

    def restore(self, state: list[list[object]]) -> None:
        """Take over a snapshot."""
        self.first = {str(row[0]): LabelEvent(*row[1:]) for row in state}  # type: ignore[arg-type]
