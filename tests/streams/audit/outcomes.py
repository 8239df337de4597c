"""Outcomes made by hand, for the tests of reports."""

from functools import cache

from monitors.audit.outcome import (
    LEAD_CLASSES_US,
    Example,
    FeatureOutcome,
    Inflation,
    Interval,
    Latency,
    Leads,
    Outcome,
    Scores,
    TableFinding,
    TimelineEntry,
    worst,
)
from monitors.verdicts import Reason, Severity, Tier, Verdict

T = 1_700_000_000_000_000
SECOND, DAY = 1_000_000, 86_400_000_000
ROWS = 20_000


def leads(p50: int, p95: int, most: int, cells: int) -> Leads:
    """Leads whose histogram has most cells around the median."""
    histogram = [0] * (len(LEAD_CLASSES_US) + 1)
    middle = sum(p50 > end for end in LEAD_CLASSES_US)
    histogram[middle] = cells - cells // 10
    histogram[min(middle + 1, len(histogram) - 1)] += cells // 10
    return Leads(p50, p95, most, tuple(histogram))


def feature(name: str = "last_login", tier: Tier = Tier.E2, rows: int = ROWS, **found: int) -> FeatureOutcome:
    """A feature with these cells by verdict (in small letters) or by reason; all others pass."""
    words = {word.upper(): number for word, number in found.items()}
    counts = {verdict: words.get(verdict.value, 0) for verdict in Verdict}
    counts[Verdict.PASS] = rows - sum(counts.values())
    reasons = {reason: found[reason.value] for reason in Reason if reason.value in found}
    leaks = counts[Verdict.LEAK]
    verdict = worst(counts)
    high = leaks + counts[Verdict.LEAK_OR_STALE] + counts[Verdict.SKEW_AMBIGUOUS]
    has_reason = verdict in (Verdict.SKEW_AMBIGUOUS, Verdict.UNVERIFIABLE)
    reason = next(iter(reasons), Reason.NONE) if has_reason else Reason.NONE
    one = None if verdict is Verdict.PASS else example(verdict, tier, reason)
    return FeatureOutcome(
        name=name,
        verdict=verdict,
        tier=tier,
        counts=counts,
        reasons=reasons,
        leak_share_low=leaks / rows,
        leak_share_high=high / rows,
        kind="time",
        resolution_us=1_000,
        clock_error_us=0,
        versions=61_204,
        replaced=leaks,
        leads=leads(5_003_000, 8_003_000, 9_003_000, leaks) if leaks else None,
        entities=counts[verdict] if verdict is not Verdict.PASS else 0,
        latency=Latency(61_204, 0, 1_000, 1_000, 2_000, 4 * DAY, 0.004),
        example=one,
        examples=() if one is None else (one,),
    )


def example(verdict: Verdict, tier: Tier = Tier.E2, reason: Reason = Reason.NONE) -> Example:
    """The story of the churn leak: a login, a prediction, a cancel, and the trigger 3 ms after it."""
    return Example(
        row=17,
        entity="u0042",
        prediction_time_us=T,
        value=None,
        as_of="2023-11-13 22:13:20Z",
        verdict=verdict,
        reason=reason,
        tier=tier,
        lead_us=5_003_000 if verdict is Verdict.LEAK else None,
        label="1",
        label_time_us=T + 5 * SECOND,
        timeline=(
            version("2023-10-31 08:00:12Z", T - 14 * DAY, "superseded"),
            version("2023-11-13 22:13:20Z", T - DAY, "current"),
            version(None, T + 5_003_000, "future", is_decisive=verdict is Verdict.LEAK),
            version("2023-12-01 00:00:00Z", T + 17 * DAY, "future"),
        ),
        earlier=6,
        later=1,
    )


def version(value: str | None, at_us: int, place: str, *, is_decisive: bool = False) -> TimelineEntry:
    """A version that happened 40 ms before its write and could be read 2 ms after it."""
    return TimelineEntry(value, at_us - 40_000, at_us, at_us + 2_000, at_us, at_us + 3_000, place, is_decisive)


def scores(leaky: float, as_of: float, deployed: float) -> Scores:
    """Three estimates with intervals of 0.012 to either side."""
    return Scores(*(Interval(x, x - 0.012, min(x + 0.012, 1.0)) for x in (leaky, as_of, deployed)))


