"""Alerts: one per model, feature and kind, raised, resolved, and remembered by the topic itself."""

import msgspec

from features.times import iso
from streams.control import records
from streams.control.alerts import AGED_KIND, ASK_AGAIN_US, NOT_ENDED, SOURCES_MAX, AlertBook
from streams.control.log import Declared
from streams.control.records import Finding, Source

DECLARED = {"model:churn": Declared(runbook="runbooks/churn", owner="growth")}


def finding(severity: str = "warning", feature: str = "last_login") -> Finding:
    return Finding("f1", "churn", feature, "COUPLED_TX", severity, 1_700_000_000_000_000, {"n": 1}, "SELECT 1")


def test_a_finding_fires_an_alert_in_alertmanagers_words():
    alert = AlertBook("test", DECLARED).raise_for(finding(), Source(0, 1, "d"), 5)
    shown = msgspec.json.decode(records.encode(alert))
    assert (shown["status"], shown["startsAt"], shown["endsAt"]) == ("firing", iso(1_700_000_000_000_000), NOT_ENDED)
    assert shown["labels"]["severity"] == "warning"
    assert (shown["annotations"]["runbook_url"], shown["annotations"]["sql"]) == ("runbooks/churn", "SELECT 1")


def test_a_warning_that_becomes_a_page_is_the_same_alert_and_never_sinks_back():
    book = AlertBook("test", DECLARED)
    severities = ["warning", "page", "warning"]
    alerts = [book.raise_for(finding(s), Source(0, i, "d"), i) for i, s in enumerate(severities)]
    assert [a.labels["severity"] for a in alerts] == ["warning", "page", "page"]
    assert len({a.fingerprint for a in alerts}) == len(book.alerts) == 1


def test_a_release_resolves_the_models_alerts_only():
    book = AlertBook("test", DECLARED)
    for feature in ("a", "b"):
        book.raise_for(finding(feature=feature), Source(0, 1, feature), 5)
    book.raise_for(msgspec.structs.replace(finding(), model="other"), Source(0, 1, "o"), 5)
    ended = book.resolve("churn", 1_700_000_000_000_001)
    assert [(a.status, a.endsAt) for a in ended] == [("resolved", iso(1_700_000_000_000_001))] * 2
    assert [a.labels["model"] for a in book.alerts.values() if a.is_firing] == ["other"]
    assert book.resolve("churn", 6) == []


def test_a_new_breach_after_a_release_starts_a_new_time_and_severity():
    book = AlertBook("test", DECLARED)
    book.raise_for(finding("page"), Source(0, 1, "d"), 5)
    book.resolve("churn", 6)
    later = msgspec.structs.replace(finding("warning"), since_us=1_800_000_000_000_000)
    again = book.raise_for(later, Source(0, 2, "d"), 7)
    assert (again.status, again.labels["severity"], again.startsAt) == ("firing", "warning", iso(later.since_us))


def test_a_book_loaded_from_its_topic_knows_what_was_taken_in():
    """A finding delivered again after a crash must not fire an alert that a person has resolved."""
    book = AlertBook("test", DECLARED)
    source = Source(0, 1, "d")
    written = [book.raise_for(finding(), source, 5), *book.resolve("churn", 6)]
    again = AlertBook("test", DECLARED)
    for alert in written:
        again.load(alert.fingerprint.encode(), records.encode(alert))
    assert again.alerts == book.alerts
    assert again.has_taken(finding(), source)
    assert not again.has_taken(finding(), Source(0, 1, "other bytes at that place: the topic was recreated"))
    assert not again.has_taken(finding(), Source(0, 2, "d"))


def test_the_memory_of_an_alert_is_bounded():
    book = AlertBook("test", DECLARED)
    for i in range(SOURCES_MAX + 5):
        alert = book.raise_for(msgspec.structs.replace(finding(), finding_id=str(i)), Source(0, i, "d"), i)
    assert (len(alert.sources), len(alert.finding_ids)) == (SOURCES_MAX, SOURCES_MAX)


def test_a_person_is_asked_once_a_day():
    book = AlertBook("test", DECLARED)
    assert [a.labels["kind"] for a in book.ask_again(["churn"], 0)] == [AGED_KIND]
    assert book.ask_again(["churn"], ASK_AGAIN_US - 1) == []
    assert len(book.ask_again(["churn"], ASK_AGAIN_US)) == 1
