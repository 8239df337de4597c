"""Rows that travel to the partition of their entity, and markers that say how far the traveller has read.

A forwarded record is the original one, keyed by the entity id, with its original coordinates in the header
`tminus_origin`. A marker has no value and says: of original partition p everything below `next` was looked at,
and everything that had arrived there until `covered_us` is here.
"""

from dataclasses import dataclass

import msgspec

from streams.wire.records import DecodeError, Headers, Record, Refusal

ORIGIN = "tminus_origin"
MARKER = "tminus_marker"


@dataclass(frozen=True, slots=True)
class Origin:
    """Original coordinates of a row. `received_us` is 0 where the row was not forwarded."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    is_append: bool
    received_us: int = 0


_origin = msgspec.json.Decoder(tuple[str, int, int, int, bool, int])
_marker = msgspec.json.Decoder(tuple[int, int, int])


def origin_header(origin: Origin, received_us: int) -> tuple[str, bytes]:
    """The header that carries original coordinates.

    Examples
    --------
    >>> origin_header(Origin("cdc.users", 3, 17, 1700000000000, True), 5)
    ('tminus_origin', b'["cdc.users",3,17,1700000000000,true,5]')
    """
    fields = (
        origin.topic,
        origin.partition,
        origin.offset,
        origin.timestamp_ms,
        origin.is_append,
        received_us,
    )
    return ORIGIN, msgspec.json.encode(fields)


def marker_header(partition: int, next_offset: int, covered_us: int) -> tuple[str, bytes]:
    """The header of a marker.

    Examples
    --------
    >>> marker_header(2, 100, 1700000000000000)
    ('tminus_marker', b'[2,100,1700000000000000]')
    """
    return MARKER, msgspec.json.encode((partition, next_offset, covered_us))


def read_origin(record: Record) -> tuple[Origin, tuple[int, int, int] | None]:
    """Original coordinates of a forwarded record, or the marker it is.

    Raises
    ------
    DecodeError
        Neither header is there, or it cannot be read.
    """
    found: Headers = record.headers
    try:
        for name, value in found:
            if name == ORIGIN and value is not None:
                return Origin(*_origin.decode(value)), None
            if name == MARKER and value is not None:
                return Origin("", -1, -1, -1, False), _marker.decode(value)
    except msgspec.DecodeError as error:
        raise DecodeError(Refusal.UNDECODABLE, f"header of a forwarded row: {error}") from None
    raise DecodeError(Refusal.MISSING_FIELD, f"{ORIGIN}: header missing in a log of forwarded rows")