INFLATION = Inflation(
    metric="auc",
    scores=scores(0.997, 0.678, 0.521),
    f1=scores(0.996, 0.495, 0.091),
    per_feature={"last_login": scores(0.996, 0.678, 0.52)},
    rows_train=14_011,
    rows_test=5_989,
    model="Logistic regression on 8 quantile bins of each feature, with a flag for NULL.",
    split="70 % of the entities train, the others test; no entity is in both.",
    seed=0,
)

FINDINGS = (
    TableFinding("UNIT_MISMATCH", Severity.INFO, "t", "Column t of a.csv has seconds and milliseconds.", "Look at it."),
    TableFinding(
        "COUPLED_TX",
        Severity.PAGE,
        "last_login",
        "last_login changed in the transaction that wrote the label, for 7,750 entities.",
        "Find the trigger.",
        {"count": 7_750},
    ),
)


def outcome(*features: FeatureOutcome, rows: int = ROWS, **rest: object) -> Outcome:
    """An outcome of these features, with the usual settings."""
    cells = rows * len(features)
    unverifiable = sum(one.counts[Verdict.UNVERIFIABLE] for one in features)
    settings: dict[str, object] = {
        "train": "train.parquet",
        "logs": ("log.parquet",),
        "rows": rows,
        "cells": cells,
        "coverage": 1 - unverifiable / cells if cells else 1.0,
        "assumes": (),
        "rests_on": (
            ("entity", "column 'entity'"),
            ("prediction time", "column 'prediction_time', known to 1 us"),
            ("not readable before", "column 'write_time' of the log"),
            ("readable from, at the latest", "column 'visible_time' of the log"),
            ("winner of several visible versions", "last write"),
            ("clock of log.parquet", "resolution 1 ms, 0 us clock error"),
            ("the log is complete", "for all time"),
        ),
        "features": {one.name: one for one in features},
    }
    return Outcome(**(settings | rest))  # type: ignore[arg-type]


def leak() -> Outcome:
    """The churn story: one leak, one feature that is half verified, the rest clean."""
    return outcome(
        feature(leak=7_750, skew_ambiguous=12, same_ms=12),
        feature("plan", Tier.E4, unverifiable=420, no_upper_bound=420),
        feature("country", Tier.E4, stale=31),
        feature("age"),
        feature("sessions_7d"),
        assumes=("visible = write",),
        not_audited={"cancelled": "the label"},
        findings=FINDINGS,
        inflation=INFLATION,
        inflation_note="measured on 20,000 of 20,000 rows",
    )


def clean() -> Outcome:
    """Nothing found, nothing assumed."""
    return outcome(feature("age"), feature("plan"), inflation_note="no label was named (--label)")


def nothing_verifiable() -> Outcome:
    """A log that reaches no prediction."""
    return outcome(feature("age", unverifiable=ROWS, no_coverage=ROWS), feature("b", unverifiable=ROWS, phantom=ROWS))


@cache
def many(number: int = 10_000) -> Outcome:
    """So many features that no report may name them all."""
    names = [f"feature_with_a_rather_long_name_number_{i:05}" for i in range(number)]
    features = [
        feature(n, leak=1 + i % 977) if i % 2 else feature(n, unverifiable=i, phantom=i) for i, n in enumerate(names)
    ]
    findings = tuple(TableFinding("LATE", Severity.WARNING, n, f"{n} is late." * 9, "Hurry.") for n in names)
    return outcome(*features, findings=findings, not_audited={f"{n}_": "not in a log" for n in names})


HOSTILE = '<script>alert(\'"&1")</script>\x00\x1b[2J\u202egnp.exe\ud800\ufffe 👩‍🚀 سلام'


def hostile() -> Outcome:
    """Names, values and messages that attack whoever shows them."""
    text = HOSTILE + "x" * 10_000
    one = feature(text, leak=3)
    entry = TimelineEntry(text, T, T + 1, None, T + 1, None, "future", True)
    bad = Example(
        3, text, T, text, text, Verdict.LEAK, Reason.NONE, Tier.E2, 1, label=text, timeline=(entry,) * 8, later=9
    )
    fields = {name: getattr(one, name) for name in FeatureOutcome.__slots__}
    one = FeatureOutcome(**(fields | {"example": bad, "examples": (bad,) * 5}))
    return outcome(
        one,
        train=text,
        logs=(text,) * 100,
        assumes=(text,) * 100,
        rests_on=((text, text),) * 100,
        not_audited={text: text},
        findings=(TableFinding(text, Severity.PAGE, text, text, text),) * 100,
        inflation_note=text,
    )
