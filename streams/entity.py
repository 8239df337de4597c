"""The entity stage: Faust agents that feed partition groups and carry out their effects.

Partition n of every topic belongs to one worker, which owns group n: its state, its place in the lake, its outputs.
State is restored from the lake at each assignment and the logs are read on from its own fences; the group's committed
offsets are only a hint.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
from faust.types import TP

from features.definitions import Definitions
from features.keys import partition_of
from streams import stage
from streams.broker.admin import append_time_topics, end_offsets, partition_counts
from streams.lake.snapshots import load
from streams.lake.writer import LakeWriter
from streams.outbox import Outbox, Outgoing
from streams.pipeline.effects import Effects
from streams.pipeline.entity import EntityPartition
from streams.topics import by_topic
from streams.transport.app import make_app, run_app
from streams.transport.packed import read_packed
from streams.transport.records import RawFetch, UndecodableBatchError, iter_records
from streams.transport.settings import Hooks
from streams.units import TEND_EVERY_S, Unit
from streams.warm import warm
from streams.wire.decoders import decoder_of
from streams.wire.forwarding import marker_header, origin_header
from streams.wire.logs import Foreign, LogDecoder, Sorted
from streams.wire.outgoing import decode_written
from streams.wire.predictions import PredictionDecoder
from streams.wire.records import Record, Refusal, Rejected
from streams.wire.rows import RowDecoder
from streams.wire.scored import encode_scored

log = logging.getLogger(__name__)

#: How often a forwarder says how far it has read, and how often waiting verdicts are looked at.
MARKER_EVERY_S = 0.5
JUDGE_EVERY_S = 0.05
#: Rows that wait for the lake before a cut is made early.
ROWS_MAX = 262_144


@dataclass(slots=True)
class Log:
    """One consumed log: whose rows it holds, and how they are read."""

    name: str
    topic: str
    partition: int
    source: str | None  # None: witnesses of our own writes
    decoder: LogDecoder[Any] | None
    is_forwarded: bool = False
    is_direct: bool = True  # rows of this partition group may be among them


@dataclass(slots=True)
class Group:
    """One partition group in this worker's hands."""

    partition: int
    state: EntityPartition
    unit: Unit
    logs: dict[str, Log]


