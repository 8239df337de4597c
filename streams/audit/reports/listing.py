"""What else is there to know? Every feature, what was found about the files, and what all of it rests on."""

import shlex
from collections import Counter

from monitors.audit.outcome import WORST_FIRST, FeatureOutcome, Outcome
from monitors.verdicts import Severity
from streams.audit.reports import wording
from streams.audit.reports.markup import Child, Html, join, tag, user
from streams.audit.reports.parts import LETTERS, section, table, word

#: How many of each are shown; what is left out is counted.
FEATURES_MAX, FINDINGS_MAX, SETTINGS_MAX, LATENCIES_MAX = 150, 40, 40, 20

_LOUDNESS = {Severity.PAGE: "t-leak", Severity.WARNING: "t-warn", Severity.INFO: "t-cool"}


def every_feature(outcome: Outcome, features: list[FeatureOutcome]) -> Html:
    shown = features[:FEATURES_MAX]
    rest = Counter(f.verdict for f in features[FEATURES_MAX:])
    words = ", ".join(f"{n:,} {verdict.value}" for verdict in WORST_FIRST if (n := rest[verdict]))
    after = f"{sum(rest.values()):,} more features are left out here: {words}. --json has them all." if rest else ""
    heads = [("Feature", False), ("Verdict", False), *((v.value.replace("_", " "), True) for v in WORST_FIRST)]
    heads += [("Leak share", True), ("Too late by", True), ("Sure", False)]
    said = (
        "A feature has the verdict of its worst row. Numbers are rows; the leak share goes from what is proved to what "
        "is possible."
    )
    present = [v for v in WORST_FIRST if any(f.counts[v] for f in features)]
    legend = [join((tag("dt", word(v)), tag("dd", f"The value {wording.MEANS[v]}."))) for v in present]
    tiers = sorted({f.tier for f in features})
    legend += [join((tag("dt", t.name), tag("dd", f"Rests on: {wording.RESTS_ON[t]}."))) for t in tiers]
    return section(
        "features",
        "Every feature, worst first",
        tag("p", said),
        table(
            f"{wording.count(len(features), 'feature')} of {wording.count(outcome.rows, 'row')}",
            heads,
            map(_feature, shown),
            after,
        ),
        tag("dl", *legend, class_="terms") if legend else None,
    )


def _feature(feature: FeatureOutcome) -> Html:
    low, high = feature.leak_share_low, feature.leak_share_high
    span = (
        wording.share(low)
        if wording.share(low) == wording.share(high)
        else f"{wording.share(low)} to {wording.share(high)}"
    )
    reason = wording.main_reason(feature)
    return tag(
        "tr",
        tag("th", user(feature.name), scope="row"),
        tag("td", word(feature.verdict), join((tag("br"), reason.value)) if reason is not None else None),
        *(
            tag("td", f"{n:,}", class_="n" if n else "n nil")
            for n in (feature.counts[verdict] for verdict in WORST_FIRST)
        ),
        tag("td", span, class_="n"),
        tag("td", "" if feature.leads is None else wording.duration(feature.leads.p50), class_="n"),
        tag("td", feature.tier.name),
    )


def also_found(outcome: Outcome) -> Html | None:
    found = wording.loudest(outcome.findings)
    if not found:
        return None
    items = [
        tag(
            "li",
            tag("span", one.severity.value, class_=f"word {_LOUDNESS[one.severity]}"),
            " ",
            tag("code", wording.clean(one.kind, 60)),
            tag("br"),
            wording.clean(one.message, LETTERS),
            " ",
            wording.clean(one.advice, LETTERS),
        )
        for one in found[:FINDINGS_MAX]
    ]
    rest = Counter(wording.clean(one.kind, 40) for one in found[FINDINGS_MAX:])
    if rest:
        kinds = ", ".join(f"{n:,} {kind}" for kind, n in rest.most_common(6))
        items.append(tag("li", f"{sum(rest.values()):,} more are left out here ({kinds}). --json has them all."))
    intro = "About the files, beside the verdicts of cells. None of it changes a verdict unless it says so."
    return section("findings", "Also found", tag("p", intro), tag("ul", *items, class_="findings"))


