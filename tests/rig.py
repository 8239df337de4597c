"""One installation for a test: topics of its own, real worker processes, a world sent to them, and lakes compared.

Whether something has happened is read from the lake; nothing is assumed to be done after some time.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, KafkaError, Producer, TopicPartition

from features.definitions import Definitions
from streams import replay
from streams.broker.admin import TopicSpec, end_offsets, ensure_topics
from streams.lake.manifest import NoLake
from streams.lake.reader import LakeReader, connect
from streams.settings import load_definitions
from streams.topics import by_topic, topic_specs
from tests.brokers import fresh
from tests.oracles.stage_decoding import Raw
from tests.worlds.generate import CONFIG, FEATURES, LATENESS_US, Shot, _json_value

ROOT = Path(__file__).resolve().parents[1]

#: What two runs over the same logs must agree about, cell by cell.
COMPUTED = {
    "features": "*",
    "verdicts": "* EXCLUDE (revision, generation)",
    "dlq": "* EXCLUDE (ingest_time_us)",  # of what cannot be read, it may be a receive time
    "late": "*",
}


class Rig:
    """Topics, configuration, workers and lake of one test."""

    def __init__(
        self, bootstrap: str, folder: Path, *, broker: Any = None, partitioners: dict[str, str] | None = None,
        counts: dict[str, int] | None = None, **options: Any,
    ) -> None:  # fmt: skip
        self.bootstrap, self.folder = bootstrap, folder
        self.group = fresh("rig")
        self.lake = folder / "lake"
        self.names = {source: f"{source}-{self.group}" for source in ("clicks", "users", "predictions")}
        is_kafka = broker is None
        # The embedded broker gives one record batch per fetch: producers have to make large ones. Their ingest times
        # are then older than the log by the linger, which the clock error has to cover.
        self._linger_ms = 2 if is_kafka else 50
        chosen = {
            "partitions": 4, "clock_error": "20ms" if is_kafka else "200ms", "snapshot_every": "2s",
            "commit_every": "300ms", "horizon": "3s", "lateness": f"{LATENESS_US}us",
            "ingest": "" if is_kafka else 'ingest_time = "at"',
        }  # fmt: skip
        self.config = folder / "tminus.toml"
        text = CONFIG.format(prefix=f"{self.group}.", **self.names, **{**chosen, **options})
        self.config.write_text(text)
        self.definitions: Definitions = load_definitions([self.config], {})
        self.counts = {self.names[s]: n for s, n in (counts or {}).items()}
        self._make_topics(broker)
        self.workers: list[subprocess.Popen[bytes]] = []
        self._partitioners = {"clicks": "murmur2_random", "users": "murmur2_random", "predictions": "murmur2_random"}
        self._partitioners |= partitioners or {}

    def _make_topics(self, broker: Any) -> None:
        specs = [
            TopicSpec(s.name, self.counts.get(s.name, s.partitions), dict(s.config))
            for s in topic_specs(self.definitions)
        ]
        if broker is not None:
            broker.create_topics({s.name: s.partitions for s in specs})
            return
        appended = {"message.timestamp.type": "LogAppendTime", "max.message.bytes": "4000000"}
        inputs = set(self.names.values())
        configs = {s.name: {**s.config, **(appended if s.name in inputs else {})} for s in specs}
        ensure_topics(self.bootstrap, [TopicSpec(s.name, s.partitions, configs[s.name]) for s in specs])

    # -- workers -----------------------------------------------------------------------------------------------------

    def start(self, *, faults: str = "", stage: str = "entity") -> subprocess.Popen[bytes]:
        """One worker process."""
        command = [sys.executable, "-m", f"streams.{stage}", "--config", str(self.config), "--lake", str(self.lake)]
        command += ["--bootstrap", self.bootstrap, "--group", self.group, "--session-timeout", "2"]
        environment = {**os.environ, "TMINUS_FAULTS": faults, "PYTHONUNBUFFERED": "1"}
        with (self.folder / "workers.err").open("ab") as errors:
            worker = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=errors, stderr=errors, start_new_session=True
            )
        self.workers.append(worker)
        return worker

    def alive(self) -> list[subprocess.Popen[bytes]]:
        """Workers that run."""
        return [w for w in self.workers if w.poll() is None]

    def kill(self, worker: subprocess.Popen[bytes]) -> None:
        """kill -9, whether it runs, sleeps or is gone."""
        if worker.poll() is None:
            worker.kill()
        worker.wait()

    def stop(self) -> list[int]:
        """Ask every worker to end; their exit statuses."""
        running = self.alive()
        for worker in running:
            worker.send_signal(signal.SIGTERM)
        return [worker.wait(20) for worker in running]

    def close(self) -> None:
        """Leave nothing running."""
        for worker in self.workers:
            self.kill(worker)

    def errors(self) -> str:
        """What workers said, the end of it."""
        path = self.folder / "workers.err"
        return path.read_text(errors="replace")[-6000:] if path.exists() else ""

    # -- inputs ------------------------------------------------------------------------------------------------------

    def send(self, shots: Iterable[Shot], *, least: int = 0, enough: threading.Event | None = None) -> None:
        """Send all shots, each at its time; returns when all are acknowledged.

        Once `enough` is set, at full speed, and no more than `least` in all.
        """
        producers = {source: self._producer(p) for source, p in self._partitioners.items()}
        begun_us = time.time_ns() // 1000
        failed: list[str] = []

        def told(error: KafkaError | None, _: object) -> None:
            if error is not None:
                failed.append(error.str())

        for number, shot in enumerate(shots):
            wait_us = begun_us + shot.after_us - time.time_ns() // 1000
            is_enough = enough is not None and enough.is_set()
            if is_enough and number >= least:
                break
            if wait_us > 500 and not is_enough:
                producers[shot.source].poll(0)
                time.sleep(wait_us / 1e6)  # the world's own pace
            now_us = time.time_ns() // 1000
            producer = producers[shot.source]
            while True:
                try:
                    producer.produce(self.names[shot.source], shot.value(now_us), shot.key, on_delivery=told)
                    break
                except BufferError:
                    producer.poll(0.05)
            if number % 50 == 0:
                for each in producers.values():
                    each.poll(0)
        assert all(producer.flush(30) == 0 for producer in producers.values())
        assert not failed, failed[:3]

    def sending(
        self, shots: Iterable[Shot], *, least: int = 0, enough: threading.Event | None = None
    ) -> threading.Thread:
        """The same, beside the test."""
        options = {"least": least, "enough": enough}
        thread = threading.Thread(target=self.send, args=[shots], kwargs=options, daemon=True)
        thread.start()
        return thread

    def _producer(self, partitioner: str) -> Producer:
        return Producer(
            {
                "bootstrap.servers": self.bootstrap, "partitioner": partitioner, "log_level": 2,
                "linger.ms": self._linger_ms, "enable.idempotence": True, "message.max.bytes": 4_000_000,
            }
        )  # fmt: skip

    # -- waiting -----------------------------------------------------------------------------------------------------

    def until(self, holds: Callable[[], bool], what: str, within_s: float = 60) -> None:
        """Wait for what other processes do in their own time."""
        end = time.monotonic() + within_s
        while not holds():
            assert self.alive(), f"no worker left, waiting for {what}\n{self.errors()}"
            assert time.monotonic() < end, f"waited {within_s:.0f} s for {what}\n{self.errors()}"
            time.sleep(0.1)

    def next(self) -> dict[tuple[str, int], int]:
        """Next offset of every log, as the lake says."""
        try:
            units = LakeReader(self.lake).next()
        except NoLake:
            return {}
        parted = [(log.rpartition("/"), n) for logs in units.values() for log, n in logs.items()]
        return {(topic, int(partition)): n for (topic, _, partition), n in parted}

    def _ends(self, topics: list[str]) -> dict[tuple[str, int], int]:
        return end_offsets(self.bootstrap, topics)

    def _is_read(self, ends: dict[tuple[str, int], int]) -> bool:
        found = self.next()
        return all(found.get(log, 0) >= end for log, end in ends.items())

    def ready(self) -> None:
        """Wait until every partition group has an owner: rows sent from then on are witnessed as they come."""
        groups = max(self.definitions.run.partitions, *self.counts.values(), 0)
        self.until(lambda: len(self.owners()) >= groups, f"owners of {groups} partition groups")

    def owners(self) -> dict[str, int]:
        """Generation of the owner of each unit."""
        try:
            heads = LakeReader(self.lake).heads()
        except NoLake:
            return {}
        return {unit: head.generation for unit, head in heads.items() if unit.startswith("entity-")}

    def applied(self) -> int:
        """Rows of the inputs that the lake knows of."""
        inputs = set(self.names.values())
        return sum(n for (topic, _), n in self.next().items() if topic in inputs)

    def settle(self, within_s: float = 60) -> None:
        """Wait until everything sent is in the lake, and every prediction has its final verdicts."""
        sources = [s.topic for s in self.definitions.sources.values()]
        by = [by_topic(self.definitions.run.prefix, s) for s in self.definitions.sources.values()]
        for topics in (sources, by, [self.definitions.run.prefix + "written"]):
            ends = self._ends(topics)
            self.until(lambda ends=ends: self._is_read(ends), f"{topics} to be read to {ends}", within_s)
        self.until(self._is_judged, "final verdicts", within_s)

    def _is_judged(self) -> bool:
        told = self.query("SELECT (SELECT count(*) FROM predictions), count(*) FROM verdicts WHERE form = 'exposure'")
        predictions, cells = told[0]
        return bool(cells >= predictions * len(FEATURES))

    # -- reading -----------------------------------------------------------------------------------------------------

    def query(self, sql: str, lake: Path | None = None) -> list[tuple[Any, ...]]:
        """Rows of a query over a lake."""
        with connect(lake or self.lake) as connection:
            return connection.execute(sql).fetchall()

    def table(self, sql: str, lake: Path | None = None) -> pa.Table:
        """The same as an Arrow table."""
        with connect(lake or self.lake) as connection:
            return connection.sql(sql).to_arrow_table()

    def known(self) -> dict[tuple[str, str], list[tuple[int, Any, str]]]:
        """Versions by entity and feature, as `afterthoughts` wants them."""
        found: dict[tuple[str, str], list[tuple[int, Any, str]]] = {}
        for entity, feature, when_us, number, text, name in self.query(
            "SELECT entity, feature, coalesce(visible_from_us, ingest_time_us), value_num, value, id FROM features "
            'ORDER BY "partition", "offset", window_end_us'
        ):
            found.setdefault((entity, feature), []).append((when_us, _json_value(number, text), name))
        return found

    def replay(self, name: str = "replayed") -> Path:
        """One uninterrupted replay over the same topics; its lake."""
        lake = self.folder / name
        replay.run(self.definitions, {}, lake, self.bootstrap)
        return lake

    def differences(self, other: Path) -> dict[str, tuple[int, int]]:
        """Rows that only this lake has, and rows that only the other has, by table."""
        found = {}
        for table, columns in COMPUTED.items():
            ours, theirs = (self.table(f"SELECT {columns} FROM {table}", lake) for lake in (self.lake, other))
            with duckdb.connect() as connection:
                connection.register("ours", ours)
                connection.register("theirs", theirs)
                counts = [
                    connection.execute(f"SELECT count(*) FROM (FROM {a} EXCEPT ALL FROM {b})").fetchall()[0][0]
                    for a, b in (("ours", "theirs"), ("theirs", "ours"))
                ]
            found[table] = (counts[0], counts[1])
        return found

    def logs(self) -> dict[tuple[str, int], list[Raw]]:
        """The raw records of all logs that the entity stage consumes."""
        run = self.definitions.run
        topics = [s.topic for s in self.definitions.sources.values()]
        topics += [by_topic(run.prefix, s) for s in self.definitions.sources.values()] + [run.prefix + "written"]
        return {log: list(_read(self.bootstrap, *log, end)) for log, end in self._ends(topics).items()}

    def declared(self) -> dict[str, Any]:
        """The declarations as the oracle wants them: read from the file, by names of TOML."""
        run = self.definitions.run
        sources = {
            s.name: {
                "topic": s.topic, "by_topic": by_topic(run.prefix, s), "format": s.format,
                "entity_type": s.entity_type, "entity_field": s.entity_field,
                "event_time": s.event_time.field if s.event_time else None,
                "event_unit": s.event_time.unit if s.event_time else None,
                "ingest_time": s.ingest_time.field if s.ingest_time else None,
                "lateness_us": s.lateness_us, "columns": dict(s.kinds),
            }
            for s in self.definitions.sources.values()
        }  # fmt: skip
        features = {
            f.name: {
                "source": f.source, "column": f.column, "aggregate": f.aggregate, "window_us": f.window_us,
                "panes": f.panes, "where": ("page", "health") if f.where else None, "served_from": f.served_from,
                "serving_lag_us": f.serving_lag_us,
            }
            for f in self.definitions.features.values()
        }  # fmt: skip
        models = {
            m.name: {
                "predictions": m.predictions, "entity_type": m.entity_type, "features": list(m.features),
                "join": dict(m.join), "matures_us": m.matures_after_us, "labelled": m.label is not None,
            }
            for m in self.definitions.models.values()
        }  # fmt: skip
        return {
            "partitions": run.partitions, "counts": {s.topic: run.partitions for s in self.definitions.sources.values()}
            | self.counts, "clock_error_us": run.clock_error_us, "history_us": run.history_us,
            "written": run.prefix + "written", "sources": sources, "features": features, "models": models,
        }  # fmt: skip


def _read(bootstrap: str, topic: str, partition: int, end: int) -> Iterator[Raw]:
    """Records of one log up to `end`; control records of transactions are no part of these."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "none", "log_level": 2})
    try:
        consumer.assign([TopicPartition(topic, partition, 0)])
        offset = 0
        until = time.monotonic() + 30
        while offset < end:
            assert time.monotonic() < until, f"{topic}[{partition}]: {offset} of {end} records after 30 s"
            for message in consumer.consume(1000, 0.05):
                assert message.error() is None, message.error()
                assert message.offset() == offset, f"{topic}[{partition}]: a hole before {message.offset()}"
                offset += 1
                if message.offset() < end:
                    kind, stamp_ms = message.timestamp()
                    append_us = stamp_ms * 1000 if kind == TIMESTAMP_LOG_APPEND_TIME else None
                    headers = tuple(message.headers() or ())
                    yield Raw(message.offset(), message.key(), message.value(), headers, append_us)
    finally:
        consumer.close()
