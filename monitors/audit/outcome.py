"""What did the audit of a training set find?

The whole result as frozen values: the engine fills it, every report is made from it, and nothing in it depends on how
large the memory was or in which pieces the files were read.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from monitors.verdicts import Reason, Severity, Tier, Verdict

JSON: TypeAlias = "None | bool | int | float | str | list[JSON] | dict[str, JSON]"

#: From worst to best: a feature's verdict is the worst of its cells.
WORST_FIRST = (
    Verdict.LEAK,
    Verdict.LEAK_OR_STALE,
    Verdict.STALE,
    Verdict.SKEW_AMBIGUOUS,
    Verdict.UNVERIFIABLE,
    Verdict.PASS,
)

#: Upper ends of the classes of leads in `Leads.histogram`, microseconds; the last class has no end.
LEAD_CLASSES_US = (
    1_000,
    10_000,
    100_000,
    1_000_000,
    10_000_000,
    60_000_000,
    600_000_000,
    3_600_000_000,
    86_400_000_000,
    604_800_000_000,
    2_592_000_000_000,
)


@dataclass(frozen=True, slots=True)
class Leads:
    """By how much the leaked values came too late, microseconds; observed values, no interpolation.

    Parameters
    ----------
    histogram
        Number of LEAK cells in each class: up to `LEAD_CLASSES_US[i]`, inclusive; one more for all above.
    """

    p50: int
    p95: int
    max: int
    histogram: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One version of the example's entity, in winning order.

    Parameters
    ----------
    value
        As text; None is NULL.
    event_time_us, write_time_us, visible_time_us
        As the log says, microseconds UTC; None where it says nothing.
    from_us, by_us
        The bounds of visibility with clock error and resolution; None is unknown (infinite).
    place
        ``"superseded"``, ``"current"`` (could have been read), ``"future"``.
    is_decisive
        Whether the verdict rests on this version.
    """

    value: str | None
    event_time_us: int | None
    write_time_us: int | None
    visible_time_us: int | None
    from_us: int | None
    by_us: int | None
    place: str
    is_decisive: bool = False


@dataclass(frozen=True, slots=True)
class Example:
    """One cell of the training set, with the history that decided about it.

    Parameters
    ----------
    row
        Zero-based row of the training set.
    value, as_of
        The cell, and the newest value that was surely readable at the prediction, as text; None is NULL.
    label, label_time_us
        The row's label as text, and when it happened; None where the training set does not say.
    timeline
        Versions around the prediction, in winning order.
    earlier, later
        How many versions were left out before and after.
    """

    row: int
    entity: str
    prediction_time_us: int
    value: str | None
    as_of: str | None
    verdict: Verdict
    reason: Reason
    tier: Tier
    lead_us: int | None
    is_as_of_known: bool = True
    label: str | None = None
    label_time_us: int | None = None
    timeline: tuple[TimelineEntry, ...] = ()
    earlier: int = 0
    later: int = 0


@dataclass(frozen=True, slots=True)
class Latency:
    """How long the log's versions of a feature took from happening to being readable, microseconds.

    Parameters
    ----------
    backfill_share
        Share of versions that took longer than training assumed.
    over_budget_share
        Share of versions that took longer than the declared budget; None without one.
    """

    versions: int
    p50_us: int
    p95_us: int
    p99_us: int
    p999_us: int
    max_us: int
    backfill_share: float
    over_budget_share: float | None = None