def latency(features: list[FeatureOutcome]) -> Html | None:
    known = sorted((f for f in features if f.latency is not None), key=lambda f: -f.latency.p99_us if f.latency else 0)
    if not known:
        return None
    heads = [("Feature", False), ("Versions", True), ("Half within", True), ("95 %", True), ("99 %", True)]
    heads += [("Slowest", True), ("Later than assumed", True), ("Over budget", True)]
    rows = []
    for feature in known[:LATENCIES_MAX]:
        latency = feature.latency
        assert latency is not None
        times = (latency.p50_us, latency.p95_us, latency.p99_us, latency.max_us)
        budget = latency.over_budget_share
        rows.append(
            tag(
                "tr",
                tag("th", user(feature.name), scope="row"),
                tag("td", f"{latency.versions:,}", class_="n"),
                *(tag("td", wording.duration(us), class_="n") for us in times),
                tag("td", wording.share(latency.backfill_share), class_="n"),
                tag("td", "no budget" if budget is None else wording.share(budget), class_="n"),
            )
        )
    rest = len(known) - LATENCIES_MAX
    after = f"{rest:,} more features are left out here." if rest > 0 else ""
    return section("latency", "How long values took to become readable", table("Slowest first", heads, rows, after))


def rests_on(outcome: Outcome, features: list[FeatureOutcome]) -> Html:
    assumed = [wording.clean(wording.assumption(text), LETTERS) for text in outcome.assumes[:SETTINGS_MAX]]
    nothing = "Nothing was assumed: every verdict rests on what the files and the settings say."
    settings = list(outcome.rests_on)
    rows = [
        tag("tr", tag("th", user(name, 80), scope="row"), tag("td", user(how, 300), class_="txt"))
        for name, how in settings[:SETTINGS_MAX]
    ]
    rest = len(settings) - SETTINGS_MAX
    parts: list[Child] = [
        tag("h3", "Assumptions"),
        tag("ul", *(tag("li", text) for text in assumed)) if assumed else tag("p", nothing),
        tag("h3", "Settings"),
        table(
            "What the verdicts rest on", [("What", False), ("How", False)], rows, f"{rest:,} more." if rest > 0 else ""
        ),
    ]
    if outcome.not_audited:
        left = list(outcome.not_audited.items())
        rows = [
            tag("tr", tag("th", user(name), scope="row"), tag("td", user(why, 200), class_="txt"))
            for name, why in left[:SETTINGS_MAX]
        ]
        rest = len(left) - SETTINGS_MAX
        after = f"{rest:,} more columns." if rest > 0 else ""
        parts += [
            tag("h3", "Not audited"),
            table("Columns without a verdict", [("Column", False), ("Why", False)], rows, after),
        ]
    return section("rests", "What this rests on", *parts)


def again(outcome: Outcome, features: list[FeatureOutcome]) -> Html:
    logs = [word for path in outcome.logs[:5] for word in ("--log", wording.clean(path, 200))]
    more = f" (and {len(outcome.logs) - 5:,} more logs)" if len(outcome.logs) > 5 else ""
    command = shlex.join(["tminus", "audit", wording.clean(outcome.train, 200), *logs, "--html", "report.html"])
    steps: list[Child] = []
    example = next((f.example for f in features if f.example is not None), None)
    if example is not None:
        steps = [
            tag("li", f"In the training set, look at row {example.row:,}, counted from 0 without the header."),
            tag(
                "li",
                "In the log, take all rows of the entity ",
                user(example.entity),
                " and order them by their write time.",
            ),
            tag(
                "li",
                f"Draw a line at {wording.moment(example.prediction_time_us)}, the prediction. "
                "What was written below it, nobody could read.",
            ),
        ]
    steps.append(
        tag("li", f"The whole audit again{more}, with the settings above as options:", tag("pre", tag("code", command)))
    )
    end = (
        "The same files and settings give the same page, letter by letter. --cells FILE has the verdict of every cell, "
        "--corrected FILE the table that was known."
    )
    return section("again", "Check it yourself", tag("ol", *steps), tag("p", end))
