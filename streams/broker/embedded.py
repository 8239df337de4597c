"""A Kafka broker without Java, Docker or network: where does it live, and how is it told to misbehave?

librdkafka ships a mock cluster that speaks the real Kafka protocol on loopback, and the confluent-kafka wheel
exports its functions. This file is both ends of it: run as a program it is the broker (one process, commands
as JSON lines on stdin, answers on stdout); imported, `EmbeddedBroker` starts that program and talks to it. The
program imports the standard library only, so it is up in a few hundredths of a second and works whatever the
caller's folders are.

librdkafka calls this interface experimental: `SYMBOLS` is the one place that knows it, and a wheel that lacks
one of them is refused by name.

Limits that tests must respect (all observed): 5 MiB or 100,000 record batches per partition, then the oldest
go; one record batch per partition and fetch, so produce with a linger; no CreateTopics, no topic configs, no
compaction, no broker timestamps; transactions are a state machine without isolation.
"""

import argparse
import contextlib
import ctypes
import importlib.util
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_PTR, _INT, _STR, _VOID = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, None
_I16, _I32, _I64, _SIZE = ctypes.c_int16, ctypes.c_int32, ctypes.c_int64, ctypes.c_size_t

# name -> (result, arguments), from librdkafka's rdkafka.h and rdkafka_mock.h (2.16).
SYMBOLS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "rd_kafka_conf_new": (_PTR, ()),
    "rd_kafka_conf_set_log_cb": (_VOID, (_PTR, _PTR)),
    "rd_kafka_new": (_PTR, (_INT, _PTR, _STR, _SIZE)),
    "rd_kafka_err2name": (_STR, (_INT,)),
    "rd_kafka_mock_cluster_new": (_PTR, (_PTR, _INT)),
    "rd_kafka_mock_cluster_bootstraps": (_STR, (_PTR,)),
    "rd_kafka_mock_group_initial_rebalance_delay_ms": (_VOID, (_PTR, _I32)),
    "rd_kafka_mock_topic_create": (_INT, (_PTR, _STR, _INT, _INT)),
    "rd_kafka_mock_topic_delete": (_INT, (_PTR, _STR)),
    "rd_kafka_mock_broker_set_down": (_INT, (_PTR, _I32)),
    "rd_kafka_mock_broker_set_up": (_INT, (_PTR, _I32)),
    "rd_kafka_mock_broker_set_rtt": (_INT, (_PTR, _I32, _INT)),
    "rd_kafka_mock_push_request_errors_array": (_VOID, (_PTR, _I16, _SIZE, ctypes.POINTER(_INT))),
    "rd_kafka_mock_clear_request_errors": (_VOID, (_PTR, _I16)),
    "rd_kafka_mock_partition_set_leader": (_INT, (_PTR, _STR, _I32, _I32)),
    "rd_kafka_mock_partition_delete_records": (_INT, (_PTR, _STR, _I32, _I64)),
}

_PRODUCER = 0  # RD_KAFKA_PRODUCER; the mock cluster hangs on a client handle that never connects
_PARENT_LOOK_S = 0.25  # a broker whose pipe somebody else inherited sees this soon that its parent is gone
_STOP_S = 5.0


class EmbeddedBrokerError(RuntimeError):
    """The embedded broker could not start, refused a command, or is gone."""


class Api(IntEnum):
    """Kafka's request kinds, for `EmbeddedBroker.push_errors`."""

    PRODUCE = 0
    FETCH = 1
    LIST_OFFSETS = 2
    METADATA = 3
    OFFSET_COMMIT = 8
    OFFSET_FETCH = 9
    FIND_COORDINATOR = 10
    JOIN_GROUP = 11
    HEARTBEAT = 12
    LEAVE_GROUP = 13
    SYNC_GROUP = 14
    INIT_PRODUCER_ID = 22


def library_path() -> Path:
    """The librdkafka that the installed confluent-kafka wheel carries.

    Raises `EmbeddedBrokerError` when there is none (a source build links the system's library instead).

    Examples
    --------
    >>> library_path().name.startswith("librdkafka")
    True
    """
    spec = importlib.util.find_spec("confluent_kafka")
    if spec is None or spec.origin is None:
        raise EmbeddedBrokerError("expected the package confluent-kafka, found none")
    package = Path(spec.origin).parent
    folders = (package.parent / "confluent_kafka.libs", package / ".dylibs")  # auditwheel, delocate
    for folder in folders:
        found = sorted(folder.glob("librdkafka*"))
        if found:
            return found[0]
    raise EmbeddedBrokerError(f"expected librdkafka inside the confluent-kafka wheel, found none beside {package}")


