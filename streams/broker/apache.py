"""Apache Kafka without an installation: where do its jars come from, and how is it started, killed and stopped?

The embedded broker cannot show compaction, append times, retention, transactions or what a real rebalance does, so
tests and local trials also run on the real thing: Maven copies the jars of `deploy/kafka/pom.xml` into a cache once,
the Java at hand starts them as one combined broker and controller (KRaft) on loopback, in a folder of its own.

Not for production: one node, no replication, no security.
"""

import base64
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from xml.etree import ElementTree

from streams.broker.admin import BrokerUnavailable, probe

_ROOT = Path(__file__).resolve().parents[2]
_POM = _ROOT / "deploy" / "kafka" / "pom.xml"
_GUARD = Path(__file__).with_name("guard.py")

_READY_S = 60.0  # 2 s on an idle machine; this is for a busy one
_STOP_S = 15.0  # more than the guard's own patience
_LOOK_S = 0.05
_MAVEN_S = 600.0
_START_TRIES = 3  # somebody may take a port between our choice and the broker's
_LOG_TAIL_BYTES = 2_000

_JAVA_FLAGS = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")  # quick to start; not for measuring throughput

_SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "inter.broker.listener.name": "PLAINTEXT",
    "auto.create.topics.enable": "false",
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "2",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    # Tests only. Kafka refuses group sessions under 6 s by default, and a refused Faust worker lives on as a zombie.
    "group.min.session.timeout.ms": "1000",
    # A broker killed and started again is let in after its old session ended: 4 s with these, 13 s by default.
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "500",
}

_LOG4J = """\
status=error
rootLogger.level=WARN
rootLogger.appenderRef.c.ref=C
appender.c.type=Console
appender.c.name=C
appender.c.layout.type=PatternLayout
appender.c.layout.pattern=%d{HH:mm:ss.SSS} %p %c{1} - %m%n
"""


class ApacheKafkaError(RuntimeError):
    """Apache Kafka could not be fetched or started; says what was missing and what to do."""


def kafka_version() -> str:
    """The version that `deploy/kafka/pom.xml` names.

    Raises `ApacheKafkaError` when that file is not there (it is part of a checkout, not of the wheel).
    """
    if not _POM.is_file():
        raise ApacheKafkaError(f"expected {_POM}, found none: Apache Kafka is started from a checkout only")
    found = ElementTree.parse(_POM).findtext(".//{*}properties/{*}kafka.version")
    if not found:
        raise ApacheKafkaError(f"expected the property kafka.version in {_POM}, found none")
    return found


def ensure_jars() -> Path:
    """The folder with Kafka's jars, fetched by Maven when it is not cached yet (a few seconds, about 45 MB).

    Cached in `$TMINUS_CACHE`, by default `.cache` in the checkout. Raises `ApacheKafkaError` without Maven or when
    Maven fails, with what it said.
    """
    version = kafka_version()
    cache = Path(os.environ.get("TMINUS_CACHE") or _ROOT / ".cache").resolve()
    jars = cache / f"kafka-{version}" / "lib"
    if jars.is_dir():
        return jars
    maven = _program("mvn", "Maven fetches Apache Kafka's jars")
    jars.parent.mkdir(parents=True, exist_ok=True)
    # Copied beside and renamed, so that an interrupted fetch never looks like a finished one.
    fetched = Path(tempfile.mkdtemp(prefix=".fetch-", dir=jars.parent))
    try:
        command = [maven, "-C", "-q", "-B", "-ntp", "-f", str(_POM), "dependency:copy-dependencies"]
        command += [f"-DoutputDirectory={fetched}", "-DincludeScope=runtime"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_MAVEN_S, check=False)
        if done.returncode != 0:
            raise ApacheKafkaError(f"Maven could not fetch Kafka {version}: {(done.stdout + done.stderr).strip()}")
        fetched.chmod(0o755)
        try:
            fetched.rename(jars)
        except OSError:
            if not jars.is_dir():  # else another process was quicker, with the same jars
                raise
    finally:
        shutil.rmtree(fetched, ignore_errors=True)
    return jars


