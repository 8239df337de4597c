"""What was asked of an audit? Every option of the command, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

#: Stands for "no upper bound of visibility is known", as `--visible-time none` does.
NO_COLUMN = "none"


class AuditError(Exception):
    """The files contradict the options or themselves: what was expected, what was found, which row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One audit. Durations and times are microseconds; names are columns; None is the default of the contract."""

    train: Path
    logs: tuple[Path, ...]
    entity: str = "entity"
    prediction_time: str = "prediction_time"
    label: str | None = None
    event_time: str | None = None
    write_time: str = "write_time"
    visible_time: str | None = None
    order: Literal["last_write", "max_event_time"] = "last_write"
    clock_error_us: int = 0
    resolution_us: int | None = None
    covers: tuple[tuple[int, int], ...] = ()
    prediction_resolution_us: int = 1
    prediction_seq: str | None = None
    tolerance: Mapping[str, float] = field(default_factory=dict)
    forward_dated: frozenset[str] = frozenset()
    assumed_lag_us: int = 0
    latency_budget_us: int | None = None
    features: tuple[str, ...] = ()
    label_time: str | None = None
    horizon_us: int | None = None
    extracted_at_us: int | None = None
    stamp: str | None = None
    memory_bytes: int = 2**32
    batch_rows: int = 65_536
    seed: int = 0
