"""The embedded broker is real protocol, obeys, and never outlives its owner."""

import ctypes
import json
import os
import signal
import subprocess
import sys

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from streams.broker import admin, embedded
from streams.broker.embedded import Api, EmbeddedBroker, EmbeddedBrokerError
from tests.brokers import eventually, fresh, produce, read

_NOT_ALLOWED = 29  # TOPIC_AUTHORIZATION_FAILED: a protocol error that no producer tries again after


def _runs(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_wheel_still_has_every_symbol():
    """The smoke test of a new confluent-kafka wheel: what is missing is named, not crashed into."""
    library = ctypes.CDLL(str(embedded.library_path()))
    missing = [name for name in embedded.SYMBOLS if not hasattr(library, name)]
    assert not missing, f"confluent-kafka's librdkafka lost {missing}: adapt SYMBOLS in streams/broker/embedded.py"


def test_a_wheel_without_a_symbol_is_refused_by_its_name():
    """Somebody who upgrades the wheel must read which function went, not a segmentation fault."""
    library = ctypes.CDLL(str(embedded.library_path()))
    with pytest.raises(EmbeddedBrokerError, match="rd_kafka_mock_gone, rd_kafka_mock_lost"):
        embedded.bind(library, {"rd_kafka_mock_gone": (None, ()), "rd_kafka_mock_lost": (None, ())})


def test_a_library_that_cannot_be_used_is_an_error_of_start(monkeypatch):
    """The broker's process cannot raise here, so its last words must come through the pipe."""
    monkeypatch.setattr(embedded, "library_path", lambda: "/nowhere/librdkafka.so")
    with pytest.raises(EmbeddedBrokerError, match="nowhere"):
        EmbeddedBroker().start()


def test_records_go_in_and_come_out_with_key_and_offset(embedded_broker):
    topic = fresh("round-trip")
    embedded_broker.create_topics({topic: 3})
    produce(embedded_broker.bootstrap, topic, [b"one", None], keys=[b"k", b"k"], partition=2)
    first, second = read(embedded_broker.bootstrap, topic, 2, 2)
    assert (first.offset(), first.key(), first.value()) == (0, b"k", b"one")
    assert (second.offset(), second.value()) == (1, None)


def test_it_listens_on_loopback_only(embedded_broker):
    """Anybody who reaches an unprotected broker can write to it."""
    assert embedded_broker.bootstrap.startswith("127.0.0.1:")


def test_a_topic_has_the_partitions_asked_for(embedded_broker):
    """The mock's own guess is 4; partition counts decide where an entity lives."""
    topic = fresh("seven")
    embedded_broker.create_topics({topic: 7})
    assert admin.describe_topics(embedded_broker.bootstrap, [topic])[topic].partitions == 7
    with pytest.raises(EmbeddedBrokerError, match="TOPIC_ALREADY_EXISTS"):
        embedded_broker.create_topics({topic: 7})


def test_a_deleted_topic_is_gone(embedded_broker):
    topic = fresh("gone")
    embedded_broker.create_topics({topic: 1})
    embedded_broker.delete_topic(topic)
    assert admin.describe_topics(embedded_broker.bootstrap, [topic]) == {}


def test_a_group_is_formed_at_once(embedded_broker):
    """The mock waits 3 s by default before a first assignment; that would be paid by every test."""
    topic = fresh("group")
    embedded_broker.create_topics({topic: 2})
    consumer = Consumer({"bootstrap.servers": embedded_broker.bootstrap, "group.id": fresh("g"), "log_level": 2})
    try:
        consumer.subscribe([topic])
        assert eventually(lambda: consumer.poll(0.05) is None and len(consumer.assignment()) == 2, within_s=2)
    finally:
        consumer.close()


def test_a_broker_that_is_down_refuses_and_keeps_its_records():
    with EmbeddedBroker() as broker:
        broker.create_topics({"kept": 1})
        produce(broker.bootstrap, "kept", [b"before"], partition=0)
        broker.broker_down()
        with pytest.raises(admin.BrokerUnavailable):
            admin.probe(broker.bootstrap, 0.3)
        broker.broker_up()
        assert read(broker.bootstrap, "kept", 0, 1)[0].value() == b"before"


def test_answers_take_as_long_as_ordered():
    with EmbeddedBroker() as broker:
        broker.rtt(400)
        with pytest.raises(admin.BrokerUnavailable):
            admin.probe(broker.bootstrap, 0.2)
        broker.rtt(0)
        admin.probe(broker.bootstrap)


def test_injected_errors_are_met_once_and_then_gone(embedded_broker):
    """One error a request, and none once cleared, or a fault would leak into the next test."""
    topic = fresh("faulty")
    embedded_broker.create_topics({topic: 1})
    failures: list[KafkaError] = []
    producer = Producer({"bootstrap.servers": embedded_broker.bootstrap, "log_level": 2})
    embedded_broker.push_errors(Api.PRODUCE, [_NOT_ALLOWED])
    producer.produce(topic, b"refused", on_delivery=lambda error, _: failures.append(error))
    assert producer.flush(10) == 0
    assert failures[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED
    produce(embedded_broker.bootstrap, topic, [b"first"])
    embedded_broker.push_errors(Api.PRODUCE, [_NOT_ALLOWED, _NOT_ALLOWED])
    embedded_broker.clear_errors(Api.PRODUCE)
    produce(embedded_broker.bootstrap, topic, [b"second"])
    assert [m.value() for m in read(embedded_broker.bootstrap, topic, 0, 2)] == [b"first", b"second"]


def test_a_partition_can_be_given_to_another_broker():
    with EmbeddedBroker(brokers=2) as broker:
        broker.create_topics({"moved": 1})
        for leader in (2, 1):
            broker.set_leader("moved", 0, leader)
            client = AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 2})
            assert client.list_topics(timeout=5).topics["moved"].partitions[0].leader == leader


