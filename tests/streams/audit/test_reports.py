"""What people and machines are shown of an outcome: a terminal, a build, a page."""

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

from monitors.audit.outcome import Outcome
from monitors.verdicts import Reason, Tier, Verdict
from streams.audit.reports import junit, summary, wording
from streams.cli.audit import status
from tests.streams.audit import outcomes

SAMPLES = ("leak", "clean", "nothing_verifiable", "many", "hostile")
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


@pytest.fixture(scope="module", params=SAMPLES)
def told(request: pytest.FixtureRequest) -> Outcome:
    outcome: Outcome = getattr(outcomes, request.param)()
    return outcome


# Words.


def test_a_lead_is_never_rounded_up():
    """It is a bound that the stamps prove: 59.9999 s must not become a minute."""
    assert wording.duration(59_999_999) == "59.999 s"
    assert wording.duration(7_199_999_999) == "1 h 59 min"


def test_every_reason_that_a_cell_may_have_says_what_would_mend_it():
    assert set(wording.WHY) == set(Reason) - {Reason.NONE}


def test_a_leak_that_rests_on_an_assumption_says_so_in_its_first_sentence():
    shaky = outcomes.outcome(outcomes.feature("plan", Tier.E4, leak=9), assumes=("visible = write",))
    assert wording.headline(shaky).endswith("; if what is assumed holds.")


def test_a_table_without_evidence_is_not_called_clean():
    """No leak found and nothing verified look alike to a hurried reader; the words must not."""
    assert wording.headline(outcomes.nothing_verifiable()).startswith("Nothing could be verified.")
    assert "Clean" not in wording.headline(outcomes.nothing_verifiable())
    half = outcomes.outcome(outcomes.feature("b", unverifiable=5_000))
    assert wording.headline(half).startswith("No leak in the 75.0 % of cells that could be verified.")


# The terminal.


def test_the_summary_says_which_feature_how_sure_how_many_rows_by_how_much_and_what_to_do():
    text = summary.render(outcomes.leak(), width=80, color=False)
    for needed in (
        "last_login",
        "E2",
        "7,750 of 20,000 rows (38.8 %)",
        "5.003 s",
        "To do:",
        "--html",
        "0.678",
        "COUPLED",
    ):
        assert needed in text


def test_assumptions_come_before_any_verdict(told: Outcome):
    lines = summary.render(told, width=80, color=False)
    if told.assumes:
        assert lines.index("Assumed, without evidence") < min(lines.index(v) for v in Verdict if v in lines)


@pytest.mark.parametrize("width", [1, 40, 80, 300])
def test_the_summary_keeps_to_its_width_and_to_two_screens(told: Outcome, width: int):
    """Two screens of 80 columns, whatever was found; a log file of CI has no width, and stays readable."""
    lines = summary.render(told, width=width, color=False).split("\n")
    assert len(lines) < (110 if width >= 80 else 210)
    assert max(sum(map(summary._columns, line)) for line in lines) <= max(40, min(width, 100))


def test_nothing_in_a_file_can_steer_the_terminal():
    text = summary.render(outcomes.hostile(), width=80, color=False)
    assert not CONTROL.search(text)
    assert "\\x1b[2J" in text  # shown, not obeyed


def test_colour_only_repeats_what_words_say(told: Outcome):
    plain = summary.render(told, width=80, color=False)
    assert "\x1b" not in plain
    assert re.sub(r"\x1b\[[0-9;]*m", "", summary.render(told, width=80, color=True)) == plain


def test_what_is_not_named_is_counted():
    text = summary.render(outcomes.many(), width=80, color=False)
    assert re.search(r"LEAK +4,988 more features", text)
    assert re.search(r"UNVERIFIABLE +4,999 features", text)


def test_the_summary_loads_nothing_heavy():
    """The audit of a small file has one second in all."""
    code = "import sys, json, streams.audit.reports.summary; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"rich", "polars", "duckdb", "pandas", "scipy.stats"} & set(json.loads(done.stdout))


# The build.


@pytest.mark.parametrize("fail_on", ["leak", "unverifiable", "never"])
def test_a_case_fails_exactly_where_the_command_does(told: Outcome, fail_on: str):
    """A build that is red with every test green, or the reverse, is trusted by nobody."""
    root = ET.fromstring(junit.render(told, fail_on))
    failed = root.findall(".//failure")
    assert bool(failed) == bool(status(told, fail_on))
    assert int(root.attrib["failures"]) == len(failed)
    assert len(root.findall(".//testcase")) == int(root.attrib["tests"]) == len(told.features)


def test_a_failure_says_what_a_person_needs():
    root = ET.fromstring(junit.render(outcomes.leak(), "leak"))
    failure = root.find(".//testcase[@name='last_login']/failure")
    assert failure is not None
    assert failure.attrib["message"].startswith("LEAK: 7,750 of 20,000 rows (38.8 %)")
    for needed in ("Row 17 (u0042)", "5.003 s", "2023-11-13 22:13:20Z", "visible = write", "To do:", "E2"):
        assert needed in str(failure.text)


def test_stale_rows_beside_unverifiable_ones_do_not_hide_why_the_case_fails():
    """STALE is the worse word, but only the other one fails the build."""
    mixed = outcomes.outcome(outcomes.feature("b", stale=3, unverifiable=5))
    failure = ET.fromstring(junit.render(mixed, "unverifiable")).find(".//failure")
    assert failure is not None
    assert failure.attrib["message"] == "5 rows without a plain verdict"


def test_a_feature_without_any_evidence_is_skipped_and_not_green():
    root = ET.fromstring(junit.render(outcomes.nothing_verifiable(), "leak"))
    assert root.attrib["skipped"] == "2"


def test_hostile_texts_leave_the_xml_valid_and_readable():
    root = ET.fromstring(junit.render(outcomes.hostile(), "leak").encode())  # expat refuses what XML forbids
    names = [case.attrib["name"] for case in root.iter("testcase")]
    assert names[0].startswith('<script>alert(\'"&1")</script>\\x00\\x1b[2J')
    assert len(names[0]) <= 500


def test_an_unknown_word_for_failing_is_refused():
    with pytest.raises(ValueError, match="expected 'leak', 'unverifiable' or 'never', found 'leeks'"):
        junit.render(outcomes.leak(), "leeks")
