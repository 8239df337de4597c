"""What does one event cost in the entity stage, and how soon is its feature readable in a serving node?

Run it with `python -m benchmarks.entity` (embedded broker) or with `--kafka` (Apache Kafka, started for it). Logs are
lz4 in batches of about 1,000 records, JSON events with 13 fields of which 4 are needed. Measured is the CPU (user and
system, all threads) of a real worker process with lineage, late handling, publishing, witnesses, snapshots and lake on,
from a full log until its lake knows the last offset. In each round the worker is stopped (SIGSTOP) while the log is
filled, so that nobody's production is in its way. Beside it, in the same run: stock Faust, event by event
(`benchmarks.stock_faust`), doing the same job with what people use for it.

Then, at several rates: from just before an event is produced to the moment its feature row is in the view of a serving
node, beside a bare producer-consumer pair on the same broker.

What the figures do not show: a network, replication, the broker's own CPU, and more than one worker. A fetch from
the embedded broker holds one record batch, so at a low linger every fetch brings a record or two; a fetch from Kafka
holds all that has come.
"""

import argparse
import json
import multiprocessing
import os
import platform
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "clients" / "python"))

from tminus_client.features import FeatureView, Rows  # noqa: E402

from streams.broker.admin import TopicSpec, ensure_topics  # noqa: E402
from streams.broker.apache import ApacheKafka  # noqa: E402
from streams.broker.embedded import EmbeddedBroker  # noqa: E402
from streams.clock import now_us  # noqa: E402
from streams.lake.manifest import NoLake  # noqa: E402
from streams.lake.reader import LakeReader, connect  # noqa: E402
from streams.settings import load_definitions  # noqa: E402
from streams.topics import topic_specs  # noqa: E402

Broker = EmbeddedBroker | ApacheKafka
PARTITIONS = 4
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
#: Event time that the logs of all rounds span.
SPAN_US = 300_000_000
CONFIG = """\
[run]
partitions = 4
prefix = "{prefix}"

[source.clicks]
topic = "{topic}"
entity = {{ user = "user_id" }}
event_time = {{ field = "ts", unit = "us" }}
lateness = "5s"

[feature.clicks_60s]
source = "clicks"
aggregate = "count"
window = "60s"
panes = 6
where = "page <> 'health'"

[feature.amount_60s]
source = "clicks"
aggregate = "mean"
column = "amount"
window = "60s"
panes = 6
where = "page <> 'health'"
"""
#: How the ids of entities begin whose first row is waited for.
NEW = "new"
PAGES = ("home", "search", "offer", "basket", "health")
AGENTS = tuple(f"Mozilla/5.0 (X11; Linux x86_64; rv:{n}.0) Gecko/20100101" for n in range(90, 130))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.entity")
    parser.add_argument("--kafka", action="store_true", help="Apache Kafka instead of the embedded broker")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--events", type=int, default=160_000, help="in each round; 5 MiB fit into a partition")
    parser.add_argument("--stock-events", type=int, default=30_000, help="in each round of stock Faust")
    parser.add_argument("--keys", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--rates", type=int, nargs="*", default=[500, 2_000, 5_000], help="events a second")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each rate")
    options = parser.parse_args()
    names = ("faust-streaming", "aiokafka", "confluent-kafka", "msgspec", "pyarrow", "numba")
    print(f"CPython {platform.python_version()}, " + ", ".join(f"{n} {version(n)}" for n in names))
    kind = "Apache Kafka" if options.kafka else "embedded broker"
    print(f"{kind}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f} (of a busy machine, figures are too high)")
    with begin(options.kafka) as broker:
        measure(broker, options)


