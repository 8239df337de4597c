"""What does an app tell the transport, and what does the transport ask the app?"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from faust.types import TP

from streams.transport.watchdog import Limits


class Hooks:
    """What the transport asks its app at each change of hands; override what is needed.

    All run on the app's event loop. `on_assigned` and `on_revoked` strictly alternate, one at a time, and no fetch is
    delivered between a `on_revoked` and the end of the following `on_assigned`. Kafka's rebalance waits for
    `on_revoked`, not for `on_assigned` (heartbeats go on while state is restored). An exception in any of them ends
    the worker.
    """

    async def on_assigned(self, partitions: frozenset[TP]) -> Mapping[TP, int]:
        """These partitions are ours from now on (all of them, not just new ones): restore, and say where to read on.

        Partitions left out of the answer begin at the group's committed offset, else at `auto_offset_reset`.
        """
        return {}

    async def on_revoked(self, partitions: frozenset[TP]) -> None:
        """These partitions (those of the last `on_assigned`) are about to be lost: every batch in work has ended."""

    async def before_commit(self, offsets: Mapping[TP, int]) -> Mapping[TP, int]:
        """These offsets are about to be committed: make durable what they stand for, or hold some back.

        What is held back is offered again at the next commit.
        """
        return offsets


@dataclass(slots=True, kw_only=True)
class BatchSettings:
    """How one app reads its batch topics.

    Waiting and size decide the cost of a quiet topic: about 300 µs of CPU for each fetch whatever it holds. On Kafka
    an unfilled fetch is answered once `fetch_min_bytes` are there or `fetch_max_wait_ms` have passed; the embedded
    broker sleeps the whole wait after an empty look, so 10 to 20 ms there.
    """

    topics: frozenset[str]
    hooks: Hooks = field(default_factory=Hooks)
    fetch_max_wait_ms: int = 100
    fetch_min_bytes: int = 1
    isolation_level: str = "read_committed"  # Faust reads uncommitted unless told otherwise
    leader_sync_delay_ms: int = 0  # 150 on the embedded broker, which fails followers that sync after their leader
    watchdog: Limits | None = None  # None: no watchdog