class ApacheKafka:
    """One Apache Kafka broker on loopback, from `start` to `stop`; usable as a context manager.

    Ports are free ones, data lives in a temporary folder that `stop` removes, and the broker ends with this process
    however this process ends. Topics are not created by asking for them: declare them with `admin.ensure_topics`.

    Parameters
    ----------
    settings
        Further lines of server.properties; they win over ours.
    heap_mb
        Most memory for the Java heap, in MiB.

    Examples
    --------
    >>> with ApacheKafka() as kafka:                                          # doctest: +SKIP
    ...     ensure_topics(kafka.bootstrap, [TopicSpec("clicks", 4)])
    """

    def __init__(self, *, settings: Mapping[str, str] | None = None, heap_mb: int = 512) -> None:
        self._extra = dict(settings or {})
        self._heap_mb = heap_mb
        self._folder: Path | None = None
        self._guard: subprocess.Popen[str] | None = None
        self._ports = (0, 0)
        self._java_pid = 0

    @property
    def bootstrap(self) -> str:
        """`host:port` of the broker; stays the same over `kill` and `restart`."""
        if self._folder is None:
            raise ApacheKafkaError("expected a started broker; call start() first")
        return f"127.0.0.1:{self._ports[0]}"

    @property
    def pid(self) -> int:
        """Process id of the Java process last started."""
        return self._java_pid

    def start(self) -> Self:
        """Fetch the jars if need be, make storage, start the broker, return when it answers (about 3 s)."""
        if self._folder is not None:
            raise ApacheKafkaError("Apache Kafka already runs")
        java = _program("java", "Apache Kafka needs Java 17 or newer")
        jars = ensure_jars()
        self._folder = Path(tempfile.mkdtemp(prefix="tminus-kafka-"))
        try:
            for attempt in range(_START_TRIES):
                self._configure()
                self._format(java, jars)
                try:
                    self._run(java, jars)
                    break
                except ApacheKafkaError:
                    if "Address already in use" not in self._log_tail() or attempt == _START_TRIES - 1:
                        raise
                    self._end_guard()
        except BaseException:
            self.stop()
            raise
        return self

    def kill(self) -> None:
        """`kill -9` the broker; its data and address stay, for `restart`."""
        if self._guard is None or self._guard.poll() is not None:
            raise ApacheKafkaError("expected a running broker, found none")
        os.kill(self._java_pid, signal.SIGKILL)
        status = self._guard.wait(_STOP_S)
        self._end_guard()
        if status != 128 + signal.SIGKILL:  # an orderly end would prove nothing about crashes
            raise ApacheKafkaError(f"expected a broker ended by kill -9, found exit status {status}")

    def restart(self) -> None:
        """Start the same broker again on the same data and address, stopping it in order first if it still runs.

        Returns when it answers: about 4 s after a `kill`, because it waits for its own old session to end.
        """
        if self._folder is None:
            raise ApacheKafkaError("expected a broker that was started before")
        self._end_guard()
        self._run(_program("java", "Apache Kafka needs Java 17 or newer"), ensure_jars())

    def stop(self) -> None:
        """Stop it in order (SIGTERM) and remove its data. Harmless when it does not run."""
        self._end_guard()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _configure(self) -> None:
        assert self._folder is not None
        self._ports = _free_ports()
        broker, controller = (f"127.0.0.1:{port}" for port in self._ports)
        lines = {
            **_SETTINGS,
            "controller.quorum.bootstrap.servers": controller,
            "listeners": f"PLAINTEXT://{broker},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{broker}",
            "log.dirs": str(self._folder / "data"),
            **self._extra,
        }
        text = "".join(f"{key}={value}\n" for key, value in lines.items())
        (self._folder / "server.properties").write_text(text)
        (self._folder / "log4j2.properties").write_text(_LOG4J)

    def _format(self, java: str, jars: Path) -> None:
        assert self._folder is not None
        shutil.rmtree(self._folder / "data", ignore_errors=True)
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        if cluster.startswith("-"):
            cluster = "A" + cluster[1:]  # would be taken for an option
        command = [java, *_JAVA_FLAGS, "-Xmx128m", *self._log_flag(), "-cp", f"{jars}/*", "kafka.tools.StorageTool"]
        command += ["format", "--standalone", "-t", cluster, "-c", str(self._folder / "server.properties")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_READY_S, check=False)
        if done.returncode != 0:
            raise ApacheKafkaError(f"Kafka's storage could not be made: {(done.stdout + done.stderr).strip()}")

    def _run(self, java: str, jars: Path) -> None:
        assert self._folder is not None
        command = [java, *_JAVA_FLAGS, "-Xms256m", f"-Xmx{self._heap_mb}m", *self._log_flag()]
        command += ["-cp", f"{jars}/*", "kafka.Kafka", str(self._folder / "server.properties")]
        guard = [sys.executable, "-I", "-S", str(_GUARD), str(self._folder / "broker.log"), str(self._folder)]
        self._guard = subprocess.Popen([*guard, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._guard.stdout is not None
        said = self._guard.stdout.readline()
        if not said:  # never guess a pid: `kill` will use it
            raise ApacheKafkaError("expected the process id of Apache Kafka, its guard ended without one")
        self._java_pid = int(said)
        self._wait_ready()

    def _wait_ready(self) -> None:
        assert self._guard is not None
        until = time.monotonic() + _READY_S
        while time.monotonic() < until:
            if self._guard.poll() is not None:
                raise ApacheKafkaError(
                    f"Apache Kafka ended at start (exit status {self._guard.returncode}): {self._log_tail()}"
                )
            if _listens(self._ports[0]):
                try:
                    probe(self.bootstrap, 2.0)
                    return
                except BrokerUnavailable:
                    pass
            time.sleep(_LOOK_S)
        raise ApacheKafkaError(f"Apache Kafka did not answer within {_READY_S:.0f} s: {self._log_tail()}")

    def _end_guard(self) -> None:
        guard, self._guard = self._guard, None
        if guard is None:
            return
        assert guard.stdin is not None
        assert guard.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it ended by itself
            guard.stdin.write("end\n")
            guard.stdin.close()
        try:
            guard.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            guard.kill()
            guard.wait()
        guard.stdout.close()

    def _log_flag(self) -> tuple[str]:
        return (f"-Dlog4j2.configurationFile={self._folder}/log4j2.properties",)

    def _log_tail(self) -> str:
        log = self._folder / "broker.log" if self._folder is not None else None
        if log is None or not log.is_file():
            return "(no log)"
        return log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace").strip()


def _program(name: str, what_for: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise ApacheKafkaError(
            f"expected the program {name!r} on PATH, found none ({what_for}); install it, or set KAFKA_BOOTSTRAP to "
            "a broker that already runs"
        )
    return found


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


def _listens(port: int) -> bool:
    with socket.socket() as knock:
        knock.settimeout(1.0)
        return knock.connect_ex(("127.0.0.1", port)) == 0