def test_a_log_can_lose_its_beginning(embedded_broker):
    """A log that starts above a fence is a gap that must be named; this is how tests make one."""
    topic = fresh("cut")
    embedded_broker.create_topics({topic: 1})
    for number in range(5):
        produce(embedded_broker.bootstrap, topic, [b"%d" % number], partition=0)
    embedded_broker.delete_records(topic, 0, 3)
    consumer = Consumer({"bootstrap.servers": embedded_broker.bootstrap, "group.id": "none", "log_level": 2})
    assert consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=5) == (3, 5)
    consumer.close()


def test_refusals_name_the_command_and_what_kafka_calls_it(embedded_broker):
    with pytest.raises(EmbeddedBrokerError, match=r"delete_topic .*nosuch.*UNKNOWN_TOPIC_OR_PART"):
        embedded_broker.delete_topic("nosuch")
    with pytest.raises(EmbeddedBrokerError, match="broker_down"):
        embedded_broker.broker_down(99)


def test_a_stopped_or_killed_broker_says_so():
    broker = EmbeddedBroker()
    with pytest.raises(EmbeddedBrokerError, match="start"):
        _ = broker.bootstrap
    broker.start()
    os.kill(broker.pid, signal.SIGKILL)
    with pytest.raises(EmbeddedBrokerError, match="has ended"):
        broker.delete_topic("any")
    broker.stop()
    broker.stop()
    with pytest.raises(EmbeddedBrokerError, match="not running"):
        broker.delete_topic("any")


@pytest.mark.parametrize("heir", [False, True], ids=["the pipe closes", "a child of the dead still holds the pipe"])
def test_it_ends_when_its_owner_is_killed(heir):
    """kill -9 of a test run or a demo must leave nothing behind, whoever inherited the pipe."""
    hold = "os.fork() or (print(os.getpid(), flush=True), time.sleep(60))" if heir else "print(0, flush=True)"
    owner = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os, time\n"
            "from streams.broker.embedded import EmbeddedBroker\n"
            f"broker = EmbeddedBroker().start(); print(broker.pid, flush=True); {hold}; time.sleep(60)",
        ],
        stdout=subprocess.PIPE,
    )
    assert owner.stdout is not None
    broker, child = int(owner.stdout.readline()), int(owner.stdout.readline())
    try:
        assert _runs(broker)
        owner.kill()
        owner.wait()
        assert eventually(lambda: not _runs(broker), within_s=5)
    finally:
        owner.stdout.close()
        if child:
            os.kill(child, signal.SIGKILL)


def test_the_program_can_be_driven_by_hand():
    """One JSON line in, one out: any language can use it, and nonsense does not end it."""
    program = subprocess.run(
        [sys.executable, "-m", "streams.broker.embedded"],
        input='{"do":"create_topic","topic":"t","partitions":2}\nnonsense\n{"do":"fly"}\n{"do":"delete_topic","topic":"t"}\n',
        capture_output=True,
        timeout=10,
        text=True,
        check=True,
    )
    hello, created, nonsense, fly, deleted = map(json.loads, program.stdout.splitlines())
    assert set(hello) == {"bootstrap"}
    assert created == deleted == {"ok": True}
    assert set(nonsense) == set(fly) == {"error"}