def measure(broker: Broker, options: argparse.Namespace) -> None:
    """All figures."""
    for keys in options.keys:
        with system(broker, f"k{keys}") as (prefix, lake, worker):
            ours = throughput(broker, prefix, lake, worker, keys, options.rounds, options.events)
        stock = {p: stock_faust(broker, keys, options.stock_events, publish=p) for p in (False, True)}
        print(f"{keys} entities: {ours:.2f} us/event; stock Faust without publishing {stock[False]:.0f} us")
        print(f"    ({stock[False] / ours:.0f} times), publishing with topic.send {stock[True]:.0f} us")
    for rate in options.rates:
        with system(broker, f"r{rate}") as (prefix, _, _):
            latency(broker, prefix, rate, options.seconds)


# -- CPU per event ----------------------------------------------------------------------------------------------------


def throughput(broker: Broker, prefix: str, lake: Path, worker: int, keys: int, rounds: int, events: int) -> float:
    """Median microseconds of CPU per event over all rounds; the first one only warms up."""
    random.seed(1)
    found = []
    topic = clicks(prefix)
    begin_us = now_us() - SPAN_US
    sizes = 0
    sent = [applied(lake).get((topic, partition), 0) for partition in range(PARTITIONS)]
    for number in range(rounds + 1):
        values = list(batch(events, keys, begin_us + SPAN_US * number // (rounds + 1), SPAN_US // (rounds + 1)))
        sizes = sum(len(v) for _, v in values) // events
        os.kill(worker, signal.SIGSTOP)
        try:
            for partition, n in enumerate(fill(broker.bootstrap, topic, values)):
                sent[partition] += n
        finally:
            begun_s, begun = time.monotonic(), cpu_s(worker)
            os.kill(worker, signal.SIGCONT)
        wait_for(lambda: knows(lake, topic, sent), f"round {number}")
        took_s = time.monotonic() - begun_s
        if number:
            found.append((cpu_s(worker) - begun) / events * 1e6)
            print(f"  round {number}: {found[-1]:.2f} us/event, {events / took_s:,.0f} events/s until in the lake")
    time.sleep(1)
    begun = cpu_s(worker)
    time.sleep(3)
    print(f"  idle {(cpu_s(worker) - begun) / 3:.1%} of a CPU; {events} events of {sizes} B in each round")
    with connect(lake) as connection:
        told = connection.execute("SELECT count(*), count(DISTINCT entity) FROM features").fetchall()[0]
        counts = connection.execute("SELECT sum(applied), sum(gap), sum(late) FROM accounting").fetchall()[0]
    print(f"  {told[0]:,} versions of {told[1]:,} entities; applied, gaps, late: {counts}")
    return statistics.median(found)


def batch(events: int, keys: int, begin_us: int, span_us: int) -> Iterator[tuple[bytes, bytes]]:
    """Key and value of events whose times rise over `span_us`."""
    choose = random.randrange
    for i in range(events):
        user = f"u{choose(keys):06d}"
        yield user.encode(), event(user, begin_us + i * span_us // events, i)


def event(user: str, ts: int, i: int) -> bytes:
    """A JSON event of about 310 bytes with 13 fields, one of them an object."""
    chance = random.random()
    return (
        f'{{"event_id":"{ts:x}{i:08x}","ts":{ts},"user_id":"{user}","session":"{i * 2654435761 & 0xFFFFFFFF:08x}",'
        f'"page":"{PAGES[i % 5]}","amount":{chance * 100:.2f},"currency":"EUR","country":"DE","device":"mobile",'
        f'"agent":"{AGENTS[i % 40]}","geo":{{"lat":{48 + chance:.4f},"lon":{11 + chance:.4f}}},"ab":["a","b"],'
        f'"ok":true}}'
    ).encode()


def fill(bootstrap: str, topic: str, values: list[tuple[bytes, bytes]]) -> list[int]:
    """Produce all; how many came to each partition."""
    sent = [0] * PARTITIONS
    failed: list[Any] = []

    def told(error: Any, message: Any) -> None:
        if error is not None:
            failed.append(error)
        else:
            sent[message.partition()] += 1

    producer = Producer(
        {
            "bootstrap.servers": bootstrap, "compression.type": "lz4", "linger.ms": 1000, "batch.num.messages": 1000,
            "partitioner": "murmur2_random", "queue.buffering.max.messages": 1_000_000, "log_level": 2,
        }
    )  # fmt: skip
    for key, value in values:
        producer.produce(topic, value, key, on_delivery=told)
        producer.poll(0)
    producer.flush(30)
    assert not failed, failed[:1]
    assert sum(sent) == len(values)
    return sent


def stock_faust(broker: Broker, keys: int, events: int, *, publish: bool) -> float:
    """Microseconds of CPU per event of stock Faust; the better of two rounds after one that warms up."""
    prefix = f"stock{keys}{publish}."
    with tempfile.TemporaryDirectory() as folder:
        create(broker, {prefix + "clicks": PARTITIONS, prefix + "features": PARTITIONS})
        command = [sys.executable, "-m", "benchmarks.stock_faust", broker.bootstrap, folder, prefix]
        process = subprocess.Popen([*command, *(["--publish"] if publish else [])], cwd=ROOT)
        done = Path(folder, "count")
        found, total = [], 0
        try:
            for number in range(3):
                size = events if number else 2_000
                total += size
                values = list(batch(size, keys, now_us(), 20_000_000))
                if number:
                    os.kill(process.pid, signal.SIGSTOP)
                fill(broker.bootstrap, prefix + "clicks", values)
                begun = cpu_s(process.pid)
                os.kill(process.pid, signal.SIGCONT)
                wait_for(lambda total=total: done.exists() and int(done.read_text() or 0) >= total, "stock Faust", 120)  # type: ignore[misc]
                if number:
                    found.append((cpu_s(process.pid) - begun) / size * 1e6)
        finally:
            process.terminate()
            process.wait()
    return min(found)


# -- latency ----------------------------------------------------------------------------------------------------------


class Noticed(Rows):
    """Rows of a feature view that note when each entity was there first."""

    def __init__(self) -> None:
        super().__init__(["user"], None)
        self.ms: dict[str, float] = {}

    def apply(self, key: bytes | None, value: bytes | None) -> bool:
        """Apply, then look at the clock."""
        is_new = super().apply(key, value)
        at_us = now_us()
        _, entity, _ = json.loads(key or b"")
        if entity.startswith(NEW) and entity not in self.ms:
            sent_us = json.loads(value or b"")["values"]["clicks_60s"]["event_time_us"]
            self.ms[entity] = (at_us - sent_us) / 1e3
        return is_new


def latency(broker: Broker, prefix: str, rate: int, seconds: float) -> None:
    """From producing an event to its row in the view, beside a bare pair."""
    # The embedded broker sleeps a whole wait after an empty look.
    settings = {
        "bootstrap.servers": broker.bootstrap, "group.id": "bench", "log_level": 2,
        "fetch.wait.max.ms": 5 if isinstance(broker, EmbeddedBroker) else 100,
        "fetch.error.backoff.ms": 50, "enable.partition.eof": True,
    }  # fmt: skip
    view = FeatureView(prefix=prefix, consumer=Consumer(settings))
    view.rows = noticed = Noticed()
    pace(broker, clicks(prefix), rate, seconds, lambda: view.poll(0.05))
    reader = Consumer(settings)
    create(broker, {prefix + "bare": PARTITIONS})
    reader.assign([TopicPartition(prefix + "bare", p, 0) for p in range(PARTITIONS)])
    bare: list[float] = []

    def look() -> None:
        for message in reader.consume(1, 0.05):
            if message.error() is None:
                bare.append((now_us() - json.loads(message.value() or b"")["ts"]) / 1e3)

    pace(broker, prefix + "bare", rate, seconds, look)
    view.close()
    reader.close()
    ms = list(noticed.ms.values())
    print(f"{rate} events/s: event -> readable in the feature view {shown(ms)}; {len(ms)} events")
    print(f"    bare producer -> consumer {shown(bare)}")


def pace(broker: Broker, topic: str, rate: int, seconds: float, look: Callable[[], object]) -> None:
    """Look on while another process produces."""
    sender = multiprocessing.get_context("spawn").Process(target=produce, args=(broker.bootstrap, topic, rate, seconds))
    sender.start()
    while sender.is_alive():
        look()
    until = time.monotonic() + 1
    while time.monotonic() < until:
        look()
    assert sender.exitcode == 0


def produce(bootstrap: str, topic: str, rate: int, seconds: float) -> None:
    """Events of ever new entities, stamped as they leave, in steps of a millisecond."""
    producer = Producer(
        {"bootstrap.servers": bootstrap, "linger.ms": 1, "compression.type": "lz4", "partitioner": "murmur2_random"}
    )
    begun, i = time.monotonic(), 0
    while (passed := time.monotonic() - begun) < seconds:
        while i < passed * rate:
            user = f"{NEW}{i:06d}"
            producer.produce(topic, event(user, now_us(), 5 * i), user.encode())
            i += 1
        producer.poll(0)
        time.sleep(0.001)
    producer.flush(10)


# -- what both need ---------------------------------------------------------------------------------------------------


def begin(kafka: bool) -> Broker:
    """A broker of that kind, to be entered."""
    return ApacheKafka() if kafka else EmbeddedBroker()


def create(broker: Broker, topics: dict[str, int]) -> None:
    """Topics by name and partitions."""
    if isinstance(broker, EmbeddedBroker):
        broker.create_topics(topics)
    else:
        ensure_topics(broker.bootstrap, [TopicSpec(name, n, {}) for name, n in topics.items()])


@contextmanager
def system(broker: Broker, name: str) -> Iterator[tuple[str, Path, int]]:
    """One worker of the entity stage that has its partitions: prefix, lake and process id."""
    prefix = f"bench.{name}."
    with tempfile.TemporaryDirectory() as folder:
        config, lake = Path(folder, "tminus.toml"), Path(folder, "lake")
        config.write_text(CONFIG.format(prefix=prefix, topic=clicks(prefix)))
        specs = topic_specs(load_definitions([config], {}))
        create(broker, {s.name: s.partitions for s in specs})
        command = [sys.executable, "-m", "streams.entity"]
        command += ["--config", str(config), "--lake", str(lake), "--bootstrap", broker.bootstrap, "--group", prefix]
        worker = subprocess.Popen(command, cwd=ROOT)
        try:
            # Values long gone by warm every kernel up.
            fill(broker.bootstrap, clicks(prefix), list(batch(400, 50, now_us() - 4 * SPAN_US, 1_000_000)))
            wait_for(lambda: sum(applied(lake).values()) >= 400, "an assignment")
            yield prefix, lake, worker.pid
        finally:
            worker.terminate()
            worker.wait()


def clicks(prefix: str) -> str:
    """The input topic; names that begin with the prefix belong to the installation."""
    return f"in-{prefix}clicks"


def knows(lake: Path, topic: str, sent: list[int]) -> bool:
    """Does the lake know the end of every log?"""
    found = applied(lake)
    return all(found.get((topic, partition), 0) >= n for partition, n in enumerate(sent))


def applied(lake: Path) -> dict[tuple[str, int], int]:
    """Next offset of every input log, as the lake says."""
    try:
        units = LakeReader(lake).next()
    except NoLake:
        return {}
    parts = [(log.rpartition("/"), n) for logs in units.values() for log, n in logs.items()]
    return {(topic, int(partition)): n for (topic, _, partition), n in parts if topic.startswith("in-")}


def wait_for(holds: Callable[[], bool], what: str, within_s: float = 60) -> None:
    """Look every 20 ms."""
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, f"waited {within_s:.0f} s for {what}"
        time.sleep(0.02)


def cpu_s(pid: int) -> float:
    """User and system seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


def shown(ms: list[float]) -> str:
    """Median and p99."""
    cuts = statistics.quantiles(ms, n=100)
    return f"p50 {statistics.median(ms):.1f} ms, p99 {cuts[98]:.1f} ms"


if __name__ == "__main__":
    main()
