"""One record of a log, and why it may be refused.

Everything behind this file sees records and rows; how bytes were framed or compressed is the transport's affair.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

Headers = list[tuple[str, bytes | None]]

#: Values beyond this are refused: their digest and size are kept, not their bytes.
VALUE_BYTES_MAX = 1_048_576
#: Original bytes that a dead letter keeps, on its topic and in the lake; beyond, size and digest.
LETTER_BYTES_MAX = 262_144


#: Instead of a receive time: rows of a file arrive at their write time, else at their event time.
AT_ITS_OWN_TIME = -1


class Refusal(StrEnum):
    """Why a record becomes a dead letter; stable, since people filter by it."""

    UNDECODABLE = "undecodable"
    NULL_VALUE = "null_value"
    TOO_LARGE = "too_large"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    TIME_UNIT = "time_unit"
    TIME_RANGE = "time_range"
    UNKNOWN_MODEL = "unknown_model"
    REGISTRY_FRAME = "registry_frame"


class Record(Protocol):
    """What the transport hands over, one record at a time."""

    offset: int
    timestamp_ms: int
    timestamp_is_append: bool
    key: bytes | None
    value: bytes | None
    headers: Headers


@runtime_checkable
class InColumns(Protocol):
    """Records that also lie in columns: offsets and times int64[n], bool[n], and the bytes of each value."""

    offset: npt.NDArray[np.int64]
    timestamp_ms: npt.NDArray[np.int64]
    is_append: npt.NDArray[np.bool_]
    values: list[bytes | None]


@dataclass(slots=True)
class PlainRecord:
    """A record that did not come from a broker: a row of a file, a test."""

    offset: int
    value: bytes | None
    key: bytes | None = None
    timestamp_ms: int = -1
    timestamp_is_append: bool = False
    headers: Headers = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that contradicts its contract, with its coordinates and the reason."""

    topic: str
    partition: int
    offset: int
    reason: Refusal
    detail: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    ingest_time_us: int


class DecodeError(Exception):
    """A record does not fulfil its contract.

    Raised and caught inside `streams.wire`; becomes a `Rejected`.
    """

    def __init__(self, reason: Refusal, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
