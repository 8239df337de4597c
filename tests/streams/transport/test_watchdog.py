import threading

import pytest

from streams.transport.watchdog import EXIT_STATUS, Limits, Observation, Reason, Watch, Watchdog, judge

LIMITS = Limits(assignment_us=20, delivery_us=60, commit_us=60, task_us=2)


def run(*sights: Observation) -> list[Reason | None]:
    watch, reasons = Watch(), []
    for seen in sights:
        watch, reason = judge(watch, seen, LIMITS)
        reasons.append(reason)
    return reasons


def sight(now_us: int, **changes) -> Observation:
    healthy = {"is_member": True, "is_rebalancing": False, "assigned": 4}
    return Observation(now_us=now_us, **{**healthy, **changes})


def test_a_worker_without_partitions_outside_its_group_is_ended():
    """The group answered this worker with an error it did not expect, and it never asked again."""
    alone = {"is_member": False, "assigned": 0}
    assert run(sight(0, **alone), sight(19, **alone), sight(20, **alone)) == [None, None, Reason.NO_ASSIGNMENT]


def test_a_rebalance_that_never_ends_counts_as_being_without():
    stuck = {"assigned": 0, "is_rebalancing": True}
    assert run(sight(0, **stuck), sight(20, **stuck))[-1] is Reason.NO_ASSIGNMENT


def test_an_assignment_in_between_starts_the_count_again():
    alone = {"is_member": False, "assigned": 0}
    assert run(sight(0, **alone), sight(10), sight(15, **alone), sight(34, **alone))[-1] is None


def test_a_surplus_worker_is_healthy():
    """More workers than partitions: it waits to take over."""
    assert run(sight(0, assigned=0), sight(1000, assigned=0))[-1] is None


def test_a_topic_that_was_missing_at_the_start_ends_the_worker():
    """Faust drops it with a log line and never looks again, while the other topics go on."""
    missing = {"topics_missing": ("users",)}
    assert run(sight(0, **missing), sight(20, **missing))[-1] is Reason.NO_ASSIGNMENT


def test_a_log_that_grows_while_nothing_is_delivered_ends_the_worker():
    sights = [sight(0, delivered=3, highwater=10, lag=2), sight(59, delivered=3, highwater=12, lag=4)]
    assert run(*sights, sight(60, delivered=3, highwater=13, lag=5)) == [None, None, Reason.NOT_DELIVERING]


@pytest.mark.parametrize(
    "later",
    [
        {"delivered": 4, "highwater": 13, "lag": 5},  # something was delivered
        {"delivered": 3, "highwater": 10, "lag": 2},  # the broker is away: its log does not grow for us
        {"delivered": 3, "highwater": 13, "lag": 0},  # control records only; all read
    ],
)
def test_no_delivery_is_no_fault_unless_the_log_grows_and_is_not_read(later):
    assert run(sight(0, delivered=3, highwater=10, lag=2), sight(60, **later))[-1] is None


def test_a_quiet_topic_is_healthy_however_long_and_when_it_wakes():
    quiet = {"delivered": 3, "highwater": 10, "lag": 0}
    woken = {"delivered": 3, "highwater": 11, "lag": 1}
    assert run(sight(0, **quiet), sight(1000, **quiet), sight(1001, **woken))[-1] is None


def test_a_commit_that_stalls_while_batches_are_acknowledged_ends_the_worker():
    sights = [sight(t, acked=t, committed=5, uncommitted=True) for t in range(0, 70, 10)]
    assert run(*sights)[-2:] == [None, Reason.NOT_COMMITTING]


def test_a_commit_that_waits_for_the_broker_is_no_fault():
    """Without a broker there is nothing to acknowledge either, so the count stands still."""
    assert run(
        sight(0, acked=1, committed=5), *(sight(t, acked=2, uncommitted=True, committed=5) for t in (1, 999))
    ) == [
        None,
        None,
        None,
    ]


def test_an_ended_task_ends_the_worker_and_a_passing_error_does_not():
    broken = {"task_error": "coordinator task ended"}
    assert run(sight(0, **broken), sight(1), sight(2, **broken), sight(3, **broken)) == [None] * 4
    assert run(sight(0, **broken), sight(2, **broken))[-1] is Reason.TASK_ENDED


def test_a_healthy_worker_lives_for_ever():
    sights = (
        sight(t, delivered=t, acked=t, committed=t, uncommitted=bool(t % 2), highwater=t + 3, lag=3)
        for t in range(1000)
    )
    assert set(run(*sights)) == {None}


def test_the_rim_ends_the_process_by_name_and_status(caplog):
    """The log line is all that the next person will have."""
    ended, seen = threading.Event(), iter([RuntimeError("being built"), *[sight(t, task_error="x") for t in (0, 5)]])
    statuses = []

    def observe() -> Observation:
        following = next(seen)
        if isinstance(following, Exception):
            raise following
        return following

    def end(status: int) -> None:
        statuses.append(status)
        ended.set()

    Watchdog(observe, LIMITS, every_s=0.001, end=end).start()
    assert ended.wait(5)
    assert statuses == [EXIT_STATUS] == [70]
    assert "task_ended" in caplog.text
