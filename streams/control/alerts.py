"""What does the on-call see? One record per model, feature and kind of finding, in Alertmanager's words.

Pure. The fingerprint does not know the severity, so a warning that becomes a page is the same alert, raised. An alert
stays firing until a person releases the model. The compacted `alerts` topic is the memory: each record also says
which finding records it has taken in, so that one delivered twice is known again.
"""

from collections.abc import Mapping, Sequence

import msgspec

from features.times import iso
from monitors.verdicts import finding_id
from streams.control.log import Declared
from streams.control.records import FORMAT, Finding, Source

SEVERITIES = ("info", "warning", "page")

#: Finding records remembered per alert; more than can be in flight between two commits of the findings' offsets.
SOURCES_MAX = 32

#: What Alertmanager writes for "has not ended".
NOT_ENDED = "0001-01-01T00:00:00Z"

#: A person is asked again after this long while a model stays away (DESIGN: asked daily).
ASK_AGAIN_US = 86_400_000_000

#: Kind of the alert that calls for a person after three days without the model.
AGED_KIND = "FALLBACK_AGED"

_SUMMARIES = {
    "COUPLED_TX": "{feature} changes together with the label of {model}: it leaks",
    "SERVED_LEAK": "{model} was served values of {feature} that did not exist yet",
    "DRIFT": "{feature} of {model} has drifted from its reference",
    AGED_KIND: "{model} has been in fallback too long: a person must decide",
}


class Alert(msgspec.Struct, frozen=True):
    """The state of one alert. Times in `startsAt` and `endsAt` are RFC 3339, others microseconds UTC."""

    fingerprint: str
    status: str
    labels: dict[str, str]
    annotations: dict[str, str]
    startsAt: str
    endsAt: str
    updated_us: int
    finding_ids: list[str] = []
    sources: list[Source] = []
    format: int = FORMAT

    @property
    def is_firing(self) -> bool:
        """Does it still need somebody?"""
        return self.status == "firing"


class AlertBook:
    """Every alert, by fingerprint.

    Parameters
    ----------
    environment
        A label of every alert.
    declared
        Owners and runbooks, by scope.
    """

    def __init__(self, environment: str, declared: Mapping[str, Declared]) -> None:
        self.alerts: dict[str, Alert] = {}
        self._environment = environment
        self._declared = declared

    def load(self, key: bytes, value: bytes | None) -> None:
        """Take one record of the alerts topic, in order; raises `ValueError` for what is none of ours."""
        fingerprint = key.decode()
        if value is None:
            self.alerts.pop(fingerprint, None)
        else:
            self.alerts[fingerprint] = msgspec.json.decode(value, type=Alert)

    def has_taken(self, finding: Finding, source: Source) -> bool:
        """Was exactly this record taken in before?"""
        known = self.alerts.get(_fingerprint(finding.model, finding.feature, finding.kind))
        return known is not None and source in known.sources

    def raise_for(self, finding: Finding, source: Source | None, now_us: int) -> Alert:
        """The alert of a finding: new, or the firing one with the higher severity of the two."""
        fingerprint = _fingerprint(finding.model, finding.feature, finding.kind)
        known = self.alerts.get(fingerprint)
        sources = known.sources if known is not None else []
        if source is not None:
            sources = [*sources, source][-SOURCES_MAX:]
        severity: str = finding.severity
        starts_at, ids = iso(finding.since_us), [finding.finding_id]
        if known is not None and known.is_firing:
            severity = max(known.labels["severity"], severity, key=SEVERITIES.index)
            starts_at = known.startsAt
            ids = list(dict.fromkeys([*known.finding_ids, finding.finding_id]))[-SOURCES_MAX:]
        alert = Alert(
            fingerprint=fingerprint,
            status="firing",
            labels={
                "alertname": finding.kind,
                "model": finding.model,
                "feature": finding.feature,
                "kind": finding.kind,
                "severity": severity,
                "env": self._environment,
            },
            annotations=self._annotations(finding),
            startsAt=starts_at,
            endsAt=NOT_ENDED,
            updated_us=now_us,
            finding_ids=ids,
            sources=sources,
        )
        self.alerts[fingerprint] = alert
        return alert

    def resolve(self, model: str, now_us: int) -> list[Alert]:
        """The model's firing alerts, resolved now."""
        ended = [
            msgspec.structs.replace(alert, status="resolved", endsAt=iso(now_us), updated_us=now_us)
            for alert in self.alerts.values()
            if alert.is_firing and alert.labels["model"] == model
        ]
        self.alerts.update({alert.fingerprint: alert for alert in ended})
        return ended

    def ask_again(self, models: Sequence[str], now_us: int) -> list[Alert]:
        """Calls for a person, due now: one per escalated model and day."""
        due = []
        for model in models:
            known = self.alerts.get(_fingerprint(model, "", AGED_KIND))
            if known is None or not known.is_firing or now_us - known.updated_us >= ASK_AGAIN_US:
                since_us = now_us
                finding = Finding(finding_id(model, "", AGED_KIND), model, "", AGED_KIND, "page", since_us)
                due.append(self.raise_for(finding, None, now_us))
        return due

    def _annotations(self, finding: Finding) -> dict[str, str]:
        declared = self._declared.get("model:" + finding.model, Declared())
        summary = _SUMMARIES.get(finding.kind, "{model}: {kind} in {feature}")
        return {
            "summary": summary.format(model=finding.model, feature=finding.feature, kind=finding.kind),
            "runbook_url": declared.runbook,
            "owner": declared.owner,
            "sql": finding.sql,
        }


def _fingerprint(model: str, feature: str, kind: str) -> str:
    return finding_id(model, feature, kind)
