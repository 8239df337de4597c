"""Records that we write: one Struct per topic, encoded once, decoded by whoever reads them."""

import msgspec

from features.lineage import Scalar

FORMAT = 1


class Written(msgspec.Struct, frozen=True):
    """All versions caused by offsets `first` to `last` of (topic, partition) were sent and acknowledged."""

    topic: str
    partition: int
    first: int
    last: int
    sent_us: int
    acked_us: int
    resent: bool
    format: int = FORMAT


class CurrentValue(msgspec.Struct, frozen=True):
    """One value in the current row of a feature group."""

    value: Scalar
    id: str
    event_time_us: int


class FeatureRow(msgspec.Struct, frozen=True):
    """The whole current row of a feature group of one entity."""

    entity_type: str
    entity: str
    group: str
    offset: int
    generation: int
    values: dict[str, CurrentValue]
    format: int = FORMAT


class DeadLetter(msgspec.Struct, frozen=True):
    """Why and where; the original bytes are the value of the record that carries this as a header."""

    topic: str
    partition: int
    offset: int
    reason: str
    detail: str
    size: int
    digest: str
    format: int = FORMAT


_encoder = msgspec.json.Encoder()
_written = msgspec.json.Decoder(Written)


def encode(record: msgspec.Struct) -> bytes:
    """UTF-8 JSON of a record.

    Examples
    --------
    >>> encode(Written("t", 0, 1, 2, 3, 4, False))
    b'{"topic":"t","partition":0,"first":1,"last":2,"sent_us":3,"acked_us":4,"resent":false,"format":1}'
    """
    return _encoder.encode(record)


def decode_written(value: bytes) -> Written:
    """A `written` record; raises `msgspec.DecodeError` for anything else."""
    return _written.decode(value)


def json_key(*parts: object) -> bytes:
    """A key of several parts: a compact JSON array.

    Examples
    --------
    >>> json_key("user", "42", "users")
    b'["user","42","users"]'
    """
    return _encoder.encode(parts)
