import random

from streams.transport.spans import Admission, SpanLedger


def ledger_at(position: int | None = 0) -> SpanLedger[str]:
    ledger = SpanLedger[str]()
    ledger.seek("p", epoch=1, position=position)
    return ledger


def admit(ledger: SpanLedger[str], start: int, end: int, epoch: int = 1) -> Admission:
    return ledger.admit("p", epoch=epoch, start=start, end=end)


def test_nothing_beyond_an_unacknowledged_span_is_settled():
    """Faust 0.15.3 commits 2589 with 2585 still in work; a crash then loses it."""
    ledger, acked = ledger_at(2585), {2586, 2587, 2588}
    for offset in range(2585, 2589):
        admit(ledger, offset, offset + 1)
    assert ledger.settle("p", acked) == 2585
    acked.add(2585)
    assert ledger.settle("p", acked) == 2589
    assert acked == set()


def test_gaps_of_compaction_do_not_stop_the_commit():
    ledger = ledger_at(0)
    admit(ledger, 0, 1000)
    admit(ledger, 1000, 1002)
    assert ledger.settle("p", {999, 1001}) == 1002


def test_what_was_fetched_before_a_seek_is_stale():
    """A slow hand-over brings it after the seek; delivering it would shift the state."""
    ledger = ledger_at(0)
    admit(ledger, 0, 10)
    ledger.seek("p", epoch=2, position=5)
    assert admit(ledger, 10, 20) is Admission.STALE
    assert admit(ledger, 5, 20, epoch=2) is Admission.NEXT


def test_a_fetch_may_overtake_the_notice_of_its_seek():
    """The fetch comes from the thread that sought, the notice by another way; late, it must not drop the fetch."""
    ledger = ledger_at(0)
    assert admit(ledger, 7, 9, epoch=2) is Admission.NEXT
    ledger.seek("p", epoch=2, position=7)
    assert ledger.open_spans("p") == 1
    assert ledger.settle("p", {8}) == 9


def test_acknowledgements_of_before_a_seek_settle_nothing():
    ledger, acked = ledger_at(0), {9}
    admit(ledger, 0, 10)
    ledger.seek("p", epoch=2, position=0)
    assert ledger.settle("p", acked) == 0


def test_a_partition_that_is_not_ours_is_stale():
    ledger = ledger_at(0)
    ledger.drop(["p"])
    assert admit(ledger, 0, 1) is Admission.STALE
    assert ledger.settle("p", {0}) is None


def test_a_log_that_continues_elsewhere_without_a_seek_is_a_jump():
    """Retention overtook the reader, or the topic was made anew: delivered, and said."""
    ledger = ledger_at(10)
    assert admit(ledger, 50, 60) is Admission.JUMP
    assert admit(ledger, 60, 61) is Admission.NEXT
    assert admit(ledger, 0, 5) is Admission.JUMP
    assert ledger.settle("p", {59, 60, 4}) == 5


def test_an_unknown_start_is_the_start_of_the_first_fetch():
    ledger = ledger_at(None)
    assert ledger.settled("p") is None
    assert admit(ledger, 40, 50) is Admission.NEXT
    assert ledger.settled("p") == 40


def test_any_order_of_acknowledgement_ends_at_the_end():
    """Law: the settled offset never falls, never passes an open span, and ends behind the last."""
    rng = random.Random(5)
    for _ in range(200):
        ledger, spans, at = ledger_at(0), [], 0
        for _ in range(rng.randrange(1, 20)):
            spans.append((at, at + rng.randrange(1, 9)))
            admit(ledger, *spans[-1])
            at = spans[-1][1]
        waiting, acked, before = rng.sample(spans, len(spans)), set(), 0
        while waiting:
            acked.add(waiting.pop()[1] - 1)
            settled = ledger.settle("p", acked)
            assert before <= settled <= min((start for start, _ in waiting), default=at)
            before = settled
        assert before == at
