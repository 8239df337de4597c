"""What people and machines are shown of an outcome: a terminal, a build, a page."""

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise, product

import pytest

from monitors.audit.outcome import Outcome, TimelineEntry
from monitors.verdicts import Reason, Tier, Verdict
from streams.audit.reports import drawings, html, junit, markup, style, summary, wording
from streams.cli.audit import status
from tests.streams.audit import outcomes
from tests.streams.audit.outcomes import ROWS

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


def test_a_decimal_comma_is_called_by_its_name():
    """The usual reason why a column of a spreadsheet cannot be compared; "one type" alone helps nobody."""
    one = outcomes.feature("price", unverifiable=ROWS, type_mismatch=ROWS)
    assert one.example is not None
    assert "point, as in 121.33." in wording.advice(replace(one, example=replace(one.example, value="121,33")))
    assert "Give both columns one type." in wording.advice(replace(one, example=replace(one.example, value="DE")))


def test_shares_are_of_the_rows_in_which_the_feature_was_judged():
    """A Feast join returns fewer rows for one view than for another."""
    few = outcomes.outcome(outcomes.feature("a", rows=100, leak=50), outcomes.feature("b"))
    assert "in 50 of 100 rows (50.0 %)" in wording.headline(few)
    assert re.search(r"LEAK +a +50 +50\.0 %", summary.render(few, width=80, color=False))
    assert "50 of 100 rows (50.0 %)" in junit.render(few, "leak")


# The terminal.


def test_a_score_without_its_worst_column_says_so():
    """Else "as this table shows it" is untrue: a column that nobody can date is left out of all three."""
    partial = "measured on 9 of 9 rows, without refund: nobody knows what was readable then"
    left_out = replace(outcomes.leak(), inflation_note=partial)
    assert "without refund: nobody knows" in summary.render(left_out, width=80, color=False)


def test_three_equal_scores_are_one_line():
    """A clean table has nothing to lose, and is read faster so."""
    same = replace(outcomes.INFLATION, scores=outcomes.scores(0.6, 0.6, 0.6), per_feature={})
    text = summary.render(replace(outcomes.leak(), inflation=same), width=100, color=False)
    assert text.count("0.600 (") == 1
    assert "and the same with what was known" in text


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


def test_assumptions_come_before_any_verdict():
    text = summary.render(outcomes.leak(), width=80, color=False)
    assert text.index("Assumed, without evidence") < text.index("knows the future") < text.index("LEAK")


@pytest.mark.parametrize("width", [1, 40, 80, 300])
def test_the_summary_keeps_to_its_width_and_to_two_screens(told: Outcome, width: int):
    """Two screens of 80 columns, whatever was found; a log file of CI has no width, and stays readable."""
    lines = summary.render(told, width=width, color=False).split("\n")
    assert len(lines) < (110 if width >= 80 else 210)
    assert max(sum(map(summary._columns, line)) for line in lines) <= max(40, min(width, 100))


def test_letters_of_two_columns_are_counted_as_two():
    """Or every table with a Chinese name would be out of line."""
    wide, thin = outcomes.feature("会员等级" * 20, leak=2), outcomes.feature("x" * 80, leak=2)
    lines = summary.render(outcomes.outcome(wide, thin), width=80, color=False).split("\n")
    rows = [line for line in lines if line.startswith("LEAK")]
    assert len({len(row) + sum(letter > "\u2fff" for letter in row) for row in rows}) == 1
    assert all(len(line) + sum(letter > "\u2fff" for letter in line) <= 80 for line in lines)


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


# The page.


class Page(HTMLParser):
    """What a browser would see: elements, attributes and texts; an end tag without its start is an error."""

    VOID = ("meta", "br", "hr")

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open += [] if tag in self.VOID else [tag]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts += [] if self.open[-1:] == ["style"] else [data]

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).replace("\u00a0", " ").split())


@pytest.fixture(scope="module")
def page(told: Outcome) -> Page:
    return Page(html.render(told))


def test_the_page_is_small_whatever_was_found(told: Outcome):
    assert len(html.render(told).encode()) < 300_000


def test_the_page_asks_nobody_for_anything(told: Outcome, page: Page):
    """It may be opened where the table is secret; so nothing is fetched, run, sent or followed."""
    names = {name for name, _ in page.tags}
    assert not names & {"script", "link", "img", "iframe", "form", "a", "object", "embed", "base", "image", "use"}
    attributes = {key for _, found in page.tags for key in found}
    assert not {key for key in attributes if key.startswith("on") or key in ("src", "href", "style", "xlink:href")}
    assert "url(" not in style.SHEET
    assert "@import" not in style.SHEET
    policy = [found["content"] for name, found in page.tags if found.get("http-equiv") == "Content-Security-Policy"]
    assert policy == [style.POLICY]
    assert style.POLICY.startswith("default-src 'none'")


def test_a_hostile_name_is_shown_and_not_obeyed():
    text = html.render(outcomes.hostile())
    assert not CONTROL.search(text)
    assert text.encode("utf-8", "strict")
    assert '<script>alert(\'"&1")</script>\\x00\\x1b[2J\\u202egnp' in Page(text).text


