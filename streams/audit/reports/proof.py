"""What is the proof? One row with its history, how late the values came, and what that is worth in a score."""

from monitors.audit.outcome import Example, FeatureOutcome, Inflation, Outcome, Scores
from monitors.verdicts import Verdict
from streams.audit.reports import drawings, wording
from streams.audit.reports.markup import Child, Html, tag, user
from streams.audit.reports.parts import LETTERS, section, table, word

#: How many are shown; what is left out is counted.
HISTOGRAMS_MAX, SCORES_MAX = 3, 20

_PLACES = {"superseded": "replaced before", "current": "could be current", "future": "later"}


def one_row(outcome: Outcome, features: list[FeatureOutcome]) -> Html | None:
    feature = next((f for f in features if f.example is not None), None)
    if feature is None or feature.example is None:
        return None
    example = feature.example
    because = wording.WHY.get(example.reason)
    intro = tag(
        "p",
        f"Row {example.row:,} of the training set (counted from 0, without the header), entity ",
        user(example.entity),
        ", feature ",
        tag("strong", user(feature.name)),
        f". The row holds {wording.told_value(example.value)}"
        + (f"; its label is {wording.told_value(example.label)}" if example.label is not None else "")
        + ". The question for every cell is: at the moment of the prediction, did the row already hold this value? "
        + f"Here it {wording.MEANS[example.verdict]}"
        + (f"; {because[0]} ({example.reason.value}). " if because is not None else ". "),
        word(example.verdict),
        f" ({example.tier.name}: {wording.RESTS_ON[example.tier]}).",
    )
    caption = (
        "Time runs downwards, not drawn to scale; on the left the distance from the prediction. "
        "What lies below the line came after it."
    )
    return section(
        "row",
        "One row, step by step",
        intro,
        tag("figure", drawings.timeline(example), tag("figcaption", caption)) if example.timeline else None,
        _versions(example) if example.timeline else tag("p", "The log has no version of this entity."),
        _more_rows(feature),
    )


def _versions(example: Example) -> Html:
    heads = [("Value", False), ("Happened", False), ("Written", False), ("Readable, at the earliest", False)]
    heads += [("Readable, at the latest", False), ("At the prediction", False)]
    rows = []
    for entry in example.timeline:
        times = (entry.event_time_us, entry.write_time_us, entry.from_us, entry.by_us)
        place = _PLACES.get(entry.place, wording.clean(entry.place, 30))
        rows.append(
            tag(
                "tr",
                tag("th", user(wording.told_value(entry.value)), scope="row"),
                *(tag("td", "unknown" if at is None else wording.moment(at)) for at in times),
                tag("td", f"{place}: the verdict rests on it" if entry.is_decisive else place),
                class_="hit" if entry.is_decisive else None,
            )
        )
    left_out = f"{example.earlier:,} older and {example.later:,} newer versions are left out."
    caption = "What the log says of this entity, with clock error and resolution in the bounds"
    return table(caption, heads, rows, left_out if example.earlier or example.later else "")


def _more_rows(feature: FeatureOutcome) -> Html | None:
    if len(feature.examples) < 2:
        return None
    heads = [("Row", True), ("Entity", False), ("Prediction", False), ("Holds", False), ("Known then", False)]
    heads.append(("Too late by", True))
    rows = [
        tag(
            "tr",
            tag("td", f"{one.row:,}", class_="n"),
            tag("td", user(one.entity), class_="txt"),
            tag("td", wording.moment(one.prediction_time_us)),
            tag("td", user(wording.told_value(one.value)), class_="txt"),
            tag("td", user(wording.told_value(one.as_of)), class_="txt"),
            tag("td", "" if one.lead_us is None else wording.duration(one.lead_us), class_="n"),
        )
        for one in feature.examples
    ]
    return table(
        f"More rows of {wording.clean(feature.name, 60)} with the verdict {feature.verdict.value}", heads, rows
    )


