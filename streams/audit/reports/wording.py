"""In which words is an outcome told to a person? What every report says alike.

Texts of the user's files (names, values, entities) are hostile until `clean`: they may hold control characters,
direction overrides and megabytes.
"""

import re
import unicodedata
from collections.abc import Iterable

from features.times import iso
from monitors.audit.outcome import WORST_FIRST, Example, FeatureOutcome, Interval, Outcome, TableFinding
from monitors.verdicts import Reason, Severity, Tier, Verdict

#: What a verdict says about a value, to be read after "the value".
MEANS = {
    Verdict.LEAK: "was written after the prediction: nobody could know it",
    Verdict.LEAK_OR_STALE: "was there before and comes back after: the value alone cannot say which of the two it is",
    Verdict.STALE: "had been replaced before the prediction: no leak, but serving sees another one",
    Verdict.SKEW_AMBIGUOUS: "became readable around the prediction: the stamps cannot say on which side",
    Verdict.UNVERIFIABLE: "cannot be judged: evidence is missing",
    Verdict.PASS: "was surely readable at the prediction",
}

#: What evidence of a tier consists of.
RESTS_ON = {
    Tier.E0: "the value was logged when it was served",
    Tier.E1: "order in one sequence, or one transaction",
    Tier.E2: "write times, with the clock error as declared (0 unless stated)",
    Tier.E3: "broker or ingest times",
    Tier.E4: "columns that users fill, or an assumption",
    Tier.E5: "statistics only",
}

#: Why a cell could not be judged, or not plainly; and what would mend it.
WHY = {
    Reason.SKEW: ("the two clocks may differ by more than what lies between", "State a better --clock-error."),
    Reason.RESOLUTION: ("the stamps are too coarse", "Log finer stamps, or the position of the read in the log's seq."),
    Reason.SAME_MS: ("write and read carry the same stamp", "Log the position of the read (--prediction-seq)."),
    Reason.IN_FLIGHT: ("the read fell between write and acknowledgement", "Log which version was read (__version)."),
    Reason.NO_LOWER_BOUND: ("only the acknowledgement is known, and it came after the read", "Log the write time."),
    Reason.NO_COVERAGE: ("the log does not reach the prediction", "Give an older log, or widen --covers if it does."),
    Reason.NO_UPPER_BOUND: ("nobody saw the write become readable", "Log a visible time (--visible-time)."),
    Reason.PHANTOM: ("no version ever held this value", "Find out where it was computed: the log lacks it."),
    Reason.PLACEHOLDER: ("the value itself is missing from the log", "Log whole rows."),
    Reason.STAMP_UNKNOWN: ("the row names a version that the log does not have", "Give the log that has it."),
    Reason.STAMP_MISMATCH: (
        "the version that the row names holds another value",
        "Find out which of the two is wrong.",
    ),
    Reason.TYPE_MISMATCH: ("table and log hold values that cannot be compared", "Give both columns one type."),
}

_AMBIGUOUS = (Reason.SKEW, Reason.RESOLUTION, Reason.SAME_MS, Reason.IN_FLIGHT, Reason.NO_LOWER_BOUND)
_LOUDEST_FIRST = (Severity.PAGE, Severity.WARNING, Severity.INFO)
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]{1,15},[0-9]{1,15}")  # as some spreadsheets write a CSV
_KEPT_FORMATS = "\u200c\u200d"  # joiners: Persian and families of emoji need them


def clean(text: str, limit: int = 1_000) -> str:
    r"""A text that can neither steer a terminal, nor turn the direction of a line, nor break XML, nor fill a page.

    Examples
    --------
    >>> clean("a\x1b[31mb\u202ec"), clean("x" * 50, 10)
    ('a\\x1b[31mb\\u202ec', 'xxxxxxxxx…')
    >>> clean("سلام 👩‍🚀") == "سلام 👩‍🚀"
    True
    """
    told = text[:limit]
    if not told.isprintable():  # which is a little stricter than needed: it knows no joiners
        told = "".join(letter if _is_calm(letter) else _escaped(letter) for letter in told)
    return told if len(told) <= limit and len(text) <= limit else told[: limit - 1] + "…"


def _is_calm(letter: str) -> bool:
    if letter in _KEPT_FORMATS:
        return True
    code = ord(letter)
    is_noncharacter = code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF
    return not is_noncharacter and unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode()


def told_value(value: str | None, limit: int = 60) -> str:
    """A cell as people see it: NULL for None, and an empty text that can be seen.

    Examples
    --------
    >>> told_value(None), told_value(""), told_value("7")
    ('NULL', "''", '7')
    """
    return "NULL" if value is None else clean(value, limit) or "''"


