"""A real controller and real serving nodes on the embedded broker: who commands, who believes, and what survives."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from tminus_client import Switchboard

from streams import signing
from streams.broker.embedded import EmbeddedBroker
from streams.clock import now_us
from streams.control import records, release
from streams.control.desk import ControlSettings, Desk
from streams.control.log import Declared, Superseded
from streams.control.records import Finding, Release
from streams.signing import CONTROL_DOMAIN, Signer
from streams.transport.watchdog import EXIT_STATUS
from tests.brokers import eventually, fresh
from tests.clients import ROOT

pytestmark = pytest.mark.embedded
TOPICS = {"control": 1, "heartbeat": 1, "receipts": 1, "findings": 1, "alerts": 1}


class World:
    """Topics of one prefix, keys, controllers and nodes; everything ends with the test."""

    def __init__(self, broker: EmbeddedBroker, folder: Path) -> None:
        self.bootstrap, self.folder = broker.bootstrap, folder
        self.prefix = fresh("w") + "."
        broker.create_topics({self.prefix + name: count for name, count in TOPICS.items()})
        signing.generate(folder)
        signing.generate(folder, "operator")
        self.producer = Producer({"bootstrap.servers": self.bootstrap, "linger.ms": 0, "log_level": 0})
        self.controllers: list[subprocess.Popen[bytes]] = []
        self.boards: list[Switchboard] = []

    def controller(self) -> subprocess.Popen[bytes]:
        options = ["--bootstrap", self.bootstrap, "--prefix", self.prefix, "--environment", "test"]
        options += ["--key", str(self.folder / "control.key"), "--public", str(self.folder / "control.pub")]
        options += ["--operators", str(self.folder / "operator.pub"), "--model", "churn", "--model", "other"]
        options += ["--fetch-wait-ms", "5", "--session-timeout-s", "2", "--heartbeat-s", "0.3"]
        process = subprocess.Popen([sys.executable, "-m", "streams.control.stage", *options], cwd=ROOT)
        self.controllers.append(process)
        return process

    def desk(self) -> tuple[Desk, list[tuple[str, dict]]]:
        """A control stage without its process, in command, and the rows that it gives to the lake."""
        rows: list[tuple[str, dict]] = []
        settings = ControlSettings(
            self.bootstrap,
            "test",
            self.folder / "control.key",
            self.folder / "control.pub",
            self.folder / "operator.pub",
            {"churn": Declared(owner="growth")},
            prefix=self.prefix,
            fetch_wait_ms=5,
            client={"log_level": 0},
        )
        desk = Desk(settings, lambda table, new: rows.extend((table, row) for row in new))
        desk.open()
        return desk, rows

    def node(self, name: str, bootstrap: str | None = None) -> Switchboard:
        keys = self.folder / "control.pub"
        board = Switchboard(
            bootstrap or self.bootstrap,
            keys,
            environment="test",
            node=name,
            prefix=self.prefix,
            state_dir=self.folder,
            config={"log_level": 0},
            fetch_wait_ms=5,
        )
        board.model("churn", "default")
        self.boards.append(board)
        return board

    def find(self, severity: str = "page", kind: str = "COUPLED_TX", value: bytes | None = None) -> None:
        found = Finding("f1", "churn", "last_login", kind, severity, 1_700_000_000_000_000, {"n": 3}, "SELECT 1")
        self.send("findings", value or records.encode(found))

    def send(self, topic: str, value: bytes, key: bytes = b"churn", headers: list[tuple[str, bytes]] | None = None):
        self.producer.produce(self.prefix + topic, value, key, 0, headers=headers)
        assert self.producer.flush(10) == 0

    def read(self, topic: str) -> list[dict]:
        """All values of a topic so far, tombstones left out."""
        reader = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "none", "fetch.wait.max.ms": 5})
        try:
            place = TopicPartition(self.prefix + topic, 0, 0)
            _, end = reader.get_watermark_offsets(place, timeout=10)
            reader.assign([place])
            messages = [reader.poll(10) for _ in range(end)]
            return [json.loads(m.value()) for m in messages if m is not None and m.value()]
        finally:
            reader.close()

    def epochs(self) -> list[list[int]]:
        """Each board's epoch for churn; nothing for one that holds nothing."""
        return [list(h.command.epoch) for b in self.boards for s, h in b._state.held.items() if s == "model:churn"]

    def end(self) -> None:
        for process in self.controllers:
            if process.poll() is None:
                os.kill(process.pid, signal.SIGCONT)
                process.kill()
            process.wait()
        for board in self.boards:
            board.close()


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as running:
        yield running


@pytest.fixture
def world(broker, tmp_path) -> Iterator[World]:
    world = World(broker, tmp_path)
    yield world
    world.end()


def all_in(world: World, why: str) -> bool:
    return eventually(lambda: all(b.model("churn", "").why == why for b in world.boards), within_s=20)


