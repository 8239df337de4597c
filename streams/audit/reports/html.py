"""What convinces somebody who was not there? One page: the finding, its proof, its price, and what it all rests on.

One file that asks nobody for anything, stays below 300 KB whatever was found, and reads in light, in dark and on paper.
"""

from collections import Counter

from monitors.audit.outcome import FeatureOutcome, Outcome
from monitors.verdicts import Verdict
from streams.audit.reports import listing, proof, style, wording
from streams.audit.reports.markup import Child, Html, tag, user
from streams.audit.reports.parts import LETTERS


def render(outcome: Outcome) -> str:
    """The page, as one HTML document in UTF-8."""
    features = wording.ranked(outcome.features.values())
    sections = [
        proof.one_row(outcome, features),
        proof.how_late(features),
        proof.worth(outcome),
        listing.every_feature(outcome, features),
        listing.also_found(outcome),
        listing.latency(features),
        listing.rests_on(outcome, features),
        listing.again(outcome, features),
    ]
    foot = "Made by tminus. This file holds everything it shows: no script, no picture and no font is fetched."
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=style.POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", f"tminus audit: {wording.headline(outcome)}"),
        tag("style", Html(style.SHEET)),
    )
    main = tag("main", _top(outcome, features), *(section for section in sections if section))
    body = tag("body", main, tag("footer", tag("p", foot)))
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _top(outcome: Outcome, features: list[FeatureOutcome]) -> Html:
    first = features[0] if features else None
    leaking = sum(f.verdict is Verdict.LEAK for f in features)
    cells = Counter({v: sum(f.counts[v] for f in features) for v in Verdict})
    facts = [
        ("Rows", f"{outcome.rows:,}", f"{wording.count(outcome.cells, 'cell')}: every feature of every row"),
        ("Features that leak", f"{leaking:,}", f"of {len(features):,}"),
        ("Cells that leak", f"{cells[Verdict.LEAK]:,}", wording.share(cells[Verdict.LEAK] / max(outcome.cells, 1))),
        ("Verified", wording.share(outcome.coverage), "of all cells had evidence for a verdict"),
    ]
    lead: list[Child] = []
    if first is not None and first.verdict is not Verdict.PASS:
        lead = [tag("p", wording.story(first.example), class_="lead")] if first.example is not None else []
        lead += (
            [tag("p", tag("strong", "To do: "), wording.advice(first), class_="lead")] if wording.advice(first) else []
        )
    return tag(
        "header",
        tag("p", "tminus audit of ", user(outcome.train, 200), class_="kicker"),
        _assumptions(outcome),
        tag("h1", wording.headline(outcome).replace(" %", "\u00a0%")),
        *lead,
        tag(
            "dl",
            *(tag("div", tag("dt", name), tag("dd", value, tag("small", says))) for name, value, says in facts),
            class_="facts",
        ),
    )


def _assumptions(outcome: Outcome) -> Html | None:
    """What was taken for granted comes before any verdict."""
    told = [wording.clean(wording.assumption(text), LETTERS) for text in outcome.assumes[:5]]
    if not told:
        return None
    more = len(outcome.assumes) - len(told)
    lines = [tag("p", text) for text in [*told, *([f"And {more:,} more, listed below."] if more else [])]]
    return tag("aside", tag("p", tag("strong", "Assumed, without evidence:")), *lines, class_="note")
