"""Of what is the page put together? Sections with a heading, tables that scroll by themselves, verdicts in words."""

from collections.abc import Iterable, Sequence

from monitors.verdicts import Verdict
from streams.audit.reports.markup import Child, Html, tag

#: Letters of one message.
LETTERS = 500

_COLOURS = {
    Verdict.LEAK: "t-leak",
    Verdict.LEAK_OR_STALE: "t-leak",
    Verdict.STALE: "t-warn",
    Verdict.SKEW_AMBIGUOUS: "t-cool",
    Verdict.UNVERIFIABLE: "t-warn",
    Verdict.PASS: "t-good",
}


def section(key: str, title: str, *children: Child) -> Html:
    return tag("section", tag("h2", title, id=key), *children, aria_labelledby=key)


def table(caption: str, heads: Sequence[tuple[str, bool]], rows: Iterable[Html], after: str = "") -> Html:
    """A table that scrolls by itself where it is too wide; heads are (words, is a number)."""
    head = tag("tr", *(tag("th", words, scope="col", class_="n" if right else None) for words, right in heads))
    body = [*rows, *([tag("tr", tag("td", after, colspan=len(heads)))] if after else [])]
    table = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", *body))
    return tag("div", table, class_="scroll", role="region", aria_label=caption, tabindex=0)


def word(verdict: Verdict) -> Html:
    return tag("span", verdict.value, class_=f"word {_COLOURS[verdict]}")
