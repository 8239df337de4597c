"""Is this worker still working, or does it only look alive?

A Kafka consumer can lose its place and never say so: an unexpected answer to a group request, a topic that was
missing at the start, a fetch task that ended. The process stays up, heartbeats may even go on, and nothing is read.
`judge` looks at what such a worker shows from outside and names the reason to end it; `Watchdog` does that from a
thread of its own (an event loop that hangs cannot watch itself) and ends the process, so that whoever supervises it
starts a fresh one.
"""

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

log = logging.getLogger(__name__)

EXIT_STATUS = 70  # EX_SOFTWARE in sysexits.h: a fault inside, worth a restart


class Reason(StrEnum):
    """Why a worker is ended."""

    NO_ASSIGNMENT = "no_assignment"
    NOT_DELIVERING = "not_delivering"
    NOT_COMMITTING = "not_committing"
    TASK_ENDED = "task_ended"


#: However short the session: a busy machine needs seconds to join, and ending it then makes the storm worse.
ASSIGNMENT_US_MIN = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long each condition may last, in microseconds."""

    assignment_us: int  # twice the session timeout: a group that is stable has answered by then
    delivery_us: int = 60_000_000
    commit_us: int = 60_000_000
    task_us: int = 2_000_000  # an error that the consumer reports and gets over is not the end of it

    @classmethod
    def for_session(cls, session_timeout_us: int) -> "Limits":
        """Limits for a group with that session timeout."""
        return cls(assignment_us=max(2 * session_timeout_us, ASSIGNMENT_US_MIN))


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What a worker shows at one moment. Counters never fall while the process lives."""

    now_us: int  # monotonic, any origin
    is_member: bool  # a member of a generation of its group
    is_rebalancing: bool
    assigned: int  # partitions
    topics_missing: tuple[str, ...] = ()  # subscribed, and without any partition
    delivered: int = 0  # fetches handed to agents
    acked: int = 0  # fetches acknowledged
    committed: int = 0  # commits that moved an offset
    uncommitted: bool = False  # some acknowledged offset is not committed
    highwater: int = 0  # sum of log ends over the assigned partitions
    lag: int = 0  # sum of log end - position
    task_error: str | None = None  # a background task ended or waits with this error


@dataclass(frozen=True, slots=True)
class Watch:
    """What has to be remembered between two observations: since when each condition lasts (None: it does not)."""

    unassigned_since_us: int | None = None
    delivered: int = -1
    delivered_at_us: int = 0
    highwater_at_delivery: int = 0
    committed: int = -1
    committed_at_us: int = 0
    acked: int = -1
    acked_at_us: int = 0
    task_since_us: int | None = None


def judge(watch: Watch, seen: Observation, limits: Limits) -> tuple[Watch, Reason | None]:
    """The next memory, and the reason to end the worker if there is one.

    A surplus worker (a member, every topic known, nothing assigned) is healthy. So is one whose broker is away: then
    log ends do not grow and acknowledgements do not arrive.

    Examples
    --------
    >>> limits = Limits(assignment_us=20)
    >>> watch, reason = judge(Watch(), Observation(now_us=0, is_member=False, is_rebalancing=False, assigned=0), limits)
    >>> reason is None
    True
    >>> judge(watch, Observation(now_us=20, is_member=False, is_rebalancing=False, assigned=0), limits)[1].value
    'no_assignment'
    """
    watch = _remember(watch, seen)
    if watch.task_since_us is not None and seen.now_us - watch.task_since_us >= limits.task_us:
        return watch, Reason.TASK_ENDED
    if watch.unassigned_since_us is not None and seen.now_us - watch.unassigned_since_us >= limits.assignment_us:
        return watch, Reason.NO_ASSIGNMENT
    is_behind = seen.lag > 0 and seen.highwater > watch.highwater_at_delivery
    if is_behind and seen.now_us - watch.delivered_at_us >= limits.delivery_us:
        return watch, Reason.NOT_DELIVERING
    # Counted to the last acknowledgement, not to now: with the broker away nothing is acknowledged either.
    if seen.uncommitted and watch.acked_at_us - watch.committed_at_us >= limits.commit_us:
        return watch, Reason.NOT_COMMITTING
    return watch, None


def _remember(watch: Watch, seen: Observation) -> Watch:
    now = seen.now_us
    # A rebalance that hangs is no excuse either: it counts as being without.
    lacks = bool(seen.topics_missing) or (seen.assigned == 0 and (not seen.is_member or seen.is_rebalancing))
    watch = replace(
        watch,
        unassigned_since_us=_since(lacks, watch.unassigned_since_us, now),
        task_since_us=_since(seen.task_error is not None, watch.task_since_us, now),
    )
    if seen.delivered != watch.delivered or seen.lag == 0:
        watch = replace(watch, delivered=seen.delivered, delivered_at_us=now, highwater_at_delivery=seen.highwater)
    if seen.committed != watch.committed or not seen.uncommitted:
        watch = replace(watch, committed=seen.committed, committed_at_us=now, acked_at_us=now)
    if seen.acked != watch.acked:
        watch = replace(watch, acked=seen.acked, acked_at_us=now)
    return watch


def _since(holds: bool, since_us: int | None, now_us: int) -> int | None:
    if not holds:
        return None
    return now_us if since_us is None else since_us


class Watchdog(threading.Thread):
    """Observes a worker every `every_s` seconds and ends the process when `judge` names a reason.

    `observe` is called on this thread; when it raises (the worker is being torn down or rebuilt) the look is skipped.
    """

    def __init__(
        self,
        observe: Callable[[], Observation],
        limits: Limits,
        *,
        every_s: float = 0.5,
        end: Callable[[int], object] = os._exit,
    ) -> None:
        super().__init__(name="tminus-watchdog", daemon=True)
        self._observe, self._limits, self._every_s, self._end = observe, limits, every_s, end
        self._asked_to_stop = threading.Event()

    def run(self) -> None:
        """Look until stopped."""
        watch = Watch()
        while not self._asked_to_stop.wait(self._every_s):
            try:
                seen = self._observe()
            except Exception as error:
                log.debug("watchdog could not look: %r", error)
                continue
            watch, reason = judge(watch, seen, self._limits)
            if reason is not None:
                log.critical("watchdog ends this worker: %s (%s)", reason.value, seen)
                for handler in logging.getLogger().handlers:
                    handler.flush()
                self._end(EXIT_STATUS)
                return

    def stop(self) -> None:
        """End the thread without ending the process; returns at once."""
        self._asked_to_stop.set()