def bind(library: Any, symbols: Mapping[str, tuple[Any, tuple[Any, ...]]] = SYMBOLS) -> dict[str, Any]:
    """Typed functions of `library` by name; raises `EmbeddedBrokerError` naming every missing symbol."""
    missing = [name for name in symbols if not hasattr(library, name)]
    if missing:
        raise EmbeddedBrokerError(
            "this confluent-kafka wheel lacks what the embedded broker needs: " + ", ".join(missing)
        )
    functions = {}
    for name, (result, arguments) in symbols.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
        functions[name] = function
    return functions


class _Cluster:
    """The mock cluster itself; lives in the broker process only."""

    def __init__(self, library: str, brokers: int) -> None:
        self._call = bind(ctypes.CDLL(library))
        conf = self._call["rd_kafka_conf_new"]()
        # Its chatter about injected errors would land in the middle of the caller's terminal.
        self._call["rd_kafka_conf_set_log_cb"](conf, None)
        why = ctypes.create_string_buffer(512)
        client = self._call["rd_kafka_new"](_PRODUCER, conf, why, len(why))
        if not client:
            raise EmbeddedBrokerError(why.value.decode())
        self._cluster = self._call["rd_kafka_mock_cluster_new"](client, brokers)
        if not self._cluster:
            raise EmbeddedBrokerError(f"librdkafka refused a mock cluster of {brokers} brokers")
        # The default of 3 s would be paid by every group of every test.
        self._call["rd_kafka_mock_group_initial_rebalance_delay_ms"](self._cluster, 0)
        self.bootstrap: str = self._call["rd_kafka_mock_cluster_bootstraps"](self._cluster).decode()
        if not all(address.startswith("127.") for address in self.bootstrap.split(",")):
            raise EmbeddedBrokerError(f"expected a broker on loopback, found {self.bootstrap}")

    def do(self, command: Mapping[str, Any]) -> None:
        """Carry out one command; raises `EmbeddedBrokerError` with Kafka's own name for what went wrong."""
        name, arguments = _COMMANDS[command["do"]]
        values = [command[a].encode() if isinstance(command[a], str) else command[a] for a in arguments]
        if command["do"] == "create_topic":
            values.append(1)  # replication factor
        if command["do"] == "push_errors":
            codes = values.pop()
            values += [len(codes), (ctypes.c_int * len(codes))(*codes)]
        code = self._call[name](self._cluster, *values)
        if code:
            raise EmbeddedBrokerError(self._call["rd_kafka_err2name"](code).decode())


# command -> (function, its arguments in order, as keys of the JSON command)
_COMMANDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "create_topic": ("rd_kafka_mock_topic_create", ("topic", "partitions")),
    "delete_topic": ("rd_kafka_mock_topic_delete", ("topic",)),
    "broker_down": ("rd_kafka_mock_broker_set_down", ("broker",)),
    "broker_up": ("rd_kafka_mock_broker_set_up", ("broker",)),
    "rtt": ("rd_kafka_mock_broker_set_rtt", ("broker", "ms")),
    "push_errors": ("rd_kafka_mock_push_request_errors_array", ("api", "codes")),
    "clear_errors": ("rd_kafka_mock_clear_request_errors", ("api",)),
    "set_leader": ("rd_kafka_mock_partition_set_leader", ("topic", "partition", "broker")),
    "delete_records": ("rd_kafka_mock_partition_delete_records", ("topic", "partition", "before_offset")),
}


