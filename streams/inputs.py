"""Recorded logs, from files or from a broker, as records in offset order.

A replay reads each log to an end that is known when it starts. Rows of a file become records with the JSON that a
producer would have written, so one decoder reads both.
"""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, KafkaError, TopicPartition

from streams.wire.records import Headers, PlainRecord

#: Records read at a time from one log.
CHUNK = 50_000

Chunks = Iterator[list[PlainRecord]]


@dataclass(frozen=True, slots=True)
class RecordedLog:
    """One log to be replayed: `chunks()` yields its records, offsets rising, up to and without `end`."""

    topic: str
    partition: int
    chunks: Callable[[], Chunks]
    end: int | None = None  # None: known once read


class InputError(Exception):
    """A file or topic that cannot be replayed: what, where, what was expected."""


def file_log(topic: str, paths: list[Path]) -> RecordedLog:
    """The rows of files as partition 0 of `topic`; offset = row number, counted on over the files.

    Raises
    ------
    InputError
        A file is missing, cannot be read, or is of no known kind.
    """
    for path in paths:
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        _reader(path)

    def chunks() -> Chunks:
        offset = 0
        for path in paths:
            for values in _reader(path)(path):
                yield [PlainRecord(offset + i, value) for i, value in enumerate(values)]
                offset += len(values)

    return RecordedLog(topic, 0, chunks)


def _reader(path: Path) -> Callable[[Path], Iterator[list[bytes]]]:
    kinds = {".ndjson": _lines, ".jsonl": _lines, ".json": _lines, ".parquet": _parquet, ".csv": _csv}
    reader = kinds.get(path.suffix.lower())
    if reader is None:
        raise InputError(
            f"{path}: expected a file named .ndjson, .jsonl, .json, .parquet or .csv, found {path.suffix!r}"
        )
    return reader


def _lines(path: Path) -> Iterator[list[bytes]]:
    with path.open("rb") as file:
        chunk: list[bytes] = []
        for line in file:
            if line.strip():
                chunk.append(line.rstrip(b"\r\n"))
            if len(chunk) >= CHUNK:
                yield chunk
                chunk = []
        if chunk:
            yield chunk


def _parquet(path: Path) -> Iterator[list[bytes]]:
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(CHUNK):
                yield [_as_json(row) for row in batch.to_pylist()]
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path}: cannot be read as Parquet: {error}") from None


def _csv(path: Path) -> Iterator[list[bytes]]:
    try:
        frame = pl.read_csv(path, infer_schema_length=None, try_parse_dates=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{path}: cannot be read as CSV: {error}") from None
    for part in frame.iter_slices(CHUNK):
        yield [_as_json(row) for row in part.iter_rows(named=True)]


def _as_json(row: dict[str, Any]) -> bytes:
    return msgspec.json.encode({name: _plain(value) for name, value in row.items()})


def _plain(value: Any) -> Any:
    """A cell as JSON would carry it: times as ISO text in UTC, decimals as numbers, texts of JSON objects opened."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, str) and value[:1] == "{" and value[-1:] == "}":
        try:
            return json.loads(value)
        except ValueError:
            return value
    if isinstance(value, float) and math.isnan(value):
        return None
    return value


def kafka_log(
    bootstrap: str, topic: str, partition: int, first: int, end: int, settings: dict[str, str]
) -> RecordedLog:
    """One partition of a topic, from `first` up to the end found at start."""

    def chunks() -> Chunks:
        consumer = Consumer(
            {
                **settings,
                "bootstrap.servers": bootstrap,
                "group.id": "tminus-replay",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 20,
                "fetch.queue.backoff.ms": 5,
                "broker.address.family": "v4",
            }
        )
        try:
            consumer.assign([TopicPartition(topic, partition, first)])
            yield from _consume(consumer, topic, end)
        finally:
            consumer.close()

    return RecordedLog(topic, partition, chunks, end)


def _consume(consumer: Consumer, topic: str, end: int) -> Chunks:
    found: list[PlainRecord] = []
    is_ended = False
    while not is_ended:
        for message in consumer.consume(512, 0.05):
            error = message.error()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    is_ended = True
                    break
                raise InputError(f"{topic}: {error.str()}")
            offset = message.offset()
            if offset is None or offset >= end:
                is_ended = True
                break
            kind, stamp_ms = message.timestamp()
            headers: Headers = list(message.headers() or [])  # type: ignore[arg-type]
            is_append = kind == TIMESTAMP_LOG_APPEND_TIME
            found.append(PlainRecord(offset, message.value(), message.key(), stamp_ms, is_append, headers))
        if len(found) >= CHUNK:
            yield found
            found = []
    if found:
        yield found
