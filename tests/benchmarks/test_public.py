"""Public data sets come from packages; how their times are read is tested here on samples typed by hand."""

import io
import zipfile
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl

from benchmarks.public import changelogs, claims, packages, zones

CHANGELOG = """\
tool (2.0-1) unstable; urgency=medium

  * Merge the branch.

 -- Ann <ann@debian.org>  Sat, 05 Jan 2019 10:00:00 +0000

tool (1.0-2) stable-security; urgency=HIGH

  * CVE-2018-1234 and CAN-2003-0001: mend.

 -- Bob <bob@example.org>  Sun, 06 Jan 2019 12:00:00 +0200

tool (1.0-1) unstable; urgency=low

  * First.

 -- Ann <ann@debian.org>  Tue, 01 Jan 2019 00:00:00 +0000
"""


def test_entries_of_a_changelog_are_the_log_oldest_first():
    """The stamp is the author's, in his zone; the first other author who signs later is the witness."""
    first, second, third = changelogs.entries("tool", CHANGELOG)
    at = datetime(2019, 1, 6, 10, tzinfo=UTC)
    assert first == ("tool", 0, datetime(2019, 1, 1, tzinfo=UTC), at, "1.0-1", "unstable", "low", "debian.org", 0)
    assert second == ("tool", 1, at, None, "1.0-2", "stable-security", "high", "example.org", 2)
    assert third[2] < at, "a merged branch steps back, and stays where the author put it"


def test_joined_by_stamp_a_month_has_its_newest_entry():
    """The naive table: what the changelog says today of the first of each month."""
    rows = list(changelogs.entries("tool", CHANGELOG))
    log = pl.DataFrame(rows, ["entity", "seq", "write_time", "seen_time", *changelogs.FEATURES], orient="row")
    train = changelogs.tables(log).filter(pl.col("prediction_time") <= datetime(2019, 2, 1, tzinfo=UTC))
    assert train.select("revision", "fix_soon").rows() == [("1.0-1", True), ("1.0-2", False)]


def test_a_claims_table_joined_by_accident_year_holds_the_last_statement():
    """Three statements of one year: the table has the third, the log all, each with the day it was due."""
    head = "GRCODE,LOB,AccidentYear,DevelopmentYear,IncurredLosses,CumPaidLoss,BulkLoss,EarnedPremNet"
    body = [f"7,medmal,1998,{1998 + lag},{90 + 10 * lag},{50 * lag},5,100" for lag in range(3)]
    train, log = claims.tables(io.BytesIO("\n".join([head, *body]).encode()))
    assert train.select("incurred_ratio", "got_worse").rows() == [(1.1, True)]
    assert train["prediction_time"].to_list() == [datetime(1999, 4, 1, tzinfo=UTC)]
    assert log["visible_time"].to_list() == [datetime(year, 3, 1, tzinfo=UTC) for year in (1999, 2000, 2001)]


def test_release_notes_say_when_rules_were_made_public():
    """To the second, with a zone."""
    notes = "# Version 2023.3\nUpstream version 2023c released 2023-03-28T19:42:14+00:00\n\n## Changes\n"
    assert zones.published(notes) == {"2023c": datetime(2023, 3, 28, 19, 42, 14, tzinfo=UTC)}


def test_an_appointment_changes_where_a_release_changes_its_rules():
    """A place moves from UTC to UTC+1 in the second release: one row before all, one for the change."""
    moment = datetime(2023, 1, 1, tzinfo=UTC)
    found = [zones.Release(v, _wheel(rules), moment, moment) for v, rules in (("1", "UTC"), ("2", "Etc/GMT-1"))]
    log, newest = zones.history(iter(found), [date(2023, 6, 4)])
    assert [(row[0], row[1], row[2], row[5]) for row in log] == [
        ("Far/Away 2023-06-04", "r", "1", 0),
        ("Far/Away 2023-06-04", "u", "2", 60),
    ]
    assert newest["Far/Away", date(2023, 6, 4)] == ((60, False, "+01"), "2")


def _wheel(zone: str) -> zipfile.ZipFile:
    import tzdata

    rules = (Path(tzdata.__file__).parent / "zoneinfo" / zone).read_bytes()
    wheel = zipfile.ZipFile(io.BytesIO(), "w")
    wheel.writestr("tzdata/zoneinfo/zone.tab", "XX\t+0000+00000\tFar/Away\n")
    wheel.writestr("tzdata/zoneinfo/Far/Away", rules)
    return wheel


def test_every_package_is_locked_by_its_hash():
    """What is not in the lock is not obtained."""
    assert len(packages.locked("tzdata")) == 33
    lines = packages.LOCK.read_text(encoding="utf-8").splitlines()
    assert all("==" in line and " --hash=sha256:" in line for line in lines if not line.startswith("#"))
