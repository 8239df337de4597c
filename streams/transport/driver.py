"""How does a fetch get from aiokafka to a Faust agent whole, and its offset back?

A subclass of Faust's aiokafka driver, registered under the scheme `tminus://` (entry point `faust.transports`). Batch
topics deliver one message per (partition, fetch), its value a `RawFetch`; all other topics of the app go event by event
as in stock Faust. What is overridden, and why:

* positions after a rebalance come from the app's fences (`Hooks.on_assigned`), not from the group's committed offsets;
* offsets are spans (`spans`): Faust counts single offsets and may commit past one that is still being worked on;
* an agent that raises ends the worker with nothing further committed, where Faust would count the batch as done;
* the assignor co-partitions, and fetch wait, size and isolation can be set.

Three rules close races that lost batches in earlier designs. Batches are *held* from a revocation until Faust lets
messages flow after our seek: it empties its queues at that moment, and a batch in them would be lost. Batches fetched
before a seek are *dropped*, told by the epoch that was stamped on the thread that seeks. Spans are *forgotten* on seek
and revoke. `tests/streams/transport/test_contract.py` names everything private that this file leans on.
"""

import asyncio
import atexit
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar, cast

from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.fetcher import OffsetResetStrategy
from aiokafka.errors import IllegalStateError
from aiokafka.structs import TopicPartition
from faust.exceptions import ImproperlyConfigured
from faust.transport.consumer import RecordMap
from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as stock
from faust.types import TP, ConsumerMessage

from streams.transport import standins
from streams.transport.assignor import CoPartitionAssignor
from streams.transport.records import RawFetch
from streams.transport.settings import BatchSettings
from streams.transport.spans import Admission, SpanLedger
from streams.transport.watchdog import Observation, Watchdog

SCHEME = "tminus"


def register() -> None:
    """Make `tminus://` known where the distribution's entry points are not (a checkout that is not installed)."""
    TRANSPORTS.aliases.setdefault(SCHEME, f"{__name__}:Transport")


def settings_of(app: Any) -> BatchSettings:
    """The batch settings an app carries; raises Faust's `ImproperlyConfigured` when it carries none."""
    settings = getattr(app, "batch_settings", None)
    if not isinstance(settings, BatchSettings):
        raise ImproperlyConfigured(f"{SCHEME}:// needs an app made by streams.transport.app.make_app")
    return settings