class EmbeddedBroker:
    """The embedded broker in a process of its own, from `start` to `stop`; usable as a context manager.

    It ends with this process however this process ends, `kill -9` included. Topics exist only once created
    here: a client that merely asks for an unknown topic gets one with 4 partitions, which is never what was
    meant. Methods may be called from any thread; each raises `EmbeddedBrokerError` when the broker refuses or
    is gone.

    Parameters
    ----------
    brokers
        Number of brokers, numbered from 1. More than one only to move leaders about.

    Examples
    --------
    >>> with EmbeddedBroker() as broker:
    ...     broker.create_topics({"clicks": 4})
    ...     broker.bootstrap.startswith("127.0.0.1:")
    True
    """

    def __init__(self, *, brokers: int = 1) -> None:
        self._brokers = brokers
        self._process: subprocess.Popen[str] | None = None
        self._turn = threading.Lock()
        self._bootstrap = ""

    @property
    def bootstrap(self) -> str:
        """`host:port` of every broker, comma-separated."""
        if not self._bootstrap:
            raise EmbeddedBrokerError("expected a started broker; call start() first")
        return self._bootstrap

    @property
    def pid(self) -> int:
        """Process id of the broker; raises `EmbeddedBrokerError` when it is not running."""
        if self._process is None:
            raise EmbeddedBrokerError("the embedded broker is not running")
        return self._process.pid

    def start(self) -> Self:
        """Start it and wait until it listens (about 0.1 s)."""
        if self._process is not None:
            raise EmbeddedBrokerError("the embedded broker already runs")
        # -I -S: neither the caller's folders nor site-packages may change what runs here.
        program = [sys.executable, "-I", "-S", __file__, "--library", str(library_path())]
        program += ["--brokers", str(self._brokers), "--parent", str(os.getpid())]
        self._process = subprocess.Popen(
            program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
        try:
            self._bootstrap = self._answer()["bootstrap"]
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End it; everything it held is gone. Harmless when it does not run."""
        process, self._process, self._bootstrap = self._process, None, ""
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it went first
            process.stdin.close()
        # Closing is not enough where a forked child still holds the pipe; nothing there needs saving.
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def create_topics(self, partitions: Mapping[str, int]) -> None:
        """Create each topic with that many partitions; an existing one is an error (TOPIC_ALREADY_EXISTS)."""
        for topic, count in partitions.items():
            self._do("create_topic", topic=topic, partitions=count)

    def delete_topic(self, topic: str) -> None:
        """Forget a topic and its records; clients see UNKNOWN_TOPIC_OR_PART until it is created again."""
        self._do("delete_topic", topic=topic)

    def broker_down(self, broker: int = 1) -> None:
        """Drop all connections of a broker and refuse new ones; its records stay."""
        self._do("broker_down", broker=broker)

    def broker_up(self, broker: int = 1) -> None:
        """End `broker_down`."""
        self._do("broker_up", broker=broker)

    def rtt(self, ms: int, broker: int = 1) -> None:
        """Let every answer of a broker take `ms` milliseconds; 0 ends it."""
        self._do("rtt", broker=broker, ms=ms)

    def push_errors(self, api: Api | int, codes: Iterable[int]) -> None:
        """Answer the next requests of kind `api` with these protocol error codes, one each; 0 is success."""
        self._do("push_errors", api=int(api), codes=[int(code) for code in codes])

    def clear_errors(self, api: Api | int) -> None:
        """Forget errors pushed for `api` and not yet used."""
        self._do("clear_errors", api=int(api))

    def set_leader(self, topic: str, partition: int, broker: int) -> None:
        """Make `broker` the leader of a partition; -1 leaves it without one."""
        self._do("set_leader", topic=topic, partition=partition, broker=broker)

    def delete_records(self, topic: str, partition: int, before_offset: int) -> None:
        """Let the log of a partition begin at `before_offset`, as retention would."""
        self._do("delete_records", topic=topic, partition=partition, before_offset=before_offset)

    def _do(self, command: str, **arguments: Any) -> None:
        with self._turn:
            process = self._process
            if process is None or process.stdin is None:
                raise EmbeddedBrokerError(f"{command}: the embedded broker is not running")
            try:
                process.stdin.write(json.dumps({"do": command, **arguments}) + "\n")
                process.stdin.flush()
            except BrokenPipeError as error:
                raise EmbeddedBrokerError(f"{command}: the embedded broker has ended") from error
            try:
                self._answer()
            except EmbeddedBrokerError as error:
                raise EmbeddedBrokerError(f"{command} {arguments}: {error}") from None

    def _answer(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait(_STOP_S)
            raise EmbeddedBrokerError(f"the embedded broker has ended (exit status {status})")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise EmbeddedBrokerError(answer["error"])
        return answer


def _say(answer: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def _serve(cluster: _Cluster, parent: int) -> None:
    """Obey commands until stdin ends or the parent is somebody else."""
    rest = b""
    while os.getppid() == parent:
        ready, _, _ = select.select([0], [], [], _PARENT_LOOK_S)
        if not ready:
            continue
        piece = os.read(0, 65_536)
        if not piece:
            return
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            try:
                cluster.do(json.loads(line))
                _say({"ok": True})
            except (EmbeddedBrokerError, ctypes.ArgumentError, KeyError, ValueError) as error:
                _say({"error": str(error) if isinstance(error, EmbeddedBrokerError) else repr(error)})


def main(arguments: list[str] | None = None) -> None:
    """The broker process: prints `{"bootstrap": ...}` and obeys one JSON command a line until stdin ends."""
    parser = argparse.ArgumentParser(prog="python -m streams.broker.embedded", description=main.__doc__)
    parser.add_argument("--library", help="path of librdkafka (default: the wheel's)")
    parser.add_argument("--brokers", type=int, default=1)
    parser.add_argument("--parent", type=int, default=os.getppid(), help="end when this is not our parent")
    options = parser.parse_args(arguments)
    # Ctrl-C reaches the whole terminal group; the workers still need their broker to end in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        cluster = _Cluster(options.library or str(library_path()), options.brokers)
    except (EmbeddedBrokerError, OSError) as error:
        _say({"error": str(error)})
        sys.exit(1)
    _say({"bootstrap": cluster.bootstrap})
    _serve(cluster, options.parent)
    sys.stdout.flush()
    os._exit(0)  # librdkafka's own destruction waits for its threads and has nothing left to save


if __name__ == "__main__":
    main()
