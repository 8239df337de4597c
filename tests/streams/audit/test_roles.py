"""Which column is what."""

from pathlib import Path

from tests.streams.audit.asking import audit


def test_a_feature_may_be_called_version(tmp_path: Path):
    """Only where TRAIN names versions has that column of a log a meaning of its own."""
    train, log = "entity|prediction_time|version\nu1|T|7", "entity|write_time|version\nu1|T-10|5\nu1|T+10|7"
    assert audit(tmp_path, train, log).verdicts("version") == ["LEAK"]


def test_a_column_with_a_meaning_of_its_own_is_no_feature_and_that_is_said(tmp_path: Path):
    """Silence would look like an audit of it."""
    train, log = "entity|prediction_time|x|seq\nu1|T|7|3", "entity|write_time|x|seq\nu1|T-10|7|3"
    assert audit(tmp_path, train, log).report["not_audited"] == {"seq": "has a meaning of its own in the LOG"}
