"""What do the raw records of one log say? Read once more, with the standard library alone.

One rule after the other, as the contracts of the inputs tell them; nothing is shared with the code under test. A record
ends as a row, a prediction, a dead letter, or as nothing (tombstones, markers).
"""

import json
from dataclasses import dataclass, field
from typing import Any

EARLIEST_US, LATEST_US = 31_536_000_000_000, 4_102_444_800_000_000  # 1971 to 2099
PER_UNIT = {"s": 1_000_000, "ms": 1_000, "us": 1, "ns": 0.001}
TOO_LARGE = 1_048_576
AHEAD_US = 60_000_000
MISSING = object()


@dataclass(frozen=True)
class Raw:
    """One record as the broker holds it; `append_us`: the broker's own time, None where it keeps the producer's."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    append_us: int | None = None


@dataclass
class Row:
    """A row of a source, with its original coordinates and those it was read at."""

    entity: str
    event_us: int
    ingest_us: int
    append_us: int | None
    from_us: int | None  # no read before this found it, by its source; None: unknown
    by_us: int | None  # every read from this on found it
    partition: int
    offset: int
    log_offset: int
    values: dict[str, Any]


@dataclass
class Prediction:
    """One logged prediction; `cells`: feature -> (value, stamp)."""

    model: str
    prediction_id: str
    entity: str
    read_us: int
    ingest_us: int
    partition: int
    offset: int
    cells: dict[str, tuple[Any, str | None]] = field(default_factory=dict)


class Refused(Exception):
    """The record breaks its contract; the argument is the reason."""


def murmur2(key: bytes) -> int:
    """Kafka's hash of a key, from the Java client (org.apache.kafka.common.utils.Utils), in 32-bit arithmetic."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = 0x9747B28C ^ len(key)
    at = 0
    while len(key) - at >= 4:
        k = int.from_bytes(key[at : at + 4], "little")
        k = k * m & mask
        k ^= k >> 24
        k = k * m & mask
        h = h * m & mask
        h ^= k
        at += 4
    rest = len(key) - at
    if rest == 3:
        h ^= key[at + 2] << 16
    if rest >= 2:
        h ^= key[at + 1] << 8
    if rest >= 1:
        h ^= key[at]
        h = h * m & mask
    h ^= h >> 13
    h = h * m & mask
    return h ^ (h >> 15)


def home_of(entity: str, partitions: int) -> int:
    """The partition on which an entity lives."""
    return (murmur2(entity.encode()) & 0x7FFFFFFF) % partitions


def instant(value: Any, unit: str | None) -> int:
    """Microseconds of an integer stamp."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise Refused("wrong_type")
    fitting = [u for u in PER_UNIT if EARLIEST_US <= int(value * PER_UNIT[u]) <= LATEST_US]
    if unit is None:
        if not fitting:
            raise Refused("time_range")
        unit = fitting[0]
    if unit not in fitting:
        raise Refused("time_unit" if fitting else "time_range")
    return value // 1000 if unit == "ns" else int(value * PER_UNIT[unit])


def needed(body: dict[str, Any], name: str) -> Any:
    """The field, which has to be there (it may be null)."""
    if name not in body:
        raise Refused("missing_field")
    return body[name]


def parsed(value: bytes) -> dict[str, Any]:
    """The JSON object in a value."""
    if len(value) > TOO_LARGE:
        raise Refused("too_large")
    if value[:1] == b"\0":
        raise Refused("registry_frame")
    try:
        body = json.loads(value.decode("utf-8"))
    except (ValueError, RecursionError):
        raise Refused("undecodable") from None
    if not isinstance(body, dict):
        raise Refused("wrong_type")
    return body


def entity_of(value: Any) -> str:
    """The text of an entity."""
    if isinstance(value, str) and value == "":
        raise Refused("missing_field")
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise Refused("wrong_type")
    return str(value)


def scalar(value: Any, kind: str) -> Any:
    """A payload value of the declared kind: number, text, or any scalar."""
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    fits = {"number": is_number, "text": isinstance(value, str), "any": is_number or isinstance(value, str | bool)}
    if not fits[kind]:
        raise Refused("wrong_type")
    return value


def ingest_of(body: dict[str, Any], source: dict[str, Any], append_us: int | None) -> int:
    """When the row reached us: the declared field, else the broker's time. A receive time has no place in a proof."""
    if source["ingest_time"]:
        return instant(needed(body, source["ingest_time"]), None)
    assert append_us is not None, "the oracle needs ingest times that can be read twice"
    return append_us


def row_of(
    value: bytes, source: dict[str, Any], clock_error_us: int, where: tuple[int, int, int], append_us: int | None
) -> Row:
    """The row in one value; `where`: original partition and offset, offset at which it was read."""
    body = parsed(value)
    if source["format"] == "debezium":
        if "op" not in body and isinstance(body.get("payload"), dict):
            body = body["payload"]
        if body.get("op") not in ("c", "u", "d", "r"):
            raise Refused("wrong_type")
        if not isinstance(body.get("source"), dict):
            raise Refused("missing_field")
        image = body.get("before") if body["op"] == "d" else body.get("after")
        if not isinstance(image, dict):
            raise Refused("missing_field")
        commit_us = instant(needed(body["source"], "ts_us"), "us")
        event_us, by_us = commit_us, commit_us + 1 + clock_error_us
        from_us = None if body["op"] == "r" else commit_us - clock_error_us
        is_deleted = body["op"] == "d"
    else:
        image = body
        event_us = instant(needed(body, source["event_time"]), source["event_unit"])
        from_us = by_us = None
        is_deleted = False
    ingest_us = ingest_of(body, source, append_us)
    values = {n: None if is_deleted else scalar(needed(image, n), kind) for n, kind in source["columns"].items()}
    entity = entity_of(needed(image, source["entity_field"]))
    return Row(entity, event_us, ingest_us, append_us, from_us, by_us, *where, values)


def prediction_of(
    value: bytes, source: dict[str, Any], models: dict[str, Any], clock_error_us: int, where: tuple[int, int],
    append_us: int | None,
) -> Prediction:  # fmt: skip
    """The prediction in one value; `where`: original partition and offset."""
    body = parsed(value)
    name = body.get("model")
    if name not in models:
        raise Refused("unknown_model")
    read_us = instant(needed(body, "read_time"), None)
    ingest_us = ingest_of(body, source, append_us)
    if read_us > ingest_us + clock_error_us + AHEAD_US:
        raise Refused("time_range")
    if "prediction_id" not in body:
        raise Refused("missing_field")
    entity = body.get("entity")
    if isinstance(entity, dict):
        entity = entity.get(models[name]["entity_type"])
    if entity is None:
        raise Refused("missing_field")
    logged = body.get("features")
    if not isinstance(logged, dict):
        raise Refused("missing_field")
    found = Prediction(name, str(body["prediction_id"]), entity_of(entity), read_us, ingest_us, *where)
    for feature in models[name]["features"]:
        value_of = needed(logged, feature)
        if isinstance(value_of, list | dict):
            raise Refused("wrong_type")
        found.cells[feature] = (value_of, (body.get("read") or {}).get(feature))
    return found


def text_of(value: Any) -> str | None:
    """The text by which a value is shown."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value == int(value):
        return str(int(value))
    return str(value)


def kind_and_text(value: Any) -> tuple[str, str] | None:
    """What makes two values one: 3 and 3.0 are, 3 and "3" are not. None for NULL."""
    if value is None:
        return None
    kind = "text" if isinstance(value, str) else "bool" if isinstance(value, bool) else "number"
    return kind, str(text_of(value))