@dataclass(frozen=True, slots=True)
class FeatureOutcome:
    """What was found about one feature.

    Parameters
    ----------
    verdict
        The worst of its cells.
    tier
        LEAK: of the best proof; else of the weakest cell that has the verdict.
    counts
        Cells by verdict, all six words present.
    reasons
        Cells by reason, `Reason.NONE` left out.
    leak_share_low, leak_share_high
        LEAK, and LEAK + LEAK_OR_STALE + SKEW_AMBIGUOUS, as shares of all rows.
    kind
        How values were compared: ``"number"``, ``"text"``, ``"bool"``, ``"time"``, ``"nested"``.
    replaced
        Cells that differ between the training set and the corrected table.
    example
        The first row (in the order of the training set) that has the worst verdict; None if that is PASS.
    examples
        Up to `EXAMPLES_MAX` of the rows with the worst verdict, without timelines, rows rising.
    """

    name: str
    verdict: Verdict
    tier: Tier
    counts: Mapping[Verdict, int]
    reasons: Mapping[Reason, int]
    leak_share_low: float
    leak_share_high: float
    kind: str
    resolution_us: int
    clock_error_us: int
    versions: int
    replaced: int = 0
    leads: Leads | None = None
    entities: int = 0  # distinct entities with the worst verdict
    latency: Latency | None = None
    example: Example | None = None
    examples: tuple[Example, ...] = ()


#: Rows shown per feature.
EXAMPLES_MAX = 5


@dataclass(frozen=True, slots=True)
class TableFinding:
    """Something about the files that a person should know, beside the verdicts of cells.

    Parameters
    ----------
    kind
        Such as ``"UNIT_MISMATCH"``, ``"TZ_OFFSET"``, ``"CLOCK_BACKSTEP"``, ``"FUTURE_DATED"``, ``"LATE"``,
        ``"STAMP_IS_TXN_START"``, ``"COUPLED_TX"``, ``"ROW_EXISTENCE"``, ``"TOO_GOOD"``.
    subject
        A feature, a column, a file, or ``""`` for the whole table.
    message
        One sentence: what was found, with its numbers.
    advice
        One sentence: what to do.
    evidence
        Numbers and rows as JSON values.
    """

    kind: str
    severity: Severity
    subject: str
    message: str
    advice: str = ""
    evidence: Mapping[str, JSON] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Scores:
    """One metric, three ways: as trained, as it honestly is, as it will be in production.

    Parameters
    ----------
    leaky
        Trained and scored on the table as it is.
    as_of
        Trained and scored on the corrected table.
    deployed
        Trained on the table as it is, scored on the corrected one: what production will see.
    """

    leaky: Interval
    as_of: Interval
    deployed: Interval


@dataclass(frozen=True, slots=True)
class Inflation:
    """How much of the score the leak is worth, measured with one small model.

    Parameters
    ----------
    metric
        ``"auc"`` for two classes, ``"r2"`` for a numeric label.
    f1
        At threshold 0.5, two classes only.
    per_feature
        Only this feature as it is in the table, all others corrected, for each feature that changes.
    model, split
        One sentence each, for people.
    """

    metric: str
    scores: Scores
    f1: Scores | None
    per_feature: Mapping[str, Scores]
    rows_train: int
    rows_test: int
    model: str
    split: str
    seed: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one audit.

    Parameters
    ----------
    coverage
        Share of cells that are not UNVERIFIABLE.
    assumes
        What verdicts rest on without evidence, such as ``"visible = write"``.
    rests_on
        Every setting that the verdicts rest on, in words: (what, how it came about).
    not_audited
        Columns of the training set that were no cells, and why.
    """

    train: str
    logs: tuple[str, ...]
    rows: int
    cells: int
    coverage: float
    assumes: tuple[str, ...]
    rests_on: tuple[tuple[str, str], ...]
    features: Mapping[str, FeatureOutcome]
    not_audited: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[TableFinding, ...] = ()
    inflation: Inflation | None = None
    inflation_note: str = ""  # why there is none, or what to read it with


def worst(counts: Mapping[Verdict, int]) -> Verdict:
    """The worst verdict that occurs; UNVERIFIABLE where there is no cell: nothing was verified.

    Examples
    --------
    >>> str(worst({Verdict.PASS: 3, Verdict.STALE: 1, Verdict.SKEW_AMBIGUOUS: 9}))
    'STALE'
    >>> str(worst({}))
    'UNVERIFIABLE'
    """
    return next((verdict for verdict in WORST_FIRST if counts.get(verdict, 0)), Verdict.UNVERIFIABLE)
