"""One table is the truth about topics."""

from features.declare import declare
from features.definitions import Definitions
from streams.broker.admin import TopicSpec
from streams.topics import TABLE, by_topic, differences, input_topics, topic_specs


def definitions() -> Definitions:
    source = {"topic": "cdc.users", "entity": {"user": "id"}}
    return declare([("t.toml", {"source": {"users": source}, "run": {"partitions": 3, "prefix": "x."}})])


def test_every_topic_that_is_written_is_created():
    """A worker that meets a missing topic would drop it with a log line and never pick it up again."""
    names = [s.name for s in topic_specs(definitions())]
    ours = [f"x.{row.name}" for row in TABLE if not row.is_planned and not row.name.startswith("by-")]
    assert names == ["cdc.users", "x.by-user.users", *ours]
    assert input_topics(definitions()) == {"cdc.users"}


def test_what_is_one_order_has_one_partition():
    """The control topic is an authority because it has one order."""
    partitions = {s.name: s.partitions for s in topic_specs(definitions())}
    assert partitions["x.control"] == partitions["x.heartbeat"] == partitions["x.alerts"] == 1
    assert partitions["x.features"] == partitions["x.written"] == partitions["x.by-user.users"] == 3


def test_our_own_writes_carry_the_brokers_clock():
    """The append time is a second witness of when a value became readable."""
    config = {s.name: s.config for s in topic_specs(definitions())}
    assert config["x.features"]["message.timestamp.type"] == "LogAppendTime"
    assert config["x.control"]["cleanup.policy"] == "compact"


def test_forwarded_rows_have_a_topic_of_their_source():
    """Sources of one entity type may differ in partitions and retention."""
    assert by_topic("x.", definitions().sources["users"]) == "x.by-user.users"


def test_differences_are_sentences_and_inputs_are_not_ours_to_compare():
    """An input may have any number of partitions: its rows are forwarded."""
    specs = [TopicSpec("in", 4, {}), TopicSpec("alerts", 1, {"cleanup.policy": "compact,delete"})]
    fine = {"in": (9, {}), "alerts": (1, {"cleanup.policy": "delete,compact"})}
    assert differences(specs, fine, {"in"}) == []
    assert differences(specs, fine | {"alerts": (1, {"cleanup.policy": "delete"})}, {"in"}) == [
        "alerts: expected cleanup.policy=compact,delete, found delete"
    ]
    assert differences(specs, {}, {"in"}) == ["in: missing", "alerts: missing"]
