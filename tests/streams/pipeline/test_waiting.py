"""Judges wait for coverage, predictions for their turn, transactions for their label."""

import numpy as np
import pyarrow as pa

from features.definitions import Label
from features.lineage import value_hash
from features.times import FOREVER_US, NEVER_US
from streams.pipeline.accounting import CLASSES, Account
from streams.pipeline.coverage import Coverage
from streams.pipeline.labels import Labels
from streams.pipeline.pending import Judged, Queue
from streams.pipeline.transactions import Transactions
from streams.wire.logs import Sorted

SCHEMA = pa.schema([("offset", pa.int64()), ("read_time_us", pa.int64())])


def predictions(*reads):
    return pa.RecordBatch.from_pydict({"offset": list(range(len(reads))), "read_time_us": list(reads)}, schema=SCHEMA)


def verdicts(n, code=0):
    block = Judged.none(1)
    return Judged(
        *(np.full((n, 1), code, getattr(block, f).dtype) for f in ("verdict", "reason", "tier", "lead_us", "version"))
    )


def test_a_log_of_forwarded_rows_is_covered_as_far_as_its_slowest_origin():
    """ "Nothing for me" and "not there yet" differ."""
    coverage = Coverage()
    coverage.expect("by/0", 2)
    coverage.mark("by/0", 0, 100)
    assert coverage.until(["by/0"]) == NEVER_US
    coverage.mark("by/0", 1, 70)
    coverage.mark("by/0", 1, 60)  # an old owner's marker moves nothing back
    assert coverage.until(["by/0"]) == 70
    coverage.finish("by/0")
    assert coverage.until(["by/0"]) == FOREVER_US


def test_predictions_leave_in_offset_order_even_if_read_times_do_not():
    """A reader drops repetitions by a fence: order is what it relies on."""
    queue = Queue(SCHEMA, 1)
    queue.push(predictions(10, 50, 20))
    assert queue.oldest_us() == 10
    assert queue.unjudged(11).num_rows == 1
    queue.note(verdicts(1))
    assert queue.unjudged(30) is None  # the head waits for 50
    assert queue.unjudged(51).num_rows == 2
    queue.note(verdicts(2))
    taken, _ = queue.mature(31, 10)
    assert taken.column("read_time_us").to_pylist() == [10]
    assert len(queue) == 2


def test_a_queue_goes_on_after_a_crash_where_it_was():
    """What waits is part of the state."""
    queue = Queue(SCHEMA, 1)
    queue.push(predictions(10, 50))
    queue.note(verdicts(queue.unjudged(11).num_rows, 3))
    other = Queue(SCHEMA, 1)
    other.restore(queue.snapshot())
    assert other.judged.verdict.tolist() == [[3]]
    assert other.unjudged(60).column("read_time_us").to_pylist() == [50]


def test_a_label_counts_within_its_horizon_and_only_if_known_by_then():
    """A label that came to light later would make the verdict depend on when one looks."""
    labels = Labels(Label(source="users", column="status", equals="cancelled", horizon_us=100))
    rows = pa.RecordBatch.from_pydict(
        {
            "status.hash": pa.array([value_hash("cancelled")] * 2, pa.uint64()),
            "op": [None, None],
            "entity": ["a", "b"],
            "event_time_us": [50, 50],
            "ingest_time_us": [60, 500],
            "txid": [None, None],
            "origin_offset": [1, 2],
            "origin_partition": [0, 0],
        }
    )
    assert labels.observe(rows).tolist() == [0, 1]
    assert labels.observe(rows).tolist() == []
    again = rows.set_column(rows.schema.get_field_index("origin_offset"), "origin_offset", pa.array([9, 2]))
    assert labels.events(again).tolist() == [False, True]  # still cancelled is not cancelled again
    reads = np.array([10, 50, -60, 10])
    assert labels.positive(["a", "a", "a", "b"], reads).tolist() == [True, False, False, False]


def test_a_transaction_is_told_once_its_label_is_there():
    """The rows may come in any order, on any topic."""
    transactions = Transactions()
    feature = ("user", "1", False, "last_login", 5, "sessions", 0, 7, None)
    label = ("user", "1", True, None, 5, "users", 0, 3, None)
    assert transactions.observe("db", "571", [feature]) == []
    assert transactions.observe("db", "571", [label]) == [feature, label]
    assert transactions.observe("db", "571", [feature]) == [feature]
    other = Transactions()
    other.restore(transactions.snapshot())
    assert other.observe("db", "571", [label]) == [label]


def test_every_offset_is_counted_in_exactly_one_class():
    """What no class names was empty: control records, rows compacted away."""
    account = Account()
    account.add(0, 10, 0, Sorted(empty=1, duplicates=2), applied=4, late=1)
    account.skip(10, 15)
    counts = account.take(15)
    assert sum(counts[c] for c in CLASSES) == counts["next"] - counts["first"] == 15
    assert (counts["empty"], counts["gap"]) == (3, 5)
    account.consumed(15, 20, 20, applied=5)
    assert account.take(20)["applied"] == 0  # counted before the crash
