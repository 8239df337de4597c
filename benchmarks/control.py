"""How long from a finding to the safe default on every node, and what does asking the switch cost?

Run it with `python -m benchmarks.control` (embedded broker) or `--bootstrap HOST:PORT` (topics of a fresh prefix are
created there). One controller process, two serving nodes in processes of their own that idle; each round breaches one
model of many that nobody breached before, so every round is a real transition. Times are the wall clocks of one host:
from just before the finding is produced to the `effective_us` of the receipt. A bare producer-consumer pair on the same
broker is measured in turns with it.

What the figures do not show: a busy Python server sees a thread's flip up to one switch interval (5 ms) late.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import confluent_kafka
from confluent_kafka import Consumer, Producer, TopicPartition

ROOT = Path(__file__).parents[1]
GUEST = ROOT / "clients" / "python"
sys.path.insert(0, str(GUEST))

from tminus_client.switch import Switch  # noqa: E402

from streams import signing  # noqa: E402
from streams.broker.admin import TopicSpec, ensure_topics  # noqa: E402
from streams.broker.embedded import EmbeddedBroker  # noqa: E402
from streams.clock import now_us  # noqa: E402
from streams.control import records  # noqa: E402
from streams.control.records import Finding  # noqa: E402

NODES = 2
TOPICS = ("control", "heartbeat", "receipts", "findings", "alerts", "bare")
NODE = """
import sys, time
from tminus_client import Switchboard
bootstrap, keys, prefix, node, folder, wait = sys.argv[1:]
board = Switchboard(bootstrap, keys, environment="bench", node=node, prefix=prefix, state_dir=folder,
                    fetch_wait_ms=int(wait))
sys.stdin.read()
"""


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.control")
    parser.add_argument("--bootstrap")
    parser.add_argument("--rounds", type=int, default=300)
    options = parser.parse_args()
    print(f"CPython {platform.python_version()}, confluent-kafka {confluent_kafka.version()}, {os.cpu_count()} CPUs")
    switch_reads()
    if options.bootstrap:
        path(options.bootstrap, options.rounds, embedded=None)
    else:
        with EmbeddedBroker() as broker:
            path(broker.bootstrap, options.rounds, embedded=broker)


def switch_reads() -> None:
    """Nanoseconds of one read, the loop around it taken off."""
    hold, lease = Switch("a", "x"), Switch("b", "x", "fallback", 60.0)
    hold.command(live=True)
    lease.command(live=True)
    n = 1_000_000
    empty = min(timeit.repeat("pass", number=n, repeat=9))
    for name, switch in (("hold", hold), ("lease", lease)):
        read = min(timeit.repeat("s.live", globals={"s": switch}, number=n, repeat=9))
        print(f"switch read, on_silence={name}: {(read - empty) / n * 1e9:.0f} ns")
    protected = lease.protect(lambda: 1)
    call = min(timeit.repeat("f()", globals={"f": protected}, number=n // 10, repeat=5))
    print(f"protected call: {call / (n // 10) * 1e9:.0f} ns")


def path(bootstrap: str, rounds: int, *, embedded: EmbeddedBroker | None) -> None:
    """Finding to receipt, beside a bare pair."""
    prefix, wait = f"bench{os.getpid()}.", "5" if embedded else "100"
    if embedded:
        embedded.create_topics({prefix + name: 1 for name in TOPICS})
    else:
        ensure_topics(bootstrap, [TopicSpec(prefix + name, 1) for name in TOPICS])
    with tempfile.TemporaryDirectory() as folder, system(bootstrap, prefix, Path(folder), rounds, wait):
        finding_to_receipt, bare = measure(bootstrap, prefix, rounds, wait)
    kind = "embedded broker" if embedded else bootstrap
    print(f"{kind}, {rounds} rounds, {NODES} nodes, fetch wait {wait} ms")
    print(f"finding -> effective on every node: {shown(finding_to_receipt)}")
    print(f"bare producer -> consumer:          {shown(bare)}")


@contextmanager
def system(bootstrap: str, prefix: str, folder: Path, rounds: int, wait: str) -> Iterator[None]:
    """A controller and serving nodes, up and in command."""
    signing.generate(folder)
    models = [part for n in range(rounds) for part in ("--model", f"m{n}")]
    keys = ["--key", str(folder / "control.key"), "--public", str(folder / "control.pub")]
    place = ["--bootstrap", bootstrap, "--prefix", prefix, "--environment", "bench", "--fetch-wait-ms", wait]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{GUEST}"}
    running = [
        subprocess.Popen([sys.executable, "-m", "streams.control.stage", *place, *keys, *models], env=environment)
    ]
    for n in range(NODES):
        node = [bootstrap, str(folder / "control.pub"), prefix, f"n{n}", str(folder), wait]
        running.append(subprocess.Popen([sys.executable, "-c", NODE, *node], env=environment, stdin=subprocess.PIPE))
    try:
        yield
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()


def measure(bootstrap: str, prefix: str, rounds: int, wait: str) -> tuple[list[float], list[float]]:
    """Milliseconds of each round: until the last node's receipt, and of a bare pair."""
    reader = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "bench",
            "fetch.wait.max.ms": int(wait),
            "log_level": 2,
        }
    )
    reader.assign([TopicPartition(prefix + name, 0, 0) for name in ("receipts", "bare")])
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0, "acks": "all", "log_level": 2})
    waiting = {(f"n{node}", f"model:m{n}", "live") for node in range(NODES) for n in range(rounds)}
    while waiting:
        waiting.discard(receipt(reader)[:3])
    time.sleep(4)  # the group of the findings is formed by now
    reached: list[float] = []
    bare: list[float] = []
    for n in range(rounds):
        found = Finding(f"f{n}", f"m{n}", "x", "COUPLED_TX", "page", now_us())
        begun_us = now_us()
        producer.produce(prefix + "findings", records.encode(found), partition=0)
        producer.poll(0)
        wanted = {(f"n{node}", f"model:m{n}", "fallback") for node in range(NODES)}
        latest = 0
        while wanted:
            *said, effective_us = receipt(reader)
            if tuple(said) in wanted:
                wanted.discard(tuple(said))
                latest = max(latest, effective_us)
        reached.append((latest - begun_us) / 1e3)
        begun_us = now_us()
        producer.produce(prefix + "bare", b"x", partition=0)
        producer.poll(0)
        while (message := reader.poll(1.0)) is None or message.topic() != prefix + "bare":
            pass
        bare.append((now_us() - begun_us) / 1e3)
        producer.flush(10)
    reader.close()
    return reached, bare


def receipt(reader: Consumer) -> tuple[str, str, str, int]:
    """The next receipt: node, scope, mode, and when it took effect."""
    while True:
        message = reader.poll(1.0)
        if message is not None and message.error() is None and message.topic().endswith("receipts"):
            said = json.loads(message.value())
            return said["node"], said["scope"], said["mode"], said["effective_us"]


def shown(ms: list[float]) -> str:
    """Median, p99 and worst."""
    cuts = statistics.quantiles(ms, n=100)
    return f"p50 {statistics.median(ms):.1f} ms, p99 {cuts[98]:.1f} ms, worst {max(ms):.1f} ms"


if __name__ == "__main__":
    main()
