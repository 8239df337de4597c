"""The same pipeline over recorded logs, on a clock driven by the data.

Rows are merged by (ingest time, source, partition, offset): the walk goes from instant to instant; up to each, every
log gives its rows, then all of them are covered until there, and what is due is judged. Nothing of the wall clock
enters, so two runs over the same logs write the same bytes.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from features.definitions import Definitions, Source
from features.times import NEVER_US
from monitors.verdicts import Finding
from streams.broker.admin import append_time_topics, begin_offsets, describe_topics, end_offsets
from streams.inputs import InputError, RecordedLog, file_log, kafka_log
from streams.lake.sql import query
from streams.lake.writer import LakeWriter
from streams.pipeline.effects import Effects
from streams.pipeline.entity import EntityPartition
from streams.pipeline.model import ModelPartition
from streams.pipeline.rows import findings as finding_rows
from streams.topics import by_topic
from streams.wire.decoders import decoder_of
from streams.wire.forwarding import origin_header
from streams.wire.logs import Foreign, LogDecoder, Sorted
from streams.wire.outgoing import Written, decode_written
from streams.wire.predictions import PredictionDecoder
from streams.wire.records import AT_ITS_OWN_TIME, PlainRecord
from streams.wire.rows import RowDecoder

#: Rows held for the lake before they are committed: a function of the input alone, so segments repeat.
COMMIT_ROWS = 1_000_000
UNIT = "replay"

Progress = Callable[[str, int], None]


@dataclass(slots=True)
class Summary:
    """What a replay did, for people."""

    rows: int = 0
    predictions: int = 0
    dead_letters: int = 0
    late: int = 0
    verdicts: dict[str, int] = field(default_factory=dict)  # served form, last revision: "feature verdict" -> cells
    findings: list[Finding] = field(default_factory=list)


@dataclass(slots=True)
class _Part:
    """A decoded stretch of one log, with the instant at which each of its rows arrives."""

    found: Any
    batches: dict[str, pa.RecordBatch]  # by model; "" for rows of a source
    written: list[tuple[int, Written]]
    offsets: np.ndarray[Any, np.dtype[np.int64]]
    arrivals: np.ndarray[Any, np.dtype[np.int64]]  # never falling
    end: int


class _Feed:
    """One recorded log on its way into one partition group."""

    def __init__(
        self, name: str, recorded: RecordedLog, source: Source | None, decoder: LogDecoder[Any] | None
    ) -> None:
        self.name = name
        self.recorded = recorded
        self.source = source
        self.decoder = decoder
        self.is_forwarded = False
        self.newest: dict[int, int] = {}
        self._chunks = recorded.chunks()
        self._last_us = NEVER_US
        self.part: _Part | None = None
        self.is_ended = False

    def ready(self) -> bool:
        """Have a stretch at hand; False at the end of the log."""
        while self.part is None and not self.is_ended:
            records = next(self._chunks, None)
            if records is None:
                self.is_ended = True
            else:
                self.part = self._decode(records)
        return self.part is not None

    def last_us(self) -> int:
        """The arrival of the last row at hand."""
        assert self.part is not None
        return int(self.part.arrivals[-1]) if len(self.part.arrivals) else self._last_us

    def take(self, until_us: int) -> _Part | None:
        """The rows at hand that arrive until `until_us`."""
        part = self.part
        if part is None:
            return None
        n = int(np.searchsorted(part.arrivals, until_us, side="right"))
        if n == len(part.arrivals):
            self.part = None
            return part
        if not n:
            return None
        cut = int(part.offsets[n])
        below, rest = part.found.split(cut)
        first = {m: b.filter(pa.array(b.column("offset").to_numpy() < cut)) for m, b in part.batches.items()}
        second = {m: b.slice(first[m].num_rows) for m, b in part.batches.items()}
        told = [w for w in part.written if w[0] < cut]
        self.part = _Part(rest, second, part.written[len(told) :], part.offsets[n:], part.arrivals[n:], part.end)
        return _Part(below, first, told, part.offsets[:n], part.arrivals[:n], cut)

    def _decode(self, records: list[PlainRecord]) -> _Part:
        end = records[-1].offset + 1
        if self.decoder is None:
            return self._witnesses(records, end)
        found = self.decoder.sort(
            records,
            topic=self.recorded.topic,
            partition=self.recorded.partition,
            received_us=AT_ITS_OWN_TIME,
            forwarded_below=self.newest if self.is_forwarded else None,
        )
        self.newest = found.newest_origin
        if isinstance(self.decoder, PredictionDecoder):
            batches = self.decoder.columns(found)
        else:
            assert isinstance(self.decoder, RowDecoder)
            batches = {"": self.decoder.columns(found)}
        offsets = np.concatenate([b.column("offset").to_numpy() for b in batches.values()] or [np.empty(0, np.int64)])
        ingest = np.concatenate(
            [b.column("ingest_time_us").to_numpy() for b in batches.values()] or [np.empty(0, np.int64)]
        )
        order = np.argsort(offsets, kind="stable")
        return _Part(found, batches, [], offsets[order], self._arrivals(ingest[order]), end)

    def _witnesses(self, records: list[PlainRecord], end: int) -> _Part:
        told = []
        for record in records:
            try:
                told.append((record.offset, decode_written(record.value or b"")))
            except msgspec.DecodeError:
                continue  # not ours: says nothing
        arrivals = self._arrivals(np.array([w.acked_us for _, w in told], np.int64))
        return _Part(Sorted(), {}, told, np.array([o for o, _ in told], np.int64), arrivals, end)

    def _arrivals(self, ingest_us: np.ndarray[Any, np.dtype[np.int64]]) -> np.ndarray[Any, np.dtype[np.int64]]:
        """A log is read in its order: nothing arrives before what stands in front of it."""
        arrivals = np.maximum.accumulate(np.maximum(ingest_us, self._last_us)) if len(ingest_us) else ingest_us
        if len(arrivals):
            self._last_us = int(arrivals[-1])
        return arrivals.astype(np.int64)


class _Group:
    """One partition group of the replayed entity stage and the feeds into it."""

    def __init__(self, state: EntityPartition, feeds: list[_Feed]) -> None:
        self.state = state
        # Predictions first: what is told about a change names the read before it.
        self.feeds = sorted(feeds, key=lambda feed: not isinstance(feed.decoder, PredictionDecoder))

    def step(self, until_us: int) -> Effects:
        """Everything that arrives until `until_us`."""
        effects = Effects()
        for feed in self.feeds:
            while feed.ready():
                part = feed.take(until_us)
                if part is None:
                    break
                effects.extend(self._apply(feed, part))
                if feed.part is not None:
                    break
            self.state.coverage.reach(feed.name, until_us)
        return effects

    def _apply(self, feed: _Feed, part: _Part) -> Effects:
        fence = self.state.fences[feed.name]
        if part.end <= fence.next:
            return Effects()
        if feed.source is None:
            return self.state.on_written(feed.name, [w for _, w in part.written], part.end)
        if isinstance(feed.decoder, PredictionDecoder):
            return self.state.on_predictions(feed.source.name, feed.name, part.found, part.batches, part.end)
        return self.state.on_rows(feed.source.name, feed.name, part.found, part.batches[""], part.end)


def run(
    definitions: Definitions,
    files: dict[str, list[Path]],
    lake: Path,
    bootstrap: str | None,
    progress: Progress | None = None,
) -> Summary:
    """Replay recorded logs into a new lake.

    Parameters
    ----------
    files
        By source name; empty: the topics on `bootstrap` are read, up to the ends found now.
    lake
        A folder without a lake in it.

    Raises
    ------
    InputError
        A source has no file, a file cannot be read, a topic tells no ingest time, or the lake is not empty.
    """
    if (lake / "_commits").exists():
        raise InputError(f"{lake}: expected a folder without a lake, found one; a replay writes a new lake")
    run_ = msgspec.structs.replace(definitions.run, clock="data", partitions=1 if files else definitions.run.partitions)
    definitions = msgspec.structs.replace(definitions, run=run_)
    groups = _from_files(definitions, files) if files else _from_kafka(definitions, bootstrap)
    writer = LakeWriter(lake, UNIT, "replay", definitions.digest, now_us=lambda: 0)
    writer.open()
    try:
        summary = _walk(definitions, groups, writer, progress)
    finally:
        writer.close()
    counted = query(
        lake, "SELECT feature, verdict, count(*) FROM verdicts WHERE form = 'served' GROUP BY ALL ORDER BY ALL"
    )
    summary.verdicts = {f"{feature} {verdict}": n for feature, verdict, n in counted.rows}
    return summary


def _walk(definitions: Definitions, groups: list[_Group], writer: LakeWriter, progress: Progress | None) -> Summary:
    summary = Summary()
    models = ModelPartition(definitions)
    feeds = [feed for group in groups for feed in group.feeds]
    for until_us in _instants(feeds):
        for group in groups:
            effects = group.step(until_us)
            effects.extend(group.state.judge())
            _deliver(effects, models, writer, summary, group)
        if progress is not None:
            progress("rows", summary.rows + summary.predictions)
    for group in groups:
        _deliver(group.state.close(), models, writer, summary, group)
        writer.append("accounting", group.state.take_accounts())
    writer.commit({f.name: g.state.fences[f.name].next for g in groups for f in g.feeds})
    return summary


def _instants(feeds: list[_Feed]) -> Iterator[int]:
    """Instants up to which every log has its rows at hand, rising."""
    while True:
        alive = [feed for feed in feeds if feed.ready()]
        if not alive:
            return
        yield min(feed.last_us() for feed in alive)


def _deliver(effects: Effects, models: ModelPartition, writer: LakeWriter, summary: Summary, group: _Group) -> None:
    for scored in effects.scored:
        found = models.on_scored(scored)
        summary.findings += found.findings
        effects.add("findings", finding_rows(found.findings))
        for table, batches in found.tables.items():
            for batch in batches:
                effects.add(table, batch)
    _count(effects, summary)
    for table, batches in effects.tables.items():
        for batch in batches:
            writer.append(table, batch)
    if writer.pending_rows > COMMIT_ROWS:
        writer.commit({f.name: group.state.fences[f.name].next for f in group.feeds})
        group.state.forget()


def _count(effects: Effects, summary: Summary) -> None:
    sizes = {table: sum(b.num_rows for b in batches) for table, batches in effects.tables.items()}
    summary.rows += sizes.get("features", 0)
    summary.predictions += sizes.get("predictions", 0)
    summary.dead_letters += sizes.get("dlq", 0)
    summary.late += sizes.get("late", 0)


def _from_files(definitions: Definitions, files: dict[str, list[Path]]) -> list[_Group]:
    unknown = sorted(set(files) - set(definitions.sources))
    if unknown:
        raise InputError(f"--source {unknown[0]}: expected one of {', '.join(definitions.sources)}")
    state = EntityPartition(definitions, 0, generation=1, witnessed=False, is_live=False)
    feeds = []
    for name in definitions.sources:
        if name not in files:
            continue
        source = definitions.sources[name]
        feed = _Feed(
            f"{source.topic}/0", file_log(source.topic, files[name]), source, decoder_of(definitions, source, home=None)
        )
        state.attach(feed.name, name)
        feeds.append(feed)
    return [_Group(state, feeds)]


def _from_kafka(definitions: Definitions, bootstrap: str | None) -> list[_Group]:
    if bootstrap is None:
        raise InputError("expected --source NAME=FILE for files, or --bootstrap for a broker; found neither")
    settings = dict(definitions.kafka)
    written = definitions.run.prefix + "written"
    by_topics = {by_topic(definitions.run.prefix, s): s for s in definitions.sources.values()}
    present = set(describe_topics(bootstrap, [*by_topics, written], settings=settings))
    topics = [s.topic for s in definitions.sources.values()] + sorted(present)
    ends = end_offsets(bootstrap, topics, settings=settings)
    begins = begin_offsets(bootstrap, topics, settings=settings)
    appended = _check_ingest(definitions, bootstrap, settings)
    counts = Counter(topic for topic, _ in ends)
    logs = {
        key: RecordedLog(key[0], key[1], partial(_chunks, bootstrap, key, begins[key], end, settings), end)
        for key, end in ends.items()
    }
    # Rows of several origins stand in one log, those of a slow one behind later ones of the others: only the markers
    # in it tell how far each has come.
    marked = set(by_topics)
    for topic, source in by_topics.items():
        if not any(ends.get((topic, n), 0) for n in range(definitions.run.partitions)):
            mine = [logs[source.topic, n] for n in range(counts[source.topic])]
            logs |= _forwarded(definitions, source, topic, mine)  # the stage never ran: forward what it would have
            marked.discard(topic)  # in order of arrival, without markers
    witnessed = any(end for (topic, _), end in ends.items() if topic == written)
    groups = []
    for number in sorted({partition for _, partition in logs}):
        state = EntityPartition(definitions, number, generation=1, witnessed=witnessed, is_live=False)
        feeds = []
        for (topic, partition), recorded in logs.items():
            if partition == number:
                source_ = by_topics.get(topic) or next(
                    (s for s in definitions.sources.values() if s.topic == topic), None
                )
                feed = _attach(definitions, state, recorded, source_, counts, is_forwarded=topic in by_topics)
                if source_ is not None and source_.topic in appended:
                    state.appended.add(feed.name)
                if source_ is not None and topic in marked:
                    state.coverage.expect(feed.name, counts[source_.topic])
                feeds.append(feed)
        groups.append(_Group(state, feeds))
    return groups


def _attach(
    definitions: Definitions,
    state: EntityPartition,
    recorded: RecordedLog,
    source: Source | None,
    counts: Mapping[str, int],
    *,
    is_forwarded: bool,
) -> _Feed:
    """A feed of one log into a group; source None: our own witnesses."""
    name = f"{recorded.topic}/{recorded.partition}"
    if source is None:
        state.attach(name, None)
        return _Feed(name, recorded, None, None)
    is_direct = is_forwarded or counts[source.topic] == definitions.run.partitions
    home = recorded.partition if is_direct else -1
    feed = _Feed(name, recorded, source, decoder_of(definitions, source, home=home))
    feed.is_forwarded = is_forwarded
    state.attach(name, source.name, is_direct=is_direct)
    if is_forwarded:
        state.origins[name] = {}
    return feed


def _forwarded(
    definitions: Definitions, source: Source, topic: str, logs: list[RecordedLog]
) -> dict[tuple[str, int], RecordedLog]:
    """The logs of forwarded rows that the entity stage would have written, in order of arrival."""
    found: dict[int, list[Foreign]] = {n: [] for n in range(definitions.run.partitions)}
    for recorded in logs:
        home = recorded.partition if len(logs) == definitions.run.partitions else -1
        decoder = decoder_of(definitions, source, home=home)
        for chunk in recorded.chunks():
            sorted_ = decoder.sort(
                chunk, topic=recorded.topic, partition=recorded.partition, received_us=AT_ITS_OWN_TIME
            )
            for foreign in sorted_.foreign:
                found[foreign.home].append(foreign)
    return {(topic, home): RecordedLog(topic, home, partial(_travelled, rows)) for home, rows in found.items()}


def _travelled(rows: list[Foreign]) -> Iterator[list[PlainRecord]]:
    rows = sorted(rows, key=lambda f: (f.ingest_time_us, f.origin.partition, f.origin.offset))
    if rows:
        yield [
            PlainRecord(i, f.value, f.entity.encode(), headers=[origin_header(f.origin, f.ingest_time_us), *f.headers])
            for i, f in enumerate(rows)
        ]


def _chunks(bootstrap: str, key: tuple[str, int], begin: int, end: int, settings: dict[str, str]) -> Any:
    return kafka_log(bootstrap, key[0], key[1], begin, end, settings).chunks() if end > begin else iter(())


def _check_ingest(definitions: Definitions, bootstrap: str, settings: dict[str, str]) -> set[str]:
    """Every source must say when its rows reached us, else their order would be invented; topics with append times."""
    sources = definitions.sources.values()
    stamped = append_time_topics(bootstrap, [s.topic for s in sources], settings=settings)
    for source in sources:
        if source.ingest_time is None and source.topic not in stamped:
            raise InputError(
                f"source {source.name}: a replay from a broker needs its ingest time: declare ingest_time, "
                f"or give the topic {source.topic} message.timestamp.type=LogAppendTime"
            )
    return stamped
