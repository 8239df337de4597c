"""What the pure world wants done: rows for the lake, records for topics, publications to be witnessed.

Effects are values. The rim carries them out, in this order: publish, wait for the broker, write down what was
acknowledged, commit the lake.
"""

from dataclasses import dataclass, field

import pyarrow as pa

from features.engine import Present


@dataclass(frozen=True, slots=True)
class FeatureRows:
    """Current rows of a feature group, in columns, caused by rows of one source up to `offset`."""

    entity_type: str
    group: str
    offset: int
    present: Present


@dataclass(frozen=True, slots=True)
class Publication:
    """Current rows of feature groups, to be sent; all versions caused by the offsets `first` to `last` of `log`."""

    log: str
    first: int
    last: int
    resent_below: int  # rows below this offset were in the log before this owner: sent again, perhaps
    rows: FeatureRows


@dataclass(frozen=True, slots=True)
class Scored:
    """Rows for the model stage: one Arrow message, in the order of their source offsets."""

    model: str
    kind: str  # served | matured | coupled
    log: str
    rows: pa.RecordBatch


@dataclass(slots=True)
class Effects:
    """Everything one step wants done."""

    tables: dict[str, list[pa.RecordBatch]] = field(default_factory=dict)
    publications: list[Publication] = field(default_factory=list)
    scored: list[Scored] = field(default_factory=list)
    leaks: list[dict[str, object]] = field(default_factory=list)  # for the topic `verdicts`

    def add(self, table: str, rows: pa.RecordBatch) -> None:
        """Append rows to a lake table; empty batches vanish."""
        if rows.num_rows:
            self.tables.setdefault(table, []).append(rows)

    def extend(self, other: "Effects") -> None:
        """Append another step's effects."""
        for table, batches in other.tables.items():
            self.tables.setdefault(table, []).extend(batches)
        self.publications += other.publications
        self.scored += other.scored
        self.leaks += other.leaks