def test_a_finding_flips_every_node_and_a_release_ends_the_alert(world):
    """The whole path: finding, table, signed command, receipts with proof; and what a person does afterwards."""
    world.controller()
    nodes = [world.node("n1"), world.node("n2")]
    assert all_in(world, "model")
    world.find("warning")
    world.find(value=b"\xff no finding")
    world.find("page", kind="LATENCY")
    assert eventually(lambda: len(world.read("alerts")) == 2)
    assert all(n.model("churn", "").live for n in nodes), "only a page of an acting kind takes a model away"

    world.find("page")
    assert all_in(world, "commanded")
    assert [n.model("other", "").why for n in nodes] == ["model", "model"]
    flipped = {"n1": "fallback", "n2": "fallback"}
    assert eventually(lambda: {r["node"]: r["mode"] for r in world.read("receipts")} == flipped)
    command = world.read("control")[-1]
    assert (command["who"], command["why"], command["evidence"]) == ("policy", "COUPLED_TX on last_login", ["f1"])

    options = ["churn", "--bootstrap", world.bootstrap, "--prefix", world.prefix, "--environment", "test"]
    options += ["--who", "ada", "--why", "trigger removed"]
    assert release.main([*options, "--key", str(world.folder / "control.key")]) == 0
    assert release.main([*options, "--key", str(world.folder / "operator.key")]) == 0
    assert eventually(lambda: [a["status"] for a in world.read("alerts")[-2:]] == ["resolved", "resolved"])
    last = world.read("control")[-1]
    assert (last["who"], last["mode"], last["policy"]["mode"]) == ("ada", "fallback", "probation")
    assert [n.refused for n in nodes] == [{}, {}]


def test_forged_and_replayed_commands_are_refused_and_counted(world):
    world.controller()
    node = world.node("n1")
    assert all_in(world, "model")
    _claim, *commands = world.read("control")
    standing = next(c for c in commands if c["scope"] == "model:churn")
    wanted = records.encode({**standing, "seq": 99, "mode": "fallback"})
    key = records.command_key("model:churn", records.Epoch(*standing["epoch"]))
    stranger = Signer(os.urandom(32))
    held = node._state.held["model:churn"]
    world.send("control", wanted, key, stranger.headers(CONTROL_DOMAIN, wanted))
    world.send("control", wanted, key, [("sig", held.sig), ("kid", held.kid.encode())])
    world.send("control", wanted, key)
    world.send("control", held.value, key, [("sig", held.sig), ("kid", held.kid.encode())])
    expected = {"unknown_key": 1, "bad_signature": 1, "unsigned": 1, "replayed": 1}
    assert eventually(lambda: node.refused == expected), node.refused
    assert node.model("churn", "").live
    # The controller saw its key written over and said again what holds, so that compaction cannot lose it.
    assert eventually(lambda: world.read("control")[-1]["seq"] > standing["seq"])
    assert eventually(lambda: node._state.held["model:churn"].command.seq > standing["seq"])


def test_a_controller_killed_and_restarted_keeps_what_holds_under_a_new_epoch(world):
    first = world.controller()
    world.node("n1")
    assert all_in(world, "model")
    world.find()
    assert all_in(world, "commanded")
    before = world.epochs()
    first.kill()
    first.wait()
    assert all_in(world, "commanded")
    world.controller()
    assert eventually(lambda: world.epochs() > before, within_s=20)
    assert all_in(world, "commanded")
    last = [c for c in world.read("control") if c.get("scope") == "model:churn"][-1]
    assert (last["mode"], last["evidence"]) == ("fallback", ["f1"])


def test_after_a_pause_all_nodes_follow_the_newer_controller(world):
    """The paused one wakes up, sees that it was replaced, and ends without having commanded anything."""
    sleeper = world.controller()
    nodes = [world.node("n1"), world.node("n2")]
    assert all_in(world, "model")
    before = world.epochs()
    os.kill(sleeper.pid, signal.SIGSTOP)
    newer = world.controller()
    assert eventually(lambda: min(world.epochs()) > max(before), within_s=20)
    world.find()
    assert all_in(world, "commanded")
    os.kill(sleeper.pid, signal.SIGCONT)
    # It stands down; on a busy machine the watchdog, which sees that it lost its group, may be quicker.
    assert sleeper.wait(15) in (0, EXIT_STATUS)
    assert newer.poll() is None
    assert len({tuple(e) for e in world.epochs()}) == 1
    assert all_in(world, "commanded")
    assert eventually(lambda: all(not n.model("churn", "").is_stale for n in nodes))


def test_a_node_starts_without_a_broker_from_what_it_held(world):
    world.controller()
    world.node("n1")
    assert all_in(world, "model")
    assert eventually(lambda: any(p.suffix == ".state" for p in world.folder.iterdir()))
    world.boards.pop().close()
    nowhere = "127.0.0.1:1"
    known, unknown = world.node("n1", nowhere), world.node("n2", nowhere)
    assert known.model("churn", "").live
    assert (unknown.model("churn", "").why, unknown.is_ready) == ("no_state", False)


def test_a_node_waits_for_a_broker_without_end(tmp_path):
    """A client that gives up after its first failure would serve the default until somebody restarts it."""
    with EmbeddedBroker() as broker:
        world = World(broker, tmp_path)
        try:
            desk, _ = world.desk()
            broker.broker_down()
            node = world.node("n1")
            assert not node.wait_ready(1.0)
            broker.broker_up()
            assert node.wait_ready(10)
            assert node.model("churn", "").live
            desk.close()
        finally:
            world.end()


