"""The flights from Apache Kafka: what files say, topics say too, but for coordinates and ids."""

import json
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from confluent_kafka import Producer

from streams.broker.admin import TopicSpec, ensure_topics
from streams.settings import load_definitions
from streams.stories import flights
from tests.embedded.test_flights import LEAKS, SOURCES, counts, leaking, replay

pytestmark = pytest.mark.kafka

FLIGHTS = int(os.environ.get("TMINUS_FLIGHTS", "20000"))  # 336776: the whole year


def produce(bootstrap: str, topic: str, path: Path) -> None:
    """Every line as a record, keyed by its flight as a Java producer would."""
    producer = Producer(
        {"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", "linger.ms": 50, "compression.type": "lz4"}
    )
    for line in path.read_bytes().splitlines():
        row = json.loads(line)
        key = row["flight_id"] if "flight_id" in row else row["entity"]["flight"]
        while True:
            try:
                producer.produce(topic, line, str(key))
                break
            except BufferError:
                producer.poll(0.1)
    assert producer.flush(60) == 0


def test_a_kafka_run_and_a_file_run_are_equal_but_for_coordinates_and_ids(apache_kafka, tmp_path: Path):
    """One decoder, one pipeline: where rows come from must not matter."""
    files = flights.write(tmp_path, flights.read_flights().sample(FLIGHTS, seed=5))
    by_file = replay(tmp_path, "schedule", files)
    definitions = load_definitions(flights.configuration("schedule"), {})
    topics = {name: definitions.sources[name].topic for name in (*SOURCES, "at_schedule")}
    ensure_topics(apache_kafka.bootstrap, [TopicSpec(t, definitions.run.partitions) for t in topics.values()])
    for name, topic in topics.items():
        produce(apache_kafka.bootstrap, topic, files[name])
    lake = tmp_path / "lake-kafka"
    command = [sys.executable, "-m", "streams.cli.main", "replay", "--lake", str(lake), "--bootstrap"]
    command += [apache_kafka.bootstrap]
    for path in flights.configuration("schedule"):
        command += ["--config", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode in (0, 1), done.stderr
    assert leaking(counts(lake, "served")) == LEAKS["schedule"]
    for columns, table in (
        ("entity, feature, form, verdict, reason, lead_us, judged_value", "verdicts"),
        ("entity, feature, value, event_time_us, ingest_time_us, visible_from_us", "features"),
    ):
        assert rows_of(by_file, columns, table) == rows_of(lake, columns, table)


def rows_of(lake: Path, columns: str, table: str) -> list[tuple[object, ...]]:
    """Sum and hash of a table's rows, whatever their order."""
    con = duckdb.connect()
    con.execute((lake / "open.sql").read_text())
    text = f"SELECT count(*), bit_xor(hash({columns})), sum(hash({columns}) % 1000003) FROM {table}"
    return con.execute(text).fetchall()
