"""Topics are declared before anybody works, and a missing broker is told in plain words."""

import pytest

from streams.broker.admin import (
    BrokerError,
    BrokerUnavailable,
    TopicFacts,
    TopicSpec,
    append_time_topics,
    begin_offsets,
    describe_topics,
    end_offsets,
    ensure_topics,
    is_embedded,
    partition_counts,
    probe,
)
from tests.brokers import fresh, produce


def test_a_silent_address_is_named_with_the_reason():
    """The default waits 8 s, inside the promised 10: whoever typed a wrong port must see which, and why."""
    with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:1\b.*Connection refused") as caught:
        probe("127.0.0.1:1", 0.3)
    assert caught.value.address == "127.0.0.1:1"
    assert caught.value.waited_s < 2
    assert caught.value.retriable


def test_every_question_notices_a_missing_broker(monkeypatch):
    monkeypatch.setattr("streams.broker.admin._REQUEST_S", 0.2)
    with pytest.raises(BrokerUnavailable):
        ensure_topics("127.0.0.1:1", [TopicSpec("t", 1)])
    with pytest.raises(BrokerUnavailable):
        describe_topics("127.0.0.1:1")
    with pytest.raises(BrokerUnavailable):
        end_offsets("127.0.0.1:1", ["t"])


def test_declaring_twice_creates_once(embedded_broker):
    one, other = TopicSpec(fresh("a"), 3), TopicSpec(fresh("b"), 5)
    where = embedded_broker.bootstrap
    assert ensure_topics(where, [one], embedded=embedded_broker) == {one.name}
    assert ensure_topics(where, [one, other], embedded=embedded_broker) == {other.name}
    assert ensure_topics(where, [one, other]) == set()
    assert describe_topics(where, [one.name, other.name]) == {
        one.name: TopicFacts(3, {}),
        other.name: TopicFacts(5, {}),
    }


def test_another_number_of_partitions_is_refused(embedded_broker):
    """Otherwise half of the entities would live where nobody looks for them."""
    spec = TopicSpec(fresh("counted"), 3)
    ensure_topics(embedded_broker.bootstrap, [spec], embedded=embedded_broker)
    with pytest.raises(BrokerError, match="expected 4 partitions, found 3"):
        ensure_topics(embedded_broker.bootstrap, [TopicSpec(spec.name, 4)], embedded=embedded_broker)


def test_the_embedded_broker_is_not_asked_over_the_protocol(embedded_broker):
    """It has no CreateTopics: the client would wait for a controller that never comes, then time out."""
    name = fresh("unborn")
    with pytest.raises(BrokerError, match=name):
        ensure_topics(embedded_broker.bootstrap, [TopicSpec(name, 1)])
    assert describe_topics(embedded_broker.bootstrap, [name]) == {}, "asking must not create"


def test_the_embedded_broker_has_no_witness_of_append_time(embedded_broker):
    topic = fresh("clock")
    ensure_topics(
        embedded_broker.bootstrap,
        [TopicSpec(topic, 1, {"message.timestamp.type": "LogAppendTime"})],
        embedded=embedded_broker,
    )
    assert append_time_topics(embedded_broker.bootstrap, [topic]) == set()


def test_offsets_cover_every_partition(embedded_broker):
    """Replay reads each log from its oldest offset to the end found now; a forgotten partition would be a hole."""
    topic, where = fresh("ends"), embedded_broker.bootstrap
    ensure_topics(where, [TopicSpec(topic, 2)], embedded=embedded_broker)
    for value in (b"x", b"y", b"z"):
        produce(where, topic, [value], partition=1)
    embedded_broker.delete_records(topic, 1, 2)
    assert end_offsets(where, [topic]) == {(topic, 0): 0, (topic, 1): 3}
    assert begin_offsets(where, [topic]) == {(topic, 0): 0, (topic, 1): 2}
    assert partition_counts(where, [topic]) == {topic: 2}
    assert end_offsets(where, []) == {}


@pytest.mark.parametrize("question", [end_offsets, begin_offsets, partition_counts])
def test_questions_about_a_topic_that_is_not_there_name_it(embedded_broker, question):
    with pytest.raises(BrokerError, match="nosuch"):
        question(embedded_broker.bootstrap, ["nosuch"])


def test_the_embedded_broker_is_known_from_its_answers(embedded_broker):
    """Timings that suit the one are wrong for the other, and only the address is given."""
    assert is_embedded(embedded_broker.bootstrap)