def how_late(features: list[FeatureOutcome]) -> Html | None:
    late = [f for f in features if f.leads is not None]
    if not late:
        return None
    parts: list[Child] = [
        tag(
            "p",
            "The lead is by how much a value came too late, at the least that the stamps prove. Short leads usually "
            "mean that something changes the column together with the outcome; long ones that the table was joined as "
            "it stands today.",
        )
    ]
    for feature in late[:HISTOGRAMS_MAX]:
        leads = feature.leads
        assert leads is not None
        said = (
            f"{wording.count(feature.counts[Verdict.LEAK], 'leaked value')}: half of them at least "
            f"{wording.duration(leads.p50)} too late, one in twenty {wording.duration(leads.p95)} or more, "
            f"the worst {wording.duration(leads.max)}."
        )
        picture = drawings.histogram(leads, feature.name)
        parts += [tag("h3", user(feature.name)), tag("figure", picture, tag("figcaption", said))]
    if len(late) > HISTOGRAMS_MAX:
        parts.append(tag("p", f"{len(late) - HISTOGRAMS_MAX:,} more features leak; their medians stand in the table."))
    return section("late", "How late the values came", *parts)


def worth(outcome: Outcome) -> Html | None:
    found = outcome.inflation
    note = wording.clean(outcome.inflation_note, LETTERS)
    if found is None:
        note = note if any(f.counts[Verdict.LEAK] for f in outcome.features.values()) else ""
        return section("worth", "What the leak is worth", tag("p", f"Not measured: {note}.")) if note else None
    metric = wording.clean(found.metric, 20).upper()
    chance = "0.5 is a coin toss, 1 is perfect" if found.metric == "auc" else "0 is guessing the mean, 1 is perfect"
    leaky, as_of, deployed = (getattr(found.scores, key).value for key, _, _ in drawings.WAYS)
    words = tag(
        "p",
        f"A small model scores {leaky:.3f} on this table. With the values that were known at the prediction it scores "
        f"{as_of:.3f}: that is what can honestly be expected. If it is trained on this table and then meets "
        f"production, where the future is not there yet, it scores {deployed:.3f}.",
    )
    picture = drawings.three_scores(found)
    caption = f"{metric}, with 95 % intervals; {chance}."
    figure = tag("figure", picture, tag("figcaption", caption)) if picture is not None else tag("p", caption)
    how = (
        f"{wording.clean(found.model, LETTERS)} {wording.clean(found.split, LETTERS)} Trained on "
        f"{wording.count(found.rows_train, 'row')}, tested on {wording.count(found.rows_test, 'row')}, "
        f"seed {found.seed}. {note[:1].upper()}{note[1:]}{'.' if note else ''} The model is small on purpose: it shows "
        "the difference, not the best score that your model could reach."
    )
    return section(
        "worth", "What the leak is worth", words, figure, _scores_table(found, metric), tag("p", how, class_="mute")
    )


def _scores_table(found: Inflation, metric: str) -> Html:
    rows = [_scores_row(f"{metric}, all features", found.scores)]
    rows += [_scores_row("F1 at 0.5, all features", found.f1)] if found.f1 is not None else []
    ordered = sorted(found.per_feature.items(), key=lambda pair: pair[1].as_of.value - pair[1].leaky.value)
    rows += [_scores_row(f"{metric}, only {wording.clean(name, 60)} as it is", s) for name, s in ordered[:SCORES_MAX]]
    rest = len(ordered) - SCORES_MAX
    heads = [("", False), *((title, True) for _, title, _ in drawings.WAYS)]
    return table(
        "The same figures, and each column on its own", heads, rows, f"{rest:,} more features." if rest > 0 else ""
    )


def _scores_row(name: str, scores: Scores) -> Html:
    cells = (wording.figure(getattr(scores, key)) for key, _, _ in drawings.WAYS)
    return tag("tr", tag("th", name, scope="row"), *(tag("td", cell, class_="n") for cell in cells))