def finding() -> bytes:
    return records.encode(Finding("f1", "churn", "last_login", "COUPLED_TX", "page", 1, {"n": 3}, "SELECT 1"))


def test_a_finding_delivered_again_changes_nothing(world):
    """Also to the next controller, and also after a person has released what it caused."""
    desk, rows = world.desk()
    desk.finding(finding(), 0, 7, None)
    desk.finding(finding(), 0, 7, None)
    assert desk.counters["duplicates"] == 1
    assert [(t, r.get("mode") or r.get("status")) for t, r in rows] == [
        ("control", "live"),
        ("control", "fallback"),
        ("alerts", "firing"),
        ("findings", None),
    ]
    signer = signing.load(world.folder / "operator.key")
    desk.finding(*signed(Release("test", "churn", "ada", "fixed", now_us()), signer))
    desk.close()
    again, rows = world.desk()
    again.finding(finding(), 0, 7, None)
    assert again.controller.state("model:churn").mode == "probation"
    assert [t for t, _ in rows] == ["control"]
    again.finding(finding(), 0, 8, None)
    assert again.controller.state("model:churn").mode == "fallback"
    again.close()


def signed(record: Release, signer: Signer) -> tuple[bytes, int, int, list[tuple[str, bytes]]]:
    value, headers = release.sign_release(record, signer)
    return value, 0, 99, headers


def test_a_release_counts_once_from_an_operator_for_the_present_state(world):
    """Replayed against a later breach it would switch a model back on that nobody signed off."""
    desk, _ = world.desk()
    operator, controller = (signing.load(world.folder / f"{name}.key") for name in ("operator", "control"))
    early = now_us()
    desk.finding(finding(), 0, 7, None)
    refused = [
        signed(Release("test", "churn", "ada", "fixed", early), operator),
        signed(Release("prod", "churn", "ada", "fixed", now_us()), operator),
        signed(Release("test", "churn", "ada", "fixed", now_us() + 60_000_000), operator),
        signed(Release("test", "churn", "ada", "fixed", now_us()), controller),
    ]
    for release_ in refused:
        desk.finding(*release_)
    assert desk.counters["releases_refused"] == 4
    assert desk.controller.state("model:churn").mode == "fallback"
    good = signed(Release("test", "churn", "ada", "fixed", now_us()), operator)
    desk.finding(*good)
    assert desk.controller.state("model:churn").mode == "probation"
    desk.finding(finding(), 0, 8, None)
    desk.finding(*good)
    assert desk.controller.state("model:churn").mode == "fallback"
    desk.close()


def test_a_finding_that_a_superseded_controller_was_at_is_not_counted_as_done(world):
    """It raises instead, so that nothing is acknowledged and the newer controller gets the finding."""
    older, rows = world.desk()
    newer, _ = world.desk()
    rows.clear()
    with pytest.raises(Superseded):
        older.finding(finding(), 0, 7, None)
    assert rows == []
    newer.finding(finding(), 0, 7, None)
    assert newer.controller.state("model:churn").mode == "fallback"
    older.close()
    newer.close()


def test_receipts_become_rows_that_say_whether_they_are_proven(world):
    """A forged one is kept, and named: somebody is writing who should not. None is taken twice by the next desk."""
    desk, rows = world.desk()
    world.node("n1")
    assert all_in(world, "model")
    assert eventually(lambda: bool(world.read("receipts")))
    true = world.read("receipts")[0]
    world.send("receipts", records.encode({**true, "sig": "AAAA" + true["sig"][4:], "node": "n9"}))
    world.send("receipts", b"\xff")

    def receipts(found: list[tuple[str, dict]]) -> dict[str, bool]:
        return {row["node"]: row["verified"] for table, row in found if table == "receipts"}

    assert eventually(lambda: desk.tick() or receipts(rows) == {"n1": True, "n9": False})
    assert eventually(lambda: desk.tick() or desk.counters["undecodable"] == 1)
    desk.close()
    again, rows = world.desk()
    again.tick()
    assert "n9" not in receipts(rows)
    again.close()


def test_after_the_control_topic_was_recreated_nodes_follow_again(broker, world):
    """Offsets begin anew: only a higher incarnation can be newer than what nodes hold, and a receipt tells of it."""
    desk, _ = world.desk()
    for _ in range(3):
        desk.tick()
    desk.finding(finding(), 0, 7, None)
    node = world.node("n1")
    assert all_in(world, "commanded")
    assert eventually(lambda: bool(world.read("receipts")))
    desk.close()
    node.close()
    world.boards.clear()
    broker.delete_topic(world.prefix + "control")
    broker.create_topics({world.prefix + "control": 1})
    again, _ = world.desk()
    assert again.controller.epoch == (2, 0)
    restarted = world.node("n1")
    assert restarted.wait_ready(10)
    assert restarted.model("churn", "").why == "commanded"
    assert restarted._state.held["model:churn"].command.epoch == again.controller.epoch
    again.close()