class EntityWorker(Hooks):
    """Everything between the transport and the pure world of the entity stage."""

    def __init__(self, definitions: Definitions, place: stage.Place) -> None:
        self.definitions = definitions
        self.place = place
        self.groups: dict[int, Group] = {}
        self.outbox: Outbox | None = None
        self.app: Any = None
        run = definitions.run
        self.written_topic = run.prefix + "written"
        self._source_of = {s.topic: s.name for s in definitions.sources.values()}
        self._forwarded = {by_topic(run.prefix, s): s.name for s in definitions.sources.values()}
        self.topics = [*self._source_of, *self._forwarded, self.written_topic]
        self.counts = partition_counts(place.bootstrap, self.topics, settings=definitions.kafka)
        self.appended = append_time_topics(place.bootstrap, list(self._source_of), settings=definitions.kafka)
        self.scored_partitions = partition_counts(place.bootstrap, [run.prefix + "scored"], settings=definitions.kafka)[
            run.prefix + "scored"
        ]

    # -- ownership ------------------------------------------------------------------------------------------------

    async def on_assigned(self, partitions: frozenset[TP]) -> Mapping[TP, int]:
        """Take over groups: restore each, and say where its logs are to be read on."""
        if self.outbox is None:
            self.outbox = Outbox(
                self.place.bootstrap, prefix=self.definitions.run.prefix, settings=dict(self.definitions.kafka)
            )
        loop = asyncio.get_running_loop()
        ends = await loop.run_in_executor(
            None, partial(end_offsets, self.place.bootstrap, self.topics, settings=self.definitions.kafka)
        )
        fences: dict[TP, int] = {}
        for number in sorted({tp.partition for tp in partitions}):
            mine = [tp for tp in partitions if tp.partition == number]
            group = await loop.run_in_executor(None, self._open, number, mine, ends)
            self.groups[number] = group
            fences |= {TP(g.topic, g.partition): group.state.fences[g.name].next for g in group.logs.values()}
        return fences

    async def on_revoked(self, partitions: frozenset[TP]) -> None:
        """Hand groups over: everything applied is made durable first."""
        for group in list(self.groups.values()):
            await self.cut(group, force=True)
            group.unit.writer.close()
        self.groups.clear()

    def _open(self, number: int, mine: list[TP], ends: dict[tuple[str, int], int]) -> Group:
        writer = LakeWriter(
            self.place.lake,
            f"entity-p{number}",
            group=self.place.group,
            config_digest=self.definitions.digest,
        )
        restored = writer.open()
        state = EntityPartition(self.definitions, number, generation=restored.generation, witnessed=True)
        if restored.snapshot is not None:
            state.restore(load(restored.snapshot))
        logs = {}
        for tp in mine:
            consumed = self._log(tp)
            logs[consumed.name] = consumed
            topic = self.definitions.sources[consumed.source].topic if consumed.source else ""
            state.attach(
                consumed.name,
                consumed.source,
                origins=self.counts[topic] if consumed.is_forwarded else 0,
                resent_below=ends.get((tp.topic, tp.partition), 0),
                is_direct=consumed.is_direct,
                is_appended=topic in self.appended,
            )
            state.fences[consumed.name].told = restored.next.get(consumed.name, 0)
        return Group(number, state, Unit(writer, self.definitions.run.snapshot_every_us), logs)

    def _log(self, tp: TP) -> Log:
        name = f"{tp.topic}/{tp.partition}"
        if tp.topic == self.written_topic:
            return Log(name, tp.topic, tp.partition, None, None)
        is_forwarded = tp.topic in self._forwarded
        source = self.definitions.sources[(self._forwarded if is_forwarded else self._source_of)[tp.topic]]
        # Where the counts differ, no row can be relied on to sit with its entity: all of them travel.
        is_direct = is_forwarded or self.counts[source.topic] == self.definitions.run.partitions
        home = tp.partition if is_direct else -1
        decoder = decoder_of(self.definitions, source, home=home)
        return Log(name, tp.topic, tp.partition, source.name, decoder, is_forwarded, is_direct)

    # -- the walk of one fetch ------------------------------------------------------------------------------------

    async def on_fetch(self, fetch: RawFetch) -> None:
        """One message of the transport: the records of one log from `fetch.start` to `fetch.end`."""
        group = self.groups[fetch.partition]
        consumed = group.logs[f"{fetch.topic}/{fetch.partition}"]
        fence = group.state.fences[consumed.name]
        if fetch.end <= fence.next:
            return
        if fetch.start > fence.next:
            group.state.on_gap(consumed.name, fetch.start)
        records, broken = _read(fetch)
        async with group.unit.turn:
            for part, end in _split(records, fence.next, fence.told, fetch.end):
                await self._apply(group, consumed, part, end, broken if end == fetch.end else [], fetch.fetched_us)
        if group.unit.rows > ROWS_MAX:
            await self.cut(group)

    async def _apply(
        self, group: Group, consumed: Log, records: Sequence[Record], end: int, broken: list[Rejected], received_us: int
    ) -> None:
        if consumed.decoder is None or consumed.source is None:
            effects = self._witnesses(group, consumed, records, end)
            await self._carry_out(group, effects)
            return
        below = group.state.origins.get(consumed.name) if consumed.is_forwarded else None
        found = consumed.decoder.sort(
            records,
            topic=consumed.topic,
            partition=consumed.partition,
            received_us=received_us,
            forwarded_below=below,
        )
        found.rejected += broken
        effects = self._facts(group, consumed, found, end)
        assert self.outbox is not None
        await self.outbox.send([self._forward(consumed.source, f, received_us) for f in found.foreign])
        await self.outbox.dead_letter(found.rejected)
        await self._carry_out(group, effects)

    def _facts(self, group: Group, consumed: Log, found: Sorted[Any], end: int) -> Effects:
        source, decoder = consumed.source, consumed.decoder
        assert source is not None
        if isinstance(decoder, PredictionDecoder):
            return group.state.on_predictions(source, consumed.name, found, decoder.columns(found), end)
        assert isinstance(decoder, RowDecoder)
        return group.state.on_rows(source, consumed.name, found, decoder.columns(found), end)

    def _witnesses(self, group: Group, consumed: Log, records: Sequence[Record], end: int) -> Effects:
        known = []
        for record in records:
            with contextlib.suppress(msgspec.DecodeError):  # not ours: says nothing
                known.append(decode_written(record.value or b""))
        return group.state.on_written(consumed.name, known, end)

    def _forward(self, source: str, foreign: Foreign, received_us: int) -> Outgoing:
        declared = self.definitions.sources[source]
        return Outgoing(
            by_topic(self.definitions.run.prefix, declared),
            foreign.value,
            foreign.entity.encode(),
            foreign.home,
            [origin_header(foreign.origin, received_us), *foreign.headers],
        )

    # -- effects --------------------------------------------------------------------------------------------------

    async def _carry_out(self, group: Group, effects: Effects) -> None:
        """Publish and tell; rows for the lake wait for the next cut."""
        assert self.outbox is not None
        group.unit.note(effects.tables)
        for publication in effects.publications:
            await self.outbox.publish(publication, partition=group.partition, generation=group.state.generation)
        prefix = self.definitions.run.prefix
        scored = [
            Outgoing(
                prefix + "scored", encode_scored(s), s.model.encode(), partition_of(s.model, self.scored_partitions)
            )
            for s in effects.scored
        ]
        leaks = [
            Outgoing(prefix + "verdicts", msgspec.json.encode(leak), f"{leak['model']}/{leak['feature']}".encode())
            for leak in effects.leaks
        ]
        await self.outbox.send(scored + leaks)

    async def cut(self, group: Group, *, force: bool = False) -> None:
        """Make durable what has been applied."""
        assert self.outbox is not None
        state = group.state
        await group.unit.cut(
            self.outbox,
            last=lambda: {"accounting": [state.take_accounts()]},
            fences=lambda: {name: fence.next for name, fence in state.fences.items()},
            state=state.snapshot,
            force=force,
        )

    async def tend(self, group: Group) -> None:
        """Keep the group's part of the lake tidy, and its memory bounded."""
        async with group.unit.turn:
            group.state.forget()
        await group.unit.tend()

    # -- time -----------------------------------------------------------------------------------------------------

    async def every(self, seconds: float, what: Callable[[Group], Awaitable[None]]) -> None:
        """Call `what` for every group in our hands, again and again."""
        while True:
            await asyncio.sleep(seconds)
            for group in list(self.groups.values()):
                if self.groups.get(group.partition) is group:
                    await what(group)

    async def judge(self, group: Group) -> None:
        """Look at idle logs, then give the verdicts that are due."""
        if self.definitions.run.clock == "wall":
            self._see_idle(group)
        async with group.unit.turn:
            effects = group.state.judge()
            if effects.tables or effects.scored:
                await self._carry_out(group, effects)

    def _see_idle(self, group: Group) -> None:
        """A log that was seen read to its end is covered until then, less what a fetch may have taken."""
        margin_us = self.place.fetch_wait_ms * 1000 + self.definitions.run.clock_error_us
        for consumed in group.logs.values():
            tp = TP(consumed.topic, consumed.partition)
            consumer = self.app.consumer
            seen_us = consumer.last_poll_us(tp)
            if seen_us is not None and consumer.highwater(tp) == group.state.fences[consumed.name].next:
                group.state.coverage.reach(consumed.name, seen_us - margin_us)

    async def mark(self, group: Group) -> None:
        """Tell every partition how far this one's rows have been looked at."""
        assert self.outbox is not None
        markers = []
        async with group.unit.turn:  # not between a row's step and its forwarding: the marker would overtake it
            for consumed in group.logs.values():
                if consumed.source is None or consumed.is_forwarded:
                    continue
                declared = self.definitions.sources[consumed.source]
                covered_us = group.state.coverage.reached(consumed.name)
                header = marker_header(consumed.partition, group.state.fences[consumed.name].next, covered_us)
                topic = by_topic(self.definitions.run.prefix, declared)
                markers += [Outgoing(topic, None, None, n, [header]) for n in range(self.definitions.run.partitions)]
            await self.outbox.send(markers)