def duration(us: int) -> str:
    """A length of time for people, rounded down: a lead is a bound that must stay true.

    Examples
    --------
    >>> [duration(us) for us in (3, 1_500, 44_270, 5_003_000, 59_999_999)]
    ['0.003 ms', '1.5 ms', '44.2 ms', '5.003 s', '59.999 s']
    >>> [duration(us) for us in (60_000_000, 7_380_000_000, 273_600_000_000, 10**14)]
    ['1 min', '2 h 3 min', '3 d 4 h', '1,157 d']
    """
    if us < 0:
        return f"-{duration(-us)}"
    if us < 10_000:
        return f"{_decimal(us, 3)} ms"
    if us < 1_000_000:
        return f"{_decimal(us // 100, 1)} ms"
    if us < 60_000_000:
        return f"{_decimal(us // 1_000, 3)} s"
    seconds = us // 1_000_000
    if seconds < 3_600:
        return _two(seconds // 60, "min", seconds % 60, "s")
    if seconds < 86_400:
        return _two(seconds // 3_600, "h", seconds % 3_600 // 60, "min")
    if seconds < 30 * 86_400:
        return _two(seconds // 86_400, "d", seconds % 86_400 // 3_600, "h")
    return f"{seconds // 86_400:,} d"


def _decimal(number: int, digits: int) -> str:
    whole, rest = divmod(number, 10**digits)
    return f"{whole}.{rest:0{digits}d}".rstrip("0").rstrip(".")


def _two(great: int, unit: str, small: int, subunit: str) -> str:
    return f"{great} {unit}" + (f" {small} {subunit}" if small else "")


def moment(time_us: int) -> str:
    """A time in UTC for people, with as many digits as it needs.

    Examples
    --------
    >>> moment(1_700_000_000_000_000), moment(1_700_000_005_003_000)
    ('2023-11-14 22:13:20 UTC', '2023-11-14 22:13:25.003 UTC')
    """
    try:
        stamp = iso(time_us)
    except (ValueError, OverflowError, OSError):  # outside the calendar: an event time may say anything
        return f"{time_us:,} us"
    day, rest = stamp[:10], stamp[11:-1]
    second, micros = rest.split(".")
    digits = "" if micros == "000000" else f".{micros[:3]}" if micros.endswith("000") else f".{micros}"
    return f"{day} {second}{digits} UTC"


def share(part: float) -> str:
    """A share in per cent that never rounds something to nothing, nor almost all to all.

    Examples
    --------
    >>> [share(x) for x in (0.0, 0.00001, 0.38754, 0.99999, 1.0)]
    ['0 %', '<0.1 %', '38.8 %', '99.9 %', '100 %']
    """
    if part <= 0 or part >= 1:
        return "0 %" if part <= 0 else "100 %"
    return "<0.1 %" if part < 0.001 else f"{min(round(100 * part, 1), 99.9):.1f} %"


def count(number: int, noun: str) -> str:
    """
    >>> count(1, "row"), count(20_000, "row"), count(2, "entity")
    ('1 row', '20,000 rows', '2 entities')
    """
    many = f"{noun[:-1]}ies" if noun.endswith("ty") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else many}"


def figure(estimate: Interval) -> str:
    """
    >>> figure(Interval(0.9971, 0.995, 0.999))
    '0.997 (0.995 to 0.999)'
    """
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def ranked(features: Iterable[FeatureOutcome]) -> list[FeatureOutcome]:
    """Worst verdict first, then most cells, then the better proof."""
    place = {verdict: i for i, verdict in enumerate(WORST_FIRST)}
    return sorted(features, key=lambda f: (place[f.verdict], -f.counts[f.verdict], f.tier, f.name))


def loudest(findings: Iterable[TableFinding]) -> list[TableFinding]:
    """Findings as a person should read them; those of one severity keep their order."""
    return sorted(findings, key=lambda finding: _LOUDEST_FIRST.index(finding.severity))


def assumption(text: str) -> str:
    """What an assumption of the outcome means."""
    if text == "visible = write":
        return "visible = write. Every write counts as readable at once, because the log has no visible time."
    return clean(text)


def headline(outcome: Outcome) -> str:
    """The whole audit in one or two sentences."""
    features = ranked(outcome.features.values())
    if not features or not outcome.cells:
        return "Nothing was audited: there is no cell to judge."
    first = features[0]
    alike = sum(f.verdict is first.verdict for f in features)
    if first.verdict is Verdict.LEAK:
        return _leak_headline(outcome, first, alike)
    checked = "" if outcome.coverage >= 1 else f" in the {share(outcome.coverage)} of cells that could be verified"
    if first.verdict is Verdict.PASS:
        end = ", if what is assumed holds" if outcome.assumes else ""
        return f"Clean. All {count(outcome.cells, 'cell')} held what could be known at the prediction{end}."
    if outcome.coverage <= 0:
        return f"Nothing could be verified. Of {count(outcome.cells, 'cell')}, none has the evidence for a verdict."
    if first.verdict is Verdict.UNVERIFIABLE:
        return f"No leak{checked}. The rest has no evidence, which is not the same as being clean."
    totals = {v: sum(f.counts[v] for f in features) for v in WORST_FIRST}
    said = [f"{count(totals[v], 'cell')} {words[totals[v] == 1]}" for v, words in _DOUBTS.items() if totals[v]]
    is_proved = totals[Verdict.LEAK_OR_STALE] + totals[Verdict.SKEW_AMBIGUOUS] == 0
    return f"No leak{'' if is_proved else ' is proved'}{checked}. But {'; '.join(said)}."


#: What cells of a verdict do: (many, one).
_DOUBTS = {
    Verdict.LEAK_OR_STALE: (
        "hold values that may come from the future or from the past",
        "holds a value that may come from the future or from the past",
    ),
    Verdict.STALE: (
        "hold what had been replaced before: serving sees other values",
        "holds what had been replaced before: serving sees another value",
    ),
    Verdict.SKEW_AMBIGUOUS: (
        "changed so close to the prediction that the stamps cannot decide",
        "changed so close to the prediction that the stamps cannot decide",
    ),
}


def possible(feature: FeatureOutcome) -> str:
    """What a leaking feature may hide beside its proved leaks; empty where there is nothing."""
    more, near = feature.counts[Verdict.LEAK_OR_STALE], feature.counts[Verdict.SKEW_AMBIGUOUS]
    said = []
    if more:
        column = f"{clean(feature.name, 40)}__version"
        said.append(f"{count(more, 'row')} more may leak too (LEAK_OR_STALE): a column {column} would decide")
    if near:
        said.append(f"{count(near, 'row')} changed too close to the prediction to tell (SKEW_AMBIGUOUS)")
    return f"{'; '.join(said)}." if said else ""


def _leak_headline(outcome: Outcome, first: FeatureOutcome, alike: int) -> str:
    name, leaks = clean(first.name, 50), first.counts[Verdict.LEAK]
    judged = rows_of(first)
    rows = f"{leaks:,} of {count(judged, 'row')} ({share(leaks / max(judged, 1))})"
    late = "" if first.leads is None else f", {too_late(first)}"
    end = "; if what is assumed holds" if outcome.assumes and first.tier >= Tier.E4 else ""
    said = f"in {rows} its value was written after the prediction{late}{end}."
    if alike == 1:
        return f"{name} knows the future: {said}"
    return f"{alike:,} of {count(len(outcome.features), 'feature')} know the future. The worst is {name}: {said}"


def rows_of(feature: FeatureOutcome) -> int:
    """Rows in which a feature was judged: all of the table, or those that a Feast join returns for its view."""
    return sum(feature.counts.values())


def too_late(feature: FeatureOutcome) -> str:
    """By how much the leaked values of a feature came too late."""
    if feature.leads is None:
        return ""
    if feature.counts[Verdict.LEAK] == 1 or feature.leads.p50 == feature.leads.max:
        return f"at least {duration(feature.leads.max)} too late"
    return f"in half of them by {duration(feature.leads.p50)} or more"


def main_reason(feature: FeatureOutcome) -> Reason | None:
    """The most frequent reason of the feature's verdict; the first of equals, None where it has none."""
    is_ambiguous = feature.verdict is Verdict.SKEW_AMBIGUOUS
    found = [(n, r) for r, n in feature.reasons.items() if n and r in WHY and (r in _AMBIGUOUS) is is_ambiguous]
    return max(found, key=lambda pair: pair[0])[1] if found else None


def advice(feature: FeatureOutcome) -> str:
    """What to do about a feature; empty for PASS."""
    if feature.verdict is Verdict.LEAK:
        return (
            "Join this column as of the time at which its values could be read, or leave it out. "
            "--corrected FILE writes the table that was known."
        )
    if feature.verdict is Verdict.STALE:
        return "Find out which join or cache returns the old value; --corrected FILE holds the one that was current."
    if feature.verdict is Verdict.LEAK_OR_STALE:
        return f"A column {clean(feature.name, 40)}__version that names the version of each value decides it."
    reason = main_reason(feature)
    if reason is None:
        return ""
    because, mend = WHY[reason]
    value = feature.example.value if feature.example is not None else None
    if reason is Reason.TYPE_MISMATCH and value is not None and _DECIMAL_COMMA.fullmatch(value):
        mend = f"{value} looks like a number with a decimal comma: write a point, as in {value.replace(',', '.')}."
    return f"{because[0].upper()}{because[1:]} ({reason.value}). {mend}"


def story(example: Example) -> str:
    """One cell in one breath: who, when, what the row holds, and what could be known."""
    start = f"Row {example.row:,} ({clean(example.entity, 40)}) holds {told_value(example.value)}"
    read = f"the prediction of {moment(example.prediction_time_us)}"
    known = told_value(example.as_of) if example.is_as_of_known else "nothing that anybody can tell"
    if example.verdict is Verdict.LEAK and example.lead_us is not None:
        return f"{start}, which came at least {duration(example.lead_us)} after {read}; known then: {known}."
    return f"{start}; surely readable at {read}: {known}."
