"""The outcome as the JSON document that the contract fixes. Adding is allowed, renaming is not."""

from typing import Any

from monitors.audit.outcome import Example, FeatureOutcome, Inflation, Outcome, Scores, TableFinding, TimelineEntry

SCHEMA = "tminus.audit/1"


def document(outcome: Outcome) -> dict[str, Any]:
    """JSON values; what verdicts rest on without evidence comes before anything else.

    Keys that end in ``_us`` are microseconds.
    """
    return {
        "schema": SCHEMA,
        "assumes": list(outcome.assumes),
        "rests_on": dict(outcome.rests_on),
        "train": outcome.train,
        "logs": list(outcome.logs),
        "rows": outcome.rows,
        "cells": outcome.cells,
        "coverage": outcome.coverage,
        "features": {name: _feature(feature) for name, feature in outcome.features.items()},
        "not_audited": dict(outcome.not_audited),
        "findings": [_finding(finding) for finding in outcome.findings],
        "inflation": None if outcome.inflation is None else _inflation(outcome.inflation),
        "inflation_note": outcome.inflation_note,
    }


def _feature(feature: FeatureOutcome) -> dict[str, Any]:
    leads = feature.leads
    latency = feature.latency
    return {
        "verdict": feature.verdict.value,
        "tier": feature.tier.name,
        "counts": {verdict.value: count for verdict, count in feature.counts.items()},
        "reasons": {reason.value: count for reason, count in feature.reasons.items()},
        "leak_share": {"low": feature.leak_share_low, "high": feature.leak_share_high},
        "lead_us": None if leads is None else {"p50": leads.p50, "p95": leads.p95, "max": leads.max},
        "kind": feature.kind,
        "resolution_us": feature.resolution_us,
        "clock_error_us": feature.clock_error_us,
        "versions": feature.versions,
        "entities": feature.entities,
        "replaced": feature.replaced,
        "latency": None if latency is None else {n: getattr(latency, n) for n in type(latency).__slots__},
        "examples": [_example(example, is_first=i == 0) for i, example in enumerate(feature.examples)],
    }


def _example(example: Example, *, is_first: bool) -> dict[str, Any]:
    told: dict[str, Any] = {
        "row": example.row,
        "entity": example.entity,
        "prediction_time_us": example.prediction_time_us,
        "value": example.value,
        "as_of": example.as_of,
        "verdict": example.verdict.value,
        "reason": example.reason.value,
        "tier": example.tier.name,
        "lead_us": example.lead_us,
    }
    if is_first:
        told["timeline"] = [_entry(entry) for entry in example.timeline]
    return told


def _entry(entry: TimelineEntry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in TimelineEntry.__slots__}


def _finding(finding: TableFinding) -> dict[str, Any]:
    return {
        "kind": finding.kind,
        "severity": finding.severity.value,
        "subject": finding.subject,
        "message": finding.message,
        "advice": finding.advice,
        "evidence": dict(finding.evidence),
    }


def _inflation(inflation: Inflation) -> dict[str, Any]:
    return {
        "metric": inflation.metric,
        **_scores(inflation.scores),
        "f1": None if inflation.f1 is None else _scores(inflation.f1),
        "per_feature": {name: _scores(scores) for name, scores in inflation.per_feature.items()},
        "rows_train": inflation.rows_train,
        "rows_test": inflation.rows_test,
        "model": inflation.model,
        "split": inflation.split,
        "seed": inflation.seed,
    }


def _scores(scores: Scores) -> dict[str, Any]:
    ways = ("leaky", "as_of", "deployed")
    return {
        **{way: getattr(scores, way).value for way in ways},
        "intervals": {way: [getattr(scores, way).low, getattr(scores, way).high] for way in ways},
    }
