"""What the user declared: sources, features, models.

Definitions are data: frozen Structs, one meaning for stream and batch. This file holds their shape and what
follows from them alone; reading TOML, naming wrong keys and checking across tables is `features.declare`.
"""

from typing import Literal

import msgspec

from features.lineage import text_hash

Format = Literal["json", "debezium"]
Aggregate = Literal["count", "sum", "mean", "min", "max", "last"]
Join = Literal["as_of", "event_time", "latest"]
Clock = Literal["wall", "data"]
Kind = Literal["number", "text", "bool", "any"]


class Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A frozen table of the configuration."""


class TimeField(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A field that holds a time. `unit` None: found by magnitude, value by value."""

    field: str
    unit: Literal["s", "ms", "us", "ns"] | None = None


class Source(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Rows of one topic. Durations are microseconds."""

    name: str
    topic: str
    format: Format = "json"
    entity_type: str = ""
    entity_field: str = ""
    event_time: TimeField | None = None
    ingest_time: TimeField | None = None
    write_time: TimeField | None = None
    visible_time: TimeField | None = None
    txid: str | None = None
    lateness_us: int = 0
    resolution_us: int = 1
    clock_error_us: int | None = None  # None: that of [run]
    order: Literal["last_write", "max_event_time"] = "last_write"
    fields: dict[str, str] = {}  # renamed fields of predictions and labels
    kinds: dict[str, Kind] = {}  # payload columns that something reads, and as what
    owner: str = ""
    tags: tuple[str, ...] = ()


class Delay(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How long after its anchor something becomes known, microseconds. None: not declared."""

    min_us: int = 0
    p99_us: int | None = None
    max_us: int | None = None

    @property
    def bound_us(self) -> int | None:
        """What it takes at most: the greatest delay, else that of 99 %."""
        return self.p99_us if self.max_us is None else self.max_us


class FeatureHints(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What of a feature only people and `tminus check` read; it changes no value. Empty or None: not declared."""

    anchor: str = ""  # the event that makes the value known
    delay: Delay | None = None
    cadence_us: int | None = None  # refreshed this often
    inputs: tuple[str, ...] = ()  # features, sources, or columns as source.column
    forward_dated: bool = False
    ttl_us: int | None = None
    owner: str = ""
    tags: tuple[str, ...] = ()


class LabelHints(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """When the label event happens, and how long after it the label is written; for `tminus check`."""

    anchor: str = ""
    delay: Delay | None = None


class ModelHints(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """When a model is asked, and which columns choose its training rows; for `tminus check`."""

    anchor: str = "prediction"
    selection: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


class Share(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """This share of the gaps is at most `within_us` microseconds long."""

    share: float
    within_us: int


class Precedes(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An event comes before the event `before`, by this much. `max_us` None: no upper bound."""

    before: str
    min_us: int = 0
    max_us: int | None = None
    shares: tuple[Share, ...] = ()  # ascending


class Feature(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One feature: a window aggregate, or the newest value of a column."""

    name: str
    source: str
    column: str | None = None
    aggregate: Aggregate | None = None  # None: newest value of `column`, every version kept
    window_us: int = 0
    panes: int = 1  # a sliding window moves by window / panes; a tumbling one has a single pane
    tumbling: bool = False
    where: str | None = None
    expr: str | None = None
    mutable_by: tuple[str, ...] = ()
    default: None | bool | int | float | str = None
    served_from: Literal["view", "source"] = "view"
    serving_lag_us: int | None = None  # None: not declared, so no upper bound without a stamp
    latency_budget_us: int | None = None
    hints: FeatureHints = FeatureHints()

    @property
    def pane_us(self) -> int:
        """Width of one pane, microseconds."""
        return self.window_us // self.panes

    @property
    def definition(self) -> str:
        """16 hexadecimal digits that change when the meaning of the values does."""
        meaning = (
            self.name,
            self.source,
            self.column,
            self.aggregate,
            self.window_us,
            self.panes,
            self.where,
            self.expr,
        )
        return format(text_hash(repr(meaning)), "016x")


class Label(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The first row of `source` whose `column` equals `equals` is the label event."""

    source: str
    column: str
    equals: bool | int | float | str
    horizon_us: int
    hints: LabelHints = LabelHints()


class Fallback(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What serving does when the model may not be believed."""

    default: None | bool | int | float | str = None
    on_silence: Literal["hold", "fallback"] = "hold"
    lease_us: int = 5_000_000
    escalate_after_us: int = 259_200_000_000


class Model(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One model: what it reads, how it was trained, who is asked."""

    name: str
    predictions: str
    entity_type: str
    features: tuple[str, ...]
    join: dict[str, Join] = {}
    label: Label | None = None
    fallback: Fallback = Fallback()
    reference_rows: int = 2000
    settle_us: int = 3_600_000_000
    owner: str = ""
    runbook: str = ""
    hints: ModelHints = ModelHints()

    @property
    def matures_after_us(self) -> int:
        """Read time + this: every verdict of a prediction is final."""
        return self.label.horizon_us if self.label else self.settle_us


class Run(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One run: clock, size of the entity stage, environment."""

    clock: Clock = "wall"
    partitions: int = 4
    clock_error_us: int = 1_000_000
    environment: str = "dev"
    prefix: str = "tminus."
    history_us: int = 3_600_000_000  # how far back versions are kept for late predictions
    snapshot_every_us: int = 10_000_000
    commit_every_us: int = 1_000_000


class Definitions(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything declared, checked across tables; names in order of declaration."""

    run: Run
    sources: dict[str, Source]
    features: dict[str, Feature]
    models: dict[str, Model]
    kafka: dict[str, str] = {}  # client settings as declared; they may hold secrets and are no part of the digest
    order: dict[str, tuple[Precedes, ...]] = {}  # what must happen before what, for `tminus check`
    digest: str = ""

    def features_of(self, source: str) -> list[Feature]:
        """The features computed from one source, in order of declaration."""
        return [f for f in self.features.values() if f.source == source]

    def models_of(self, predictions: str) -> list[Model]:
        """The models whose predictions are logged in one source."""
        return [m for m in self.models.values() if m.predictions == predictions]

    def entity_sources(self) -> list[Source]:
        """Sources that carry rows of an entity (all but logs of predictions)."""
        logged = {m.predictions for m in self.models.values()}
        return [s for s in self.sources.values() if s.name not in logged]

    def clock_error_us(self, source: Source) -> int:
        """Bound on the offset between the source's clock and the prediction clock."""
        return self.run.clock_error_us if source.clock_error_us is None else source.clock_error_us
