"""What of Faust and aiokafka is private and leaned on. Red after an upgrade means: read the new code, then mend."""

import inspect
import re

import aiokafka
import faust
import pytest
from aiokafka.cluster import ClusterMetadata
from aiokafka.consumer import fetcher, group_coordinator, subscription_state
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from faust.app.base import App
from faust.tables.recovery import Recovery
from faust.transport import consumer as faust_consumer
from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as stock
from mode.utils.queues import FlowControlEvent

from streams.transport import driver, standins
from streams.transport.app import make_app


def names(function) -> list[str]:
    return list(inspect.signature(function).parameters)


def source(thing) -> str:
    return re.sub(r"\s+", " ", inspect.getsource(thing))


def test_the_versions_are_those_that_were_read():
    assert faust.__version__ == "0.15.3"
    assert aiokafka.__version__.startswith("0.14.")


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (
            standins.StockPartitionRecords.__init__,
            "self tp records aborted_transactions fetch_offset key_deserializer value_deserializer check_crcs"
            " isolation_level",
        ),
        (fetcher.Fetcher.seek_to, "self tp offset"),
        (fetcher.Fetcher.request_offset_reset, "self tps strategy"),
        (group_coordinator.GroupCoordinator._perform_assignment, "self response"),
        (AbstractPartitionAssignor.assign, "cluster members"),
        (AbstractPartitionAssignor.metadata, "topics"),
        (AbstractPartitionAssignor.on_assignment, "assignment"),
        (ClusterMetadata.partitions_for_topic, "self topic"),
        (aiokafka.AIOKafkaConsumer.committed, "self partition"),
        (stock.Consumer._to_message, "self tp record"),
        (stock.Consumer._new_consumer_thread, "self"),
        (stock.AIOKafkaConsumerThread._create_worker_consumer, "self transport"),
        (faust_consumer.Consumer.getmany, "self timeout"),
        (faust_consumer.Consumer._wait_next_records, "self timeout"),
        (faust_consumer.Consumer.resume_flow, "self"),
        (faust_consumer.Consumer.perform_seek, "self"),
        (faust_consumer.Consumer._new_offset, "self tp"),
        (faust_consumer.Consumer._add_gap, "self tp offset_from offset_to"),
        (faust_consumer.Consumer._commit_offsets, "self offsets start_new_transaction"),
        (faust_consumer.Consumer.on_partitions_revoked, "self revoked"),
        (faust_consumer.Consumer.on_partitions_assigned, "self assigned generation_id"),
        (faust_consumer.Consumer.on_task_error, "self exc"),
        (faust_consumer.ThreadDelegateConsumer._seek, "self partition offset"),
        (faust.Schema.compile, "self app on_key_decode_error on_value_decode_error default_propagate"),
    ],
)
def test_signatures_are_those_that_are_overridden_or_called(function, expected):
    assert names(function) == expected.split()


def test_the_fetcher_makes_its_readers_by_the_names_that_are_replaced():
    text = source(fetcher.Fetcher._proc_fetch_request)
    assert "records = MemoryRecords(part_data[-1])" in text
    assert "PartitionRecords( tp, records, aborted_transactions, fetch_offset, self._key_deserializer," in text
    assert {"next_fetch_offset"} <= set(re.findall(r"_partition_records\.(\w+)", source(fetcher.FetchResult)))


def test_the_consumer_reads_our_settings_when_it_starts():
    text = source(aiokafka.AIOKafkaConsumer.start)
    for name in ["key_deserializer", "fetch_min_bytes", "fetch_max_wait_ms", "isolation_level"]:
        assert f"{name}=self._{name}" in text
    assert "assignors=self._partition_assignment_strategy" in text


def test_the_watchdog_finds_what_it_looks_at():
    coordinator = source(group_coordinator.GroupCoordinator.__init__)
    for name in ["_coordination_task", "_pending_exception", "generation"]:
        assert f"self.{name} =" in coordinator
    assert "self._fetch_task =" in source(fetcher.Fetcher.__init__)
    assert "self._default_reset_strategy =" in source(fetcher.Fetcher.__init__)
    state = source(subscription_state.TopicPartitionState)
    assert all(name in state for name in ["self.highwater =", "self.timestamp =", "def has_valid_position"])
    assert hasattr(subscription_state.SubscriptionState, "reassignment_in_progress")


def test_a_rebalance_ends_with_seek_then_emptied_queues_then_flow():
    """The gate opens in `resume_flow`: after our seek, and after the queues were emptied."""
    text = source(Recovery._resume_streams)
    assert text.index("perform_seek()") < text.index("flow_control.resume()") < text.index("consumer.resume_flow()")
    between = text[text.index("flow_control.resume()") : text.index("consumer.resume_flow()")]
    assert "await" not in between
    assert "self.clear()" in source(FlowControlEvent.resume)


def test_a_rebalance_lets_batches_end_and_empties_queues_before_it_revokes():
    text = source(App._on_partitions_revoked)
    assert text.index("consumer.stop_flow") < text.index("flow_control.clear") < text.index("_consumer_wait_empty")


def test_acknowledged_offsets_are_found_in_the_index():
    """The compiled stream writes them there itself, by last offset, and never calls the consumer."""
    text = source(faust_consumer.Consumer.ack)
    assert all(part in text for part in ["self._acked_index[tp]", "self._acked[tp]", "self._n_acked += 1"])
    assert "for tp in self._acked if" in source(faust_consumer.Consumer._filter_tps_with_pending_acks)


def test_an_agents_error_reaches_the_consumer():
    assert "self._consumer.on_task_error(exc)" in source(App._on_agent_error)


def test_messages_below_the_read_offset_are_dropped_by_faust():
    """Why a log that jumps back must have its read offset forgotten."""
    text = source(faust_consumer.Consumer._drain_messages)
    assert "self._read_offset.__getitem__" in text
    assert "if r_offset is None or offset >= r_offset" in text


def test_the_scheme_is_known_and_stock_faust_stays_reachable():
    driver.register()
    assert TRANSPORTS.by_url("tminus://x:1") is driver.Transport
    assert make_app("a", "x:1", batch=False).conf.broker[0].scheme == "kafka"
    assert [str(url) for url in make_app("a", "x:1,y:2").conf.broker] == ["tminus://x:1", "tminus://y:2"]


def test_replacing_the_names_twice_keeps_the_stock_class():
    standins.install()
    standins.install()
    assert fetcher.PartitionRecords is standins.partition_records
    assert standins.StockPartitionRecords.__name__ == "PartitionRecords"
