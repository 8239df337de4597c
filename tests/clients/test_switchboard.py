"""The switchboard, fed record by record: when it is ready, what it remembers, what it reports."""

import json
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError
from tminus_client import Switchboard, state
from tminus_client.keys import PublicKey

from monitors.policy import Signal
from streams.control import records
from tests.streams.control.hands import SIGNER, Log, operate

PINNED = {SIGNER.kid: PublicKey(SIGNER.public, 0, 2**63 - 1)}


@dataclass
class Message:
    """What a consumer hands over."""

    at: str
    place: int
    record: tuple[bytes | None, bytes | None, Any] = (None, None, None)
    is_end: bool = False

    def topic(self) -> str:
        return "tminus." + self.at

    def offset(self) -> int:
        return self.place

    def key(self) -> bytes | None:
        return self.record[0]

    def value(self) -> bytes | None:
        return self.record[1]

    def headers(self) -> Any:
        return self.record[2]

    def error(self) -> KafkaError | None:
        return KafkaError(KafkaError._PARTITION_EOF) if self.is_end else None


class Post:
    """A producer that keeps what it is given."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def produce(self, topic: str, *, key: bytes, value: bytes, on_delivery: Any) -> None:
        self.sent.append(json.loads(value))

    def poll(self, timeout: float) -> int:
        return 0

    def flush(self, timeout: float) -> int:
        return 0


@dataclass
class Kafka:
    """A consumer with what waits for it, and a producer."""

    waiting: list[Message] = field(default_factory=list)
    post: Post = field(default_factory=Post)

    @property
    def receipts(self) -> list[dict[str, Any]]:
        return self.post.sent

    def assign(self, partitions: list[Any]) -> None:
        self.assigned = [(p.topic, p.partition) for p in partitions]

    def poll(self, timeout: float) -> Any:
        return self.waiting.pop(0) if self.waiting else None

    def close(self) -> None:
        pass


def board(kafka: Kafka, folder: Path, node: str = "n1") -> Switchboard:
    return Switchboard("", PINNED, environment="test", node=node, state_dir=folder, consumer=kafka, producer=kafka.post)


def deliver(board: Switchboard, kafka: Kafka, log: Log, start: int = 0, *, end: bool = True) -> None:
    kafka.waiting += [Message("control", o, r) for o, r in log.records.items() if o >= start]
    if end:
        kafka.waiting += [Message("control", log.end, is_end=True), Message("heartbeat", 0, is_end=True)]
    while board.poll():
        pass


def test_history_is_not_acted_out(tmp_path):
    """A model that was away and came back must not flicker when a node starts."""
    operated, kafka = operate(Log()), Kafka()
    operated.write([operated.controller.signal("model:a", Signal.BREACH, 5, who="p", why="w", evidence=[])])
    b = board(kafka, tmp_path)
    switch = b.model("a", "default")
    deliver(b, kafka, operated.log, end=False)
    assert (b.is_ready, switch.why, kafka.receipts) == (False, "no_state", [])
    deliver(b, kafka, operated.log)
    assert (b.is_ready, switch.why) == (True, "commanded")
    assert b.model("b", "default").live


def test_each_command_in_force_is_receipted_with_its_proof(tmp_path):
    operated, kafka = operate(Log()), Kafka()
    b = board(kafka, tmp_path)
    deliver(b, kafka, operated.log)
    start = operated.log.end
    operated.write([operated.controller.signal("model:a", Signal.BREACH, 5, who="p", why="w", evidence=[])])
    deliver(b, kafka, operated.log, start)
    assert [(r["scope"], r["seq"], r["mode"]) for r in kafka.receipts] == [
        ("model:a", 1, "live"),
        ("model:b", 2, "live"),
        ("model:a", 3, "fallback"),
    ]
    receipt = records.decode_receipt(json.dumps(kafka.receipts[-1]).encode())
    assert operated.controller.observe_receipt(receipt)
    assert receipt.received_us <= receipt.effective_us


def test_a_node_starts_without_a_broker_from_what_it_held(tmp_path):
    operated, kafka = operate(Log()), Kafka()
    deliver(board(kafka, tmp_path), kafka, operated.log)
    again = board(Kafka(), tmp_path)
    assert again.model("a", "default").live
    assert not again.is_ready
    assert not board(Kafka(), tmp_path, node="n2").model("a", "default").live


def test_a_command_older_than_what_a_node_held_does_not_undo_it(tmp_path):
    """The log was cut behind its back: the node objects with the proof of what it holds."""
    operated, kafka = operate(Log(end=10)), Kafka()
    deliver(board(kafka, tmp_path), kafka, operated.log)
    recreated, later = operate(Log(), "d"), Kafka()
    b = board(later, tmp_path)
    deliver(b, later, recreated.log)
    start = recreated.log.end
    later.receipts.clear()
    recreated.write([recreated.controller.signal("model:a", Signal.BREACH, 5, who="p", why="w", evidence=[])])
    deliver(b, later, recreated.log, start)
    assert b.model("a", "default").live
    assert b.refused == {"superseded": 3}
    receipt = records.decode_receipt(json.dumps(later.receipts[-1]).encode())
    assert recreated.controller.observe_receipt(receipt)
    assert recreated.controller.must_claim


def test_the_state_file_is_private_and_whole(tmp_path):
    """Any damage counts as no state, and no state means the safe default."""
    operated, kafka = operate(Log()), Kafka()
    deliver(board(kafka, tmp_path), kafka, operated.log)
    (path,) = tmp_path.iterdir()
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    whole = path.read_bytes()
    for cut in range(0, len(whole), 97):
        path.write_bytes(whole[:cut])
        assert state.load(path) is None
        path.write_bytes(whole[:cut] + bytes([whole[cut] ^ 1]) + whole[cut + 1 :])
        assert state.load(path) is None
    path.write_bytes(whole)
    assert state.load(path) is not None


def test_a_folder_that_cannot_be_written_stops_no_switching(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    operated, kafka = operate(Log()), Kafka()
    b = board(kafka, blocked)
    deliver(b, kafka, operated.log)
    assert b.model("a", "default").live


def test_old_heartbeats_renew_nothing_and_new_ones_do(tmp_path):
    operated, kafka = operate(Log()), Kafka()
    b = board(kafka, tmp_path)
    renewed: list[float] = []
    switch = b.model("a", "default")
    deliver(b, kafka, operated.log, end=False)
    old = Message("heartbeat", 0, operated.controller.heartbeat(1))
    new = Message("heartbeat", 1, operated.controller.heartbeat(2))
    kafka.waiting += [old]
    deliver(b, kafka, operated.log)
    renewed.append(switch._renewed)
    kafka.waiting += [old, new]
    deliver(b, kafka, Log(), end=False)
    renewed.append(switch._renewed)
    assert renewed[0] < renewed[1]
    assert b.refused == {"replayed": 3}  # two commands and a heartbeat, each for the second time


def test_asking_twice_gives_the_same_switch(tmp_path):
    b = board(Kafka(), tmp_path)
    assert b.model("a", "x") is b.model("a", "y")
