"""Which changes shared a transaction with a label?

A transaction's rows may come on several topics, in any order. They are held, by (clock domain, transaction id),
until one of them is a label row; from then on all of them are told. What is told twice changes nothing downstream,
because tallies there are a join over (transaction, entity).
"""

from collections import OrderedDict
from dataclasses import dataclass, field

import pyarrow as pa

#: Transactions remembered per partition group; the oldest is forgotten first.
TRANSACTIONS_MAX = 20_000

COUPLED_SCHEMA = pa.schema(
    [
        pa.field("clock_domain", pa.utf8(), nullable=False),
        pa.field("txid", pa.utf8(), nullable=False),
        pa.field("entity_type", pa.utf8(), nullable=False),
        pa.field("entity", pa.utf8(), nullable=False),
        pa.field("is_label", pa.bool_(), nullable=False),
        pa.field("feature", pa.utf8()),  # changed; null: this row changed none
        pa.field("commit_time_us", pa.int64(), nullable=False),
        pa.field("topic", pa.utf8(), nullable=False),
        pa.field("partition", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("lead_us", pa.int64()),  # commit minus the entity's last read before it; null: none
    ]
)

Row = tuple[str, str, bool, str | None, int, str, int, int, int | None]


@dataclass(slots=True)
class _Transaction:
    rows: list[Row] = field(default_factory=list)
    has_label: bool = False


class Transactions:
    """Open transactions of one model in one partition group."""

    def __init__(self) -> None:
        self._open: OrderedDict[tuple[str, str], _Transaction] = OrderedDict()

    def observe(self, domain: str, txid: str, rows: list[Row]) -> list[Row]:
        """Take in rows of one transaction; the rows that may now be told."""
        transaction = self._open.setdefault((domain, txid), _Transaction())
        if len(self._open) > TRANSACTIONS_MAX:
            self._open.popitem(last=False)
        had_label = transaction.has_label
        transaction.has_label = had_label or any(row[2] for row in rows)
        transaction.rows += rows
        if not transaction.has_label:
            return []
        return rows if had_label else transaction.rows

    def snapshot(self) -> list[object]:
        """JSON-able state."""
        return [[*key, t.has_label, [list(r) for r in t.rows]] for key, t in self._open.items()]

    def restore(self, state: list[list[object]]) -> None:
        """Take over a snapshot."""
        self._open = OrderedDict(
            ((str(d), str(x)), _Transaction([tuple(r) for r in rows], bool(label)))  # type: ignore[attr-defined]
            for d, x, label, rows in state
        )


def coupled_batch(domain: list[str], txid: list[str], rows: list[Row]) -> pa.RecordBatch:
    """Rows of transactions as columns of `COUPLED_SCHEMA`."""
    columns: list[list[object]] = [list(domain), list(txid), *(list(c) for c in zip(*rows, strict=True))]
    return pa.RecordBatch.from_arrays(
        [pa.array(c, type=f.type) for c, f in zip(columns, COUPLED_SCHEMA, strict=True)], schema=COUPLED_SCHEMA
    )