def test_whatever_is_no_markup_is_escaped():
    """The one place where text becomes markup."""
    made = markup.tag("p", '<b>&"', markup.tag("i", "<"), title='"><script>')
    assert made == '<p title="&quot;&gt;&lt;script&gt;">&lt;b&gt;&amp;&quot;<i>&lt;</i></p>'


def test_the_page_tells_the_finding_its_proof_its_price_and_what_it_rests_on():
    text = Page(html.render(outcomes.leak())).text
    needed = (
        "last_login knows the future: in 7,750 of 20,000 rows (38.8 %)",
        "NULL is written",
        "+5.003 s",
        "The prediction reads",
        "1 is the outcome: the label",
        "6,975 (90.0 %)",
        "0.997 (0.985 to 1.000)",
        "0.521 (0.509 to 0.533)",
        "write times, with the clock error as declared (0 unless stated)",
        "COUPLED_TX",
        "resolution 1 ms, 0 us clock error",
        "tminus audit train.parquet --log log.parquet --html report.html",
    )
    assert [one for one in needed if one not in text] == []
    assert text.index("Assumed, without evidence") < text.index("knows the future", 100)


def test_every_table_and_drawing_can_be_read_aloud(page: Page):
    """Headings in order, columns and rows named, drawings with their content in words."""
    headings = [int(name[1]) for name, _ in page.tags if re.fullmatch("h[1-6]", name)]
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(headings))
    assert all(found.get("scope") in ("col", "row") for name, found in page.tags if name == "th")
    names = [name for name, _ in page.tags]
    assert names.count("table") == names.count("caption")
    assert names.count("svg") == names.count("desc") == names.count("title") - 1
    ids = [found["id"] for _, found in page.tags if "id" in found]
    assert len(ids) == len(set(ids))
    assert {found["aria-labelledby"] for _, found in page.tags if "aria-labelledby" in found} <= set(ids)


def test_what_the_page_leaves_out_is_counted():
    text = Page(html.render(outcomes.many())).text
    assert "9,850 more features are left out here: 4,850 LEAK, 4,999 UNVERIFIABLE, 1 PASS." in text
    assert "9,960 more are left out here (9,960 LATE)" in text


@pytest.mark.parametrize("theme", [0, 1])
def test_every_text_has_contrast_on_every_ground(theme: int):
    def light(name: str) -> float:
        parts = [int(style.COLOURS[name][theme][i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05

    texts = set(style.COLOURS) - {"paper", "tint", "future", "rule", "faint"}
    for text, ground in product(texts, ("paper", "tint", "future")):
        dark, bright = sorted([light(text), light(ground)])
        assert bright / dark >= 4.5, (text, ground)


def test_the_page_is_the_same_letter_by_letter():
    assert html.render(outcomes.leak()) == html.render(outcomes.leak())


def test_a_page_without_rows_versions_or_finite_scores_is_still_a_page():
    """What the engine may hand over at its edges."""
    Page(html.render(outcomes.outcome()))
    bare = replace(outcomes.example(Verdict.UNVERIFIABLE), timeline=(), label=None, label_time_us=None)
    page = Page(html.render(outcomes.outcome(replace(outcomes.feature("b", unverifiable=ROWS), example=bare))))
    assert "The log has no version of this entity." in page.text
    nan = replace(outcomes.INFLATION, scores=outcomes.scores(float("nan"), 0.6, 0.5))
    Page(html.render(outcomes.outcome(outcomes.feature(leak=1), inflation=nan)))


def test_the_drawing_shows_first_what_decided_and_who_could_not_know_it():
    """Bounds that straddle the prediction, and unknown ones, are said where they matter."""
    T = outcomes.T
    unsure = TimelineEntry("7", None, T - 3_000, T + 5_000, T - 3_000, T + 6_000, "current")
    unknown = TimelineEntry("8", None, T - 3_000, None, T - 3_000, None, "current")
    for entry, said in (
        (unsure, "readable from between −3 ms and +6 ms"),
        (unknown, "nobody saw when it could be read"),
    ):
        case = replace(outcomes.example(Verdict.SKEW_AMBIGUOUS), timeline=(entry,))
        assert said in drawings.timeline(case)


def test_of_a_long_history_the_drawing_keeps_what_decided():
    oldest = outcomes.version("oldest", outcomes.T - 10_000_000, "superseded")
    old = outcomes.version("old", outcomes.T - 9_000_000, "superseded")
    case = outcomes.example(Verdict.LEAK)
    short = drawings.timeline(replace(case, timeline=(oldest, old)))
    assert ">old<" in short  # what was replaced last is enough to show that something was
    assert ">oldest<" not in short
    late = outcomes.version("decisive", outcomes.T + 9_000_000, "future", is_decisive=True)
    crowd = tuple(outcomes.version(f"v{i}", outcomes.T + i, "future") for i in range(1, 40))
    drawn = drawings.timeline(replace(case, timeline=(oldest, old, *crowd, late)))
    assert "decisive" in drawn
    assert "v1<" in drawn
    assert "v9<" not in drawn


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