def _read(fetch: RawFetch) -> tuple[Sequence[Record], list[Rejected]]:
    """The records of a fetch, and what of it was no record at all."""
    packed = read_packed(fetch)
    if packed is not None:
        return packed, []  # type: ignore[return-value]
    records: list[Record] = []
    try:
        records.extend(iter_records(fetch))  # type: ignore[arg-type]
    except UndecodableBatchError as error:
        lost = range(error.first, error.last + 1)
        return records, [
            Rejected(
                fetch.topic, fetch.partition, offset, Refusal.UNDECODABLE, str(error), None, None, [], fetch.fetched_us
            )
            for offset in lost
        ]
    return records, []


def _split(records: Sequence[Record], start: int, told: int, end: int) -> list[tuple[Sequence[Record], int]]:
    """Cut a fetch where the lake's knowledge ends, and drop what lies below the fence."""
    if start >= told or end <= told:
        if not records or records[0].offset >= start:
            return [(records, end)]
        return [([r for r in records if r.offset >= start], end)]
    below = [r for r in records if start <= r.offset < told]
    return [(below, told), ([r for r in records if r.offset >= told], end)]


def main(argv: list[str] | None = None) -> int:
    """Run one worker of the entity stage until it is told to stop."""
    options = stage.arguments("entity", argv)
    stage.set_up_logging()
    definitions = stage.load(options)
    place = stage.place(options, definitions.kafka)
    warm()
    worker = EntityWorker(definitions, place)
    app = make_app(
        f"{place.group}-entity",
        place.bootstrap,
        batch_topics=worker.topics,
        hooks=worker,
        fetch_max_wait_ms=place.fetch_wait_ms,
        leader_sync_delay_ms=place.leader_sync_delay_ms,
        session_timeout_s=place.session_timeout_s,
        heartbeat_interval_s=place.session_timeout_s / 4,
    )
    worker.app = app
    stage.add_agents(app, worker.topics, worker.on_fetch)
    stage.add_task(app, partial(worker.every, JUDGE_EVERY_S, worker.judge))
    stage.add_task(app, partial(worker.every, MARKER_EVERY_S, worker.mark))
    stage.add_task(app, partial(worker.every, definitions.run.commit_every_us / 1e6, worker.cut))
    stage.add_task(app, partial(worker.every, TEND_EVERY_S, worker.tend))
    return run_app(app)


if __name__ == "__main__":
    raise SystemExit(stage.run(main))
