"""What only Apache Kafka can show: topic settings, append times, and a log that survives kill -9."""

import os
import subprocess
import sys

import pytest

from streams.broker import apache
from streams.broker.admin import (
    BrokerError,
    TopicSpec,
    append_time_topics,
    begin_offsets,
    describe_topics,
    end_offsets,
    ensure_topics,
    is_embedded,
)
from streams.broker.apache import ApacheKafka, ApacheKafkaError
from tests.brokers import eventually, fresh, produce, read

pytestmark = pytest.mark.kafka

_CREATE_TIME, _APPEND_TIME = 1, 2  # confluent-kafka's numbers for the two kinds of timestamps
_DAY_MS = 86_400_000


def test_topics_get_the_settings_declared(apache_kafka):
    """The timestamp of a record is a witness only where the broker made it, so we have to know where that is."""
    stamped = TopicSpec(fresh("stamped"), 3, {"message.timestamp.type": "LogAppendTime", "cleanup.policy": "compact"})
    plain = TopicSpec(fresh("plain"), 2)
    assert ensure_topics(apache_kafka.bootstrap, [stamped, plain]) == {stamped.name, plain.name}
    assert ensure_topics(apache_kafka.bootstrap, [stamped, plain]) == set()
    facts = describe_topics(apache_kafka.bootstrap, [stamped.name, plain.name])
    assert (facts[stamped.name].partitions, facts[plain.name].partitions) == (3, 2)
    assert facts[stamped.name].config["cleanup.policy"] == "compact"
    assert append_time_topics(apache_kafka.bootstrap, [stamped.name, plain.name]) == {stamped.name}


def test_a_setting_kafka_does_not_know_is_told(apache_kafka):
    with pytest.raises(BrokerError, match=r"Unknown topic config name: retention\.mss"):
        ensure_topics(apache_kafka.bootstrap, [TopicSpec(fresh("typo"), 1, {"retention.mss": "1"})])


def test_append_time_is_the_brokers_and_offsets_go_on(apache_kafka):
    topic = fresh("times")
    ensure_topics(apache_kafka.bootstrap, [TopicSpec(topic, 2, {"message.timestamp.type": "LogAppendTime"})])
    produce(apache_kafka.bootstrap, topic, [b"a", b"b"], partition=1)
    first, second = read(apache_kafka.bootstrap, topic, 1, 2)
    assert first.timestamp()[0] == second.timestamp()[0] == _APPEND_TIME
    assert 0 <= second.timestamp()[1] - first.timestamp()[1] < _DAY_MS
    assert end_offsets(apache_kafka.bootstrap, [topic]) == {(topic, 0): 0, (topic, 1): 2}
    assert begin_offsets(apache_kafka.bootstrap, [topic]) == {(topic, 0): 0, (topic, 1): 0}
    assert not is_embedded(apache_kafka.bootstrap)


def test_acknowledged_records_survive_kill_9_at_the_same_address():
    """Has a broker of its own: the others' tests would not like it to be killed."""
    with ApacheKafka() as kafka:
        where = kafka.bootstrap
        ensure_topics(where, [TopicSpec("kept", 1)])
        produce(where, "kept", [b"before"], partition=0)
        before = kafka.pid
        kafka.kill()
        kafka.restart()
        assert kafka.bootstrap == where
        assert kafka.pid != before
        produce(where, "kept", [b"after"], partition=0)
        assert [m.value() for m in read(where, "kept", 0, 2)] == [b"before", b"after"]


def test_it_ends_when_its_owner_is_killed(monkeypatch, tmp_path):
    """A Java process left behind on a developer's machine is half a gigabyte nobody finds; its data is another."""
    program = "import time\nfrom streams.broker.apache import ApacheKafka\n"
    program += "kafka = ApacheKafka().start(); print(kafka.pid, flush=True); time.sleep(300)"
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    owner = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert owner.stdout is not None
    java = int(owner.stdout.readline())
    assert os.path.exists(f"/proc/{java}")
    owner.kill()
    owner.wait()
    owner.stdout.close()
    assert eventually(lambda: not os.path.exists(f"/proc/{java}") and not list(tmp_path.iterdir()), within_s=15)


def test_a_broker_that_cannot_start_shows_its_log():
    kafka = ApacheKafka(settings={"process.roles": "broker,broker"})
    with pytest.raises(ApacheKafkaError, match=r"process\.roles"):
        kafka.start()


def test_a_fetch_leaves_the_finished_folder_and_nothing_else(monkeypatch, tmp_path):
    """The cache appears whole or not at all: an interrupted fetch must not look finished."""
    monkeypatch.setenv("TMINUS_CACHE", str(tmp_path))
    jars = apache.ensure_jars()
    assert jars == tmp_path / f"kafka-{apache.kafka_version()}" / "lib"
    assert any(jar.name.startswith("kafka-clients-") for jar in jars.iterdir())
    assert [entry.name for entry in jars.parent.iterdir()] == ["lib"]