class ConsumerThread(stock.AIOKafkaConsumerThread):
    """aiokafka's consumer in its own thread and loop, as in stock Faust, with our settings and seeks."""

    context: standins.FetchContext

    def _create_worker_consumer(self, transport: stock.Transport) -> AIOKafkaConsumer:
        settings = settings_of(self.app)
        self.context = standins.FetchContext(settings.topics, lambda: time.time_ns() // 1000)
        standins.install()
        consumer = super()._create_worker_consumer(transport)
        # Faust exposes none of these; aiokafka reads them when it starts.
        consumer._key_deserializer = self.context
        consumer._partition_assignment_strategy = [CoPartitionAssignor()]
        consumer._fetch_max_wait_ms = settings.fetch_max_wait_ms
        consumer._fetch_min_bytes = settings.fetch_min_bytes
        consumer._isolation_level = settings.isolation_level
        return consumer

    async def on_start(self) -> None:
        """Start aiokafka's consumer; on the embedded broker let the group's leader sync last."""
        await super().on_start()
        delay_ms = settings_of(self.app).leader_sync_delay_ms
        if not delay_ms or self.app.client_only:
            return
        coordinator = self._ensure_consumer()._coordinator
        perform = coordinator._perform_assignment

        async def perform_late(response: Any) -> Any:
            assignment = await perform(response)
            await asyncio.sleep(delay_ms / 1000)
            return assignment

        coordinator._perform_assignment = perform_late

    async def seek_all(self, fences: Mapping[TP, int]) -> dict[TP, tuple[int, int | None]]:
        """Move every assigned partition to its fence, else its committed offset, else as `auto_offset_reset` says.

        Returns (epoch, position) by partition; the position is None where the broker has yet to tell it.
        """
        answer: dict[TP, tuple[int, int | None]] = await self.call_thread(self._seek_all, fences)
        return answer

    async def _seek_all(self, fences: Mapping[TP, int]) -> dict[TP, tuple[int, int | None]]:
        consumer = self._ensure_consumer()
        assigned: list[TopicPartition] = sorted(consumer.assignment())
        unknown = [tp for tp in assigned if tp not in fences]
        committed = await asyncio.gather(*(consumer.committed(tp) for tp in unknown))
        wanted: dict[TopicPartition, int | None] = {**fences, **dict(zip(unknown, committed, strict=True))}
        if set(wanted) != set(consumer.assignment()):
            raise IllegalStateError("the assignment changed during the seek")
        strategy = consumer._fetcher._default_reset_strategy
        answer: dict[TP, tuple[int, int | None]] = {}
        # No await from here on: a fetch is stamped on this very thread, so it lies wholly before or after.
        for tp, offset in wanted.items():
            answer[TP(tp.topic, tp.partition)] = (self.context.on_seek(tp), offset)
            if offset is not None:
                consumer._fetcher.seek_to(tp, offset)
            elif strategy != OffsetResetStrategy.NONE:
                # Stock leaves the position alone here, which loses what was taken from it before the seek.
                consumer._fetcher.request_offset_reset([tp], strategy)
        return answer

    async def seek_one(self, tp: TP, offset: int) -> int:
        """Move one partition; returns its new epoch."""
        epoch: int = await self.call_thread(self._seek_one, TopicPartition(*tp), offset)
        return epoch

    async def _seek_one(self, tp: TopicPartition, offset: int) -> int:
        self._ensure_consumer()._fetcher.seek_to(tp, offset)
        return self.context.on_seek(tp)

    def partition_state(self, tp: TP) -> Any:
        """aiokafka's record of one assigned partition, None when it is not assigned; read-only, from any thread."""
        subscription = self._ensure_consumer()._subscription.subscription
        assignment = None if subscription is None else subscription.assignment
        return None if assignment is None else assignment.state_value(TopicPartition(*tp))

    def task_error(self) -> str | None:
        """What ended (or blocks) one of the consumer's background tasks, None while all is well.

        Faust never asks aiokafka's coordinator for its errors, and the coordinator waits to be asked.
        """
        consumer = self._ensure_consumer()
        coordinator, fetcher = consumer._coordinator, consumer._fetcher
        if coordinator._pending_exception is not None:
            return repr(coordinator._pending_exception)
        for name, task in (("coordinator", coordinator._coordination_task), ("fetcher", fetcher._fetch_task)):
            if task.done():
                error = None if task.cancelled() else task.exception()
                return f"{name} task ended: {error!r}"
        return None

    def topics_missing(self) -> tuple[str, ...]:
        """Subscribed topics without a partition."""
        consumer = self._ensure_consumer()
        cluster = consumer._client.cluster
        return tuple(t for t in sorted(consumer._subscription.topics) if not cluster.partitions_for_topic(t))

    def is_member(self) -> bool:
        """Whether this consumer is a member of a generation of its group."""
        return bool(self._ensure_consumer()._coordinator.generation > 0)

    def is_reassigning(self) -> bool:
        """Whether the group is between two assignments; the old one can still be read then, and means nothing."""
        return bool(self._ensure_consumer()._subscription.reassignment_in_progress)


class Consumer(stock.Consumer):
    """Faust's consumer with spans for offsets and fences for positions."""

    _thread: ConsumerThread

    def on_init(self) -> None:
        """Called by Faust at construction, and again when the consumer is restarted."""
        super().on_init()
        self._settings = settings_of(self.app)
        self._ledger = SpanLedger[TP]()
        self._restoring: asyncio.Task[Mapping[TP, int]] | None = None
        self._held: frozenset[TP] = frozenset()
        self._failed: BaseException | None = None
        self._watchdog: Watchdog | None = None
        self._n_delivered = self._n_committed = 0
        self._is_between = True  # two assignments: what aiokafka calls assigned is the old one
        self._is_positioned = False  # every partition was sought in this assignment
        self._gate = asyncio.Event()  # batches may go to the agents

    def _new_consumer_thread(self) -> ConsumerThread:
        thread = ConsumerThread(self, loop=self.loop, beacon=self.beacon)
        atexit.register(_close, thread.thread_loop)
        return thread

    # -- what the app may ask ------------------------------------------------------------------------------------------

    def positions(self) -> dict[TP, int]:
        """Next offset to be taken from the broker, by assigned partition; without a position: left out."""
        found = {}
        for tp in self.assignment():
            state = self._thread.partition_state(tp)
            if state is not None and state.has_valid_position:
                found[tp] = state.position
        return found

    def acknowledged(self, tp: TP) -> int | None:
        """Next offset not acknowledged: the fence at first, None before anything is known.

        A partition with `acknowledged(tp) == highwater(tp)` has been worked through as far as `last_poll_us(tp)`.
        """
        self._ledger.settle(tp, self._acked_index[tp])
        return self._ledger.settled(tp)

    def last_poll_us(self, tp: TP) -> int | None:
        """When the broker last told the log end of `tp`: receipt of its answer (ms precision), microseconds UTC.

        The log end was read at most one network transit earlier; whoever needs a hard bound takes the poll before.
        """
        state = self._thread.partition_state(tp)
        return None if state is None or state.timestamp is None else int(state.timestamp) * 1000

    # -- delivery ------------------------------------------------------------------------------------------------------

    async def _wait_next_records(self, timeout: float) -> tuple[RecordMap | None, set[TP] | None]:
        records, active = await super()._wait_next_records(timeout)
        # Held, not dropped: the position has moved past them. If a seek comes in between, their epoch gives them away.
        # Other topics are not held: a table's changelog is read in the middle of a rebalance.
        if records and not self._gate.is_set() and any(self._is_batch(tp) for tp in records):
            await self.wait(self._gate.wait())  # also ends when the consumer stops
        return records, active

    def resume_flow(self) -> None:
        """Faust lets messages flow, having emptied its queues just before."""
        super().resume_flow()
        # A rebalance overtaken by the next one still gets here; only the one whose seek counts opens the gate.
        if self._is_positioned:
            self._gate.set()

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        """Messages for the agents; stale fetches end here."""
        async for tp, message in super().getmany(timeout):
            fetch: Any = message.value
            if type(fetch) is RawFetch:
                admission = self._ledger.admit(message.tp, epoch=fetch.epoch, start=fetch.start, end=fetch.end)
                if admission is Admission.STALE:
                    continue
                if admission is Admission.JUMP:
                    self.log.warning("%s: log continues at offset %s without a seek", message.tp, fetch.start)
                    # Faust drops what lies below its read offset, and commits only upwards.
                    self._read_offset[message.tp] = self._committed_offset[message.tp] = None
                if self._committed_offset[message.tp] is None:
                    self._committed_offset[message.tp] = fetch.start
                self._n_delivered += 1
            yield tp, cast(ConsumerMessage, message)

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        if type(record) is not RawFetch:
            return super()._to_message(tp, record)
        partition = TP(record.topic, record.partition)
        highwater = cast(int | None, self.highwater(partition))
        record.highwater = -1 if highwater is None else highwater
        return ConsumerMessage(
            record.topic,
            record.partition,
            record.end - 1,  # what Faust calls the message's offset, and acknowledges
            record.fetched_us / 1e6,
            0,
            None,
            None,
            cast(Any, record),
            None,
            0,
            len(record.buf),
            partition,
            generation_id=self.app.consumer_generation_id,
        )

    # -- offsets -------------------------------------------------------------------------------------------------------

    def _is_batch(self, tp: TP) -> bool:
        return tp.topic in self._settings.topics

    def _new_offset(self, tp: TP) -> int | None:
        if not self._is_batch(tp):
            return None if self._failed is not None else super()._new_offset(tp)
        acked = self._acked_index[tp]
        settled = self._ledger.settle(tp, acked)
        self._acked[tp][:] = acked  # Faust's list beside its index; without this it would grow for ever
        return None if self._failed is not None else settled

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        if not self._is_batch(tp):
            await super()._add_gap(tp, offset_from, offset_to)

    async def _commit_offsets(self, offsets: Mapping[TP, int], start_new_transaction: bool = True) -> bool:
        offsets = await self._settings.hooks.before_commit(offsets)
        if not offsets:
            return False
        before = {tp: self._committed_offset[tp] for tp in offsets}
        did_commit: bool = await super()._commit_offsets(offsets, start_new_transaction=start_new_transaction)
        self._n_committed += did_commit
        if not did_commit:  # stock notes them as committed all the same, and never tries again
            self._committed_offset.update(before)
        return did_commit

    async def on_task_error(self, exc: BaseException) -> None:
        """An agent raised: nothing is delivered or committed any more, and the worker ends.

        Stock Faust commits here and goes on, which loses the batch.
        """
        if self._failed is None:
            self._failed = exc
            self.log.error("an agent failed, this worker ends: %r", exc)
            await self.crash(exc)

    # -- changes of hands ----------------------------------------------------------------------------------------------

    async def perform_seek(self) -> None:
        """Move every partition to where its state says.

        Faust calls this at the end of each rebalance before it lets messages flow, and whenever it had to throw away
        what it fetched, so possibly more than once in one assignment; the app is asked once in each.
        """
        if self._is_between:
            return  # there will be another call for the assignment to come
        self._gate.clear()
        fences = await self._fences()
        moved = await self._thread.seek_all(fences)
        for tp, (epoch, position) in moved.items():
            self._forget(tp)
            self._ledger.seek(tp, epoch=epoch, position=position)
            self._read_offset[tp] = self._committed_offset[tp] = position
        self._is_positioned = not self._is_between

    async def _fences(self) -> Mapping[TP, int]:
        if self._restoring is None:
            self._held = frozenset(self.assignment())
            # A task of its own: Faust cancels its caller when the next rebalance begins, and a restoration that has
            # begun must end before `on_revoked` may speak of the same partitions.
            self._restoring = asyncio.ensure_future(self._ask_for_fences(self._held))
        return await asyncio.shield(self._restoring)

    async def _ask_for_fences(self, assigned: frozenset[TP]) -> Mapping[TP, int]:
        try:
            fences = await self._settings.hooks.on_assigned(assigned)
            strange = {tp: at for tp, at in fences.items() if tp not in assigned or at < 0}
            if strange:
                raise ValueError(f"on_assigned answered for partitions not asked for, or below 0: {strange}")
            return fences
        except Exception as error:
            await self.on_task_error(error)
            raise

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Let batches in work end and be committed, then tell the app, then forget."""
        self._gate.clear()
        self._is_between, self._is_positioned = True, False
        if not self.app.should_stop:
            await self.commit()  # stock forgets its acknowledgements first
        await super().on_partitions_revoked(revoked)
        await self._tell_revoked()
        self._ledger.drop(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """The new assignment is in force; positions follow in `perform_seek`."""
        self._is_between = False
        await super().on_partitions_assigned(assigned, generation_id)

    async def _tell_revoked(self) -> None:
        restoring, self._restoring = self._restoring, None
        if restoring is None:
            return
        held, self._held = self._held, frozenset()
        await asyncio.wait([restoring])
        if not restoring.cancelled() and restoring.exception() is None:
            try:
                await self._settings.hooks.on_revoked(held)
            except Exception as error:
                await self.on_task_error(error)

    async def _seek(self, partition: TP, offset: int) -> None:
        epoch = await self._thread.seek_one(partition, offset)
        self._forget(partition)
        self._ledger.seek(partition, epoch=epoch, position=offset)
        self._committed_offset[partition] = offset

    def _forget(self, tp: TP) -> None:
        self._acked.pop(tp, None)
        self._acked_index.pop(tp, None)

    # -- life ----------------------------------------------------------------------------------------------------------

    async def on_started(self) -> None:
        """Start the watchdog once there is something to watch."""
        await super().on_started()
        limits = self._settings.watchdog
        if limits is not None and not self.app.client_only:
            self._watchdog = Watchdog(self.observation, limits)
            self._watchdog.start()

    async def on_stop(self) -> None:
        """Stop watching, let batches end, and give the partitions back as in a rebalance."""
        if self._watchdog is not None:
            self._watchdog.stop()
        await super().on_stop()
        if self._failed is None:
            await self._tell_revoked()

    def observation(self) -> Observation:
        """What the watchdog sees; may be called from any thread, and raises while the consumer is being built."""
        thread = self._thread
        is_reassigning = thread.is_reassigning()
        assigned = [tp for tp in self.assignment() if self._is_batch(tp) and not is_reassigning]
        states = [state for tp in assigned if (state := thread.partition_state(tp)) is not None]
        known = [s for s in states if s.highwater is not None and s.has_valid_position]
        return Observation(
            now_us=time.monotonic_ns() // 1000,
            is_member=thread.is_member(),
            is_rebalancing=bool(self.app.rebalancing),
            assigned=len(states),
            topics_missing=thread.topics_missing(),
            delivered=self._n_delivered,
            acked=self._n_acked,
            committed=self._n_committed,
            uncommitted=any(
                self._acked_index.get(tp) or self._ledger.settled(tp) != self._committed_offset.get(tp)
                for tp in assigned
            ),
            highwater=sum(s.highwater for s in known),
            lag=sum(s.highwater - s.position for s in known),
            task_error=thread.task_error(),
        )


class Transport(stock.Transport):
    """What Faust finds behind `tminus://`."""

    Consumer: ClassVar[type[Consumer]] = Consumer


def _close(loop: asyncio.AbstractEventLoop) -> None:
    """Close the loop of a thread that never began.

    Left to the end of the interpreter, its sockets may be gone before it is, with a traceback as the last word.
    """
    if not loop.is_running():
        loop.close()
