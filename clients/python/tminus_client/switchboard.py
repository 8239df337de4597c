"""What holds for the models of this process, now?

A switchboard follows the control topic in a thread of its own and sets the switches. It keeps working when
everything else is dead: what was accepted last is in memory and in a durable file; a broker that is absent
at the start is waited for without end; with no state at all every model starts in fallback.
"""

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition

from tminus_client import keys as key_files
from tminus_client import state, wire
from tminus_client.keys import PublicKey
from tminus_client.rules import ControlState, Decision, Held, Refusal
from tminus_client.switch import Silence, Switch

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

#: Heartbeats of the past read at start, to know the newest number: an old one must not renew a lease.
HEARTBEATS_BACK = 100
#: librdkafka's logical offset "n before the end" is this minus n.
_OFFSET_TAIL_BASE = -2000
#: A node whose state is newer than the controller's says so at most this often.
OBJECTION_S = 1.0
#: Receipts that may wait for an absent broker.
RECEIPTS_WAITING_MAX = 10_000
_POLL_S = 0.2
_RETRY_S = 0.5


class Reader(Protocol):
    """The part of `confluent_kafka.Consumer` that a switchboard uses; a test brings its own."""

    def assign(self, partitions: list[TopicPartition]) -> None: ...
    def poll(self, timeout: float) -> Any: ...
    def close(self) -> None: ...


class Writer(Protocol):
    """The part of `confluent_kafka.Producer` that a switchboard uses."""

    def produce(self, topic: str, *, key: bytes, value: bytes, on_delivery: Any) -> None: ...
    def poll(self, timeout: float) -> int: ...
    def flush(self, timeout: float) -> int: ...


def now_us() -> int:
    """The wall clock, microseconds UTC."""
    return time.time_ns() // 1000


class Switchboard:
    """The switches of one process, set by signed commands.

    Parameters
    ----------
    bootstrap
        Kafka's address, ``host:port``.
    keys
        Path of the file of public keys that commands are signed with, or the keys themselves by id.
    environment
        Commands of other environments are refused.
    node
        The name of this process in receipts; by default host name and process id.
    state_dir
        Where the durable file lives; by default below ``$XDG_STATE_HOME`` or ``~/.local/state``. Each node
        name has its own file, so a name that stays the same over restarts is what makes it useful.
    prefix
        What the names of the topics begin with.
    config
        Further settings of librdkafka, such as those of TLS and SASL.
    fetch_wait_ms
        How long an idle fetch may wait at the broker.
    consumer, producer
        Used instead of real ones; then no thread is started and `poll` does the work.

    Raises
    ------
    KeysError
        The keys cannot be used. An absent broker is no error.
    """

    def __init__(
        self,
        bootstrap: str = "",
        keys: str | Path | Mapping[str, PublicKey] = "control.pub",
        *,
        environment: str = "default",
        node: str | None = None,
        state_dir: str | Path | None = None,
        prefix: str = "tminus.",
        config: Mapping[str, Any] | None = None,
        fetch_wait_ms: int = 10,
        consumer: Reader | None = None,
        producer: Writer | None = None,
    ) -> None:
        pinned = key_files.load(keys) if isinstance(keys, (str, Path)) else keys
        self.environment = environment
        self.node = node or f"{socket.gethostname()}-{os.getpid()}"
        self.receipts_lost = 0
        self._control_topic = prefix + "control"
        self._heartbeat_topic = prefix + "heartbeat"
        self._receipts_topic = prefix + "receipts"
        self._state_path = _state_path(state_dir, environment, self.node)
        self._switches: dict[str, Switch[Any]] = {}
        self._state = ControlState(environment, pinned)
        self._turn = threading.Lock()  # switches are made in any thread, commands applied in the follower's
        self._ready = threading.Event()
        self._closing = threading.Event()
        self._heartbeats_caught_up = False
        self._heard = 0.0
        self._objected = -OBJECTION_S
        self._unsaved = False
        self._started_us = now_us()
        self._settings = {"bootstrap.servers": bootstrap, "broker.address.family": "v4", **(config or {})}
        self._fetch_wait_ms = fetch_wait_ms
        self._consumer = consumer
        self._producer = producer
        self._thread: threading.Thread | None = None
        self._remember()
        if consumer is None:
            self._thread = threading.Thread(target=self._follow, name="tminus-switchboard", daemon=True)
            self._thread.start()
        else:
            consumer.assign(self._partitions())

    def model(
        self,
        name: str,
        default: Answer,
        on_silence: Silence | None = None,
        lease_s: float | None = None,
    ) -> Switch[Answer]:
        """The switch of a model; asking again gives the same one."""
        scope = "model:" + name
        with self._turn:
            switch = self._switches.get(scope)
            if switch is None:
                switch = self._switches[scope] = Switch(name, default, on_silence, lease_s)
                # Before the log was read to its end only what an earlier life accepted is in force.
                held = (self._state.held if self._ready.is_set() else self._remembered).get(scope)
                if held is not None:
                    _apply(switch, held)
        return switch

    @property
    def is_ready(self) -> bool:
        """Has the control log been read to its end?"""
        return self._ready.is_set()

    @property
    def refused(self) -> dict[str, int]:
        """Records that did not count, by reason."""
        return dict(self._state.refused)

    def wait_ready(self, timeout_s: float | None = None) -> bool:
        """Wait until the control log has been read to its end; False when that takes longer."""
        return self._ready.wait(timeout_s)

    def poll(self, timeout_s: float = 0.0) -> bool:
        """Take one record, if there is one within `timeout_s`; only for boards with a consumer of their
        own."""
        assert self._consumer is not None
        # With something to save it does not wait; saving waits for a pause, so that a burst costs one write.
        message = self._consumer.poll(0.0 if self._unsaved else timeout_s)
        if self._producer is not None:
            self._producer.poll(0)
        if message is None:
            self._save()
            return False
        self._on_message(message)
        return True

    def close(self) -> None:
        """Stop following; the switches stay as they are."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()

    def __enter__(self) -> "Switchboard":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _partitions(self) -> list[TopicPartition]:
        return [
            TopicPartition(self._control_topic, 0, OFFSET_BEGINNING),
            TopicPartition(self._heartbeat_topic, 0, _OFFSET_TAIL_BASE - HEARTBEATS_BACK),
        ]

    def _follow(self) -> None:
        """The thread: whatever happens, begin again; nothing here may end the following."""
        while not self._closing.is_set():
            try:
                self._consumer = Consumer(self._consumer_settings())
                self._consumer.assign(self._partitions())
                self._producer = self._producer or Producer(self._producer_settings())
                while not self._closing.is_set():
                    self.poll(_POLL_S)
            except Exception:  # the world's fault or ours: a serving node holds its state and tries again
                log.exception("following the control topic failed; trying again")
                self._closing.wait(_RETRY_S)
            finally:
                if self._consumer is not None:
                    with contextlib.suppress(KafkaException, RuntimeError):
                        self._consumer.close()
        if self._producer is not None:
            self._producer.flush(1.0)

    def _consumer_settings(self) -> dict[str, Any]:
        return {
            **self._settings,
            "group.id": f"tminus-switchboard-{self.node}",  # librdkafka wants a name; no group is ever joined
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",  # a log that begins anew is read from its beginning
            "enable.partition.eof": True,
            "allow.auto.create.topics": False,
            "fetch.wait.max.ms": self._fetch_wait_ms,
            "fetch.min.bytes": 1,
            "fetch.error.backoff.ms": 50,
            "reconnect.backoff.ms": 50,
            "reconnect.backoff.max.ms": 500,
            "topic.metadata.refresh.interval.ms": 10_000,
            "log_level": 2,
        }

    def _producer_settings(self) -> dict[str, Any]:
        return {
            **self._settings,
            "linger.ms": 0,
            "acks": "all",
            "queue.buffering.max.messages": RECEIPTS_WAITING_MAX,
            "message.timeout.ms": 300_000,
            "partitioner": "murmur2_random",
            "reconnect.backoff.max.ms": 500,
            "log_level": 2,
        }

    def _on_message(self, message: Any) -> None:
        received_us = now_us()
        error = message.error()
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                self._on_end(message.topic())
            return  # everything else librdkafka retries by itself
        if message.topic() == self._heartbeat_topic:
            is_past = not self._heartbeats_caught_up
            decision = self._state.on_heartbeat(message.value(), message.headers(), received_us, is_past=is_past)
            if decision is Decision.NOTED and not is_past:
                self._heard = time.monotonic()
                self._renew()
            return
        decision = self._state.on_control(
            message.offset(), message.key(), message.value(), message.headers(), received_us
        )
        if decision is Decision.ACCEPTED:
            self._on_command(message.value(), received_us)
        elif decision is Refusal.SUPERSEDED:
            self._object()
        self._renew()

    def _on_end(self, topic: str) -> None:
        """The end of a log was reached: what was read so far is the past, what follows is news."""
        if topic == self._heartbeat_topic:
            self._heartbeats_caught_up = True
        elif not self._ready.is_set():
            with self._turn:
                for scope, held in self._state.held.items():
                    if scope in self._switches:
                        _apply(self._switches[scope], held)
                self._ready.set()
            for held in self._state.held.values():
                self._send_receipt(held, self._started_us)
            self._unsaved = True

    def _on_command(self, value: bytes, received_us: int) -> None:
        if not self._ready.is_set():
            return  # history: only where it ends counts
        command = wire.decode_command(value)
        held = self._state.held[command.scope]
        with self._turn:
            switch = self._switches.get(command.scope)
            if switch is not None:
                _apply(switch, held)
        self._send_receipt(held, received_us)
        self._unsaved = True

    def _renew(self) -> None:
        renewed = self._state.renewal()
        if renewed:
            with self._turn:
                for scope, switch in self._switches.items():
                    if scope in renewed:
                        switch.renew(self._heard)

    def _object(self) -> None:
        """An older controller commands: show it what is held here, so that it claims above it."""
        if not self._ready.is_set() or time.monotonic() < self._objected + OBJECTION_S:
            return
        self._objected = time.monotonic()
        newest = max(self._state.held.values(), key=lambda held: held.command.epoch, default=None)
        if newest is not None:
            self._send_receipt(newest, now_us())

    def _send_receipt(self, held: Held, received_us: int) -> None:
        if self._producer is None:
            return
        value = wire.receipt(
            node=self.node,
            command=held.command,
            value=held.value,
            sig=held.sig,
            kid=held.kid,
            received_us=received_us,
            effective_us=now_us(),
        )
        try:
            self._producer.produce(
                self._receipts_topic, key=self.node.encode(), value=value, on_delivery=self._on_delivery
            )
            self._producer.poll(0)
        except (BufferError, KafkaException):
            self.receipts_lost += 1

    def _on_delivery(self, error: KafkaError | None, _: Any) -> None:
        if error is not None:
            self.receipts_lost += 1

    def _remember(self) -> None:
        self._remembered: dict[str, Held] = {}
        snapshot = state.load(self._state_path)
        if snapshot is not None:
            self._state.restore(snapshot)
            self._remembered = dict(self._state.held)

    def _save(self) -> None:
        if not self._unsaved:
            return
        self._unsaved = False
        try:
            state.save(self._state_path, self._state.snapshot())
        except OSError as error:  # a full disk must not stop the switching
            log.warning("the control state could not be saved: %s", error)


def _apply(switch: Switch[Any], held: Held) -> None:
    lease_us = held.command.lease_us
    switch.command(
        live=held.command.mode == "live",
        lease_s=None if lease_us is None else lease_us / 1e6,
        on_silence=held.command.on_silence,
    )


def _state_path(folder: str | Path | None, environment: str, node: str) -> Path:
    if folder is None:
        folder = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "tminus"
    # Names come from configuration; in a file name only plain characters may remain.
    plain = "".join(c if c.isalnum() or c in "._-" else "_" for c in f"{environment}.{node}")
    return Path(folder) / f"control-{plain}.state"
