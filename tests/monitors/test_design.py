"""The design phase: every rule by example, and its proofs against every course of events on a grid."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.declare import declare
from features.definitions import Definitions, Delay, Feature, FeatureHints, Model, Precedes, Run, Share
from features.order import Order
from monitors.design.chances import known_share
from monitors.design.judge import judge
from monitors.design.words import Design, DesignVerdict, KnownShare
from tests.features.test_order import EVENTS, order_of, rules
from tests.oracles import design_twin as twin

FLIGHTS = Path(__file__).parents[2] / "docs" / "examples" / "flights"
LATE_COLUMNS = {"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"}
SECOND_US = 1_000_000

CHURN = """
[source.users]
entity = { user = "user_id" }
[source.clicks]
entity = { user = "user_id" }
[source.predictions]
[feature.f]
source = "users"
VALUE
FEATURE
[feature.g]
source = "clicks"
column = "page"
OTHER
[model.churn]
predictions = "predictions"
entities = ["user"]
features = ["f"]
MODEL
label = { source = "users", positive = { column = "status", equals = "cancelled" }, horizon = "30d" LABEL }
[order]
login = [{ before = "prediction", gap = { min = "10s" } }]
prediction = [{ before = "cancel" }]
click = []
"""


def check(
    *, value: str = 'column = "last_login"', feature: str = "", other: str = "", model: str = "", label: str = ""
) -> DesignVerdict:
    """The last verdict on the model churn: that on f, or on the choice of its rows."""
    text = CHURN
    for hole, filling in {"VALUE": value, "FEATURE": feature, "OTHER": other, "MODEL": model, "LABEL": label}.items():
        text = text.replace(hole, filling)
    return judge(declare([("t.toml", tomllib.loads(text))]))[-1]


def words(verdict: DesignVerdict) -> list[str]:
    return [ruling.design.value for ruling in verdict.rulings]


def login(delay: str, more: str = "") -> str:
    return f'anchor = "login"\ndelay = {{ {delay} }}\n{more}'


@pytest.mark.parametrize(
    ("feature", "wanted", "slack_us"),
    [
        ('anchor = "cancel"', ["NEVER_KNOWABLE"], 0),
        ('anchor = "cancel"\ndelay = { min = "3s" }', ["NEVER_KNOWABLE"], -3 * SECOND_US),
        ('anchor = "prediction"\ndelay = { max = "0s" }', ["NEVER_KNOWABLE"], 0),
        ('anchor = "click"\ndelay = { max = "0s" }', ["SOMETIMES"], None),
        (login('min = "12s", max = "13s"'), ["SOMETIMES"], -2 * SECOND_US),
        (login('min = "1s", max = "11s"'), ["SOMETIMES"], -1 * SECOND_US),
        (login('p99 = "11s"'), ["LATE_BY_DESIGN"], -1 * SECOND_US),
        (login('min = "12s", p99 = "15s"'), ["SOMETIMES", "LATE_BY_DESIGN"], -2 * SECOND_US),
        (login('p99 = "11s", max = "12s"'), ["LATE_BY_DESIGN"], -1 * SECOND_US),
        (login('p99 = "9s", max = "1h"'), ["SOMETIMES"], (10 - 3600) * SECOND_US),
        (login('max = "4s"', 'cadence = "7s"'), ["WINDOW_OVERRUN"], -1 * SECOND_US),
        (login('max = "4s"', 'cadence = "6s"'), ["KNOWABLE"], 0),
        (login('max = "4s"', 'cadence = "1d"'), ["WINDOW_OVERRUN"], (6 - 86_400) * SECOND_US),
        (login('min = "1s"', 'cadence = "10s"'), ["WINDOW_OVERRUN"], -1 * SECOND_US),
        (login('max = "4s"'), ["KNOWABLE"], 6 * SECOND_US),
        (login('max = "10s"'), ["KNOWABLE"], 0),
        (login('min = "10s", max = "10s"'), ["KNOWABLE"], 0),
        (login('p99 = "10s"'), ["KNOWABLE"], 0),
        (login('p99 = "4s"'), ["KNOWABLE"], 6 * SECOND_US),
        (login('max = "4s"', 'serving_lag = "7s"'), ["SOMETIMES"], -1 * SECOND_US),
        (login('min = "4s"'), ["UNDECLARED"], None),
        ('anchor = "login"', ["UNDECLARED"], None),
        ('delay = { max = "1s" }', ["UNDECLARED"], None),
        ("", ["UNDECLARED"], None),
    ],
)
def test_a_value_is_known_when_its_anchor_and_its_delay_fit_before_the_prediction(feature, wanted, slack_us):
    """The table of rules about time, line by line; 10 s lie between login and prediction."""
    verdict = check(feature=feature)
    assert (words(verdict), verdict.slack_us) == (wanted, slack_us)


def test_a_p99_is_no_promise_about_the_rest():
    """One in a hundred may still come late, and the verdict says so."""
    verdict = check(feature=login('p99 = "4s"'))
    assert verdict.known == KnownShare(0.99, 1.0)
    assert "99 % of the delays" in str(verdict.rulings[0].reasons[-1])
    assert check(feature=login('max = "4s"')).known == KnownShare(1.0, 1.0)
    assert check(feature=login('p99 = "9s", max = "1h"')).known == KnownShare(0.99, 1.0)


def test_the_reasons_are_a_proof_that_names_its_places():
    """Whoever must be convinced follows line by line to where each was declared."""
    assert [str(reason) for reason in check(feature=login('max = "4s"')).rulings[0].reasons] == [
        "f becomes known with login  ([feature.f] anchor)",
        "login comes at least 10s before prediction  ([order] login)",
        "so login comes at least 10s before prediction",
        "f takes at most 4s  ([feature.f] delay)",
        "so it is known at least 6s before it is needed",
    ]


MUTABLE = 'mutable_by = ["login", "cancel"]'


@pytest.mark.parametrize(
    ("join", "wanted"),
    [
        ("", ["MUTABLE_BY_LABEL"]),
        ('join = { f = "latest" }', ["MUTABLE_BY_LABEL"]),
        ('join = { f = "as_of" }', ["UNDECLARED"]),
        ('join = { f = "event_time" }', ["UNDECLARED"]),
    ],
)
def test_what_the_label_changes_must_not_be_joined_as_it_stands_later(join, wanted):
    """The churn story: cancel clears last_login, and training takes the cleared value."""
    assert words(check(feature=MUTABLE, model=join)) == wanted


def test_only_what_surely_comes_before_the_prediction_may_change_a_latest_value():
    """An event that nothing orders may come after it; the label event counts wherever it stands."""
    good = login('max = "1s"', 'mutable_by = ["login"]')
    assert words(check(feature=good)) == ["KNOWABLE"]
    assert words(check(feature=good.replace('["login"]', '["click"]'))) == ["MUTABLE_BY_LABEL"]
    assert words(check(feature=good.replace('["login"]', '["prediction"]'))) == ["MUTABLE_BY_LABEL"]
    assert words(check(feature=good, label=', anchor = "login"')) == ["MUTABLE_BY_LABEL"]


def test_all_rules_that_hold_are_told_the_worst_first():
    """Mending one of two leaks must not look like having mended both."""
    verdict = check(feature='anchor = "cancel"\nmutable_by = ["cancel"]\ninputs = ["users.status"]')
    assert words(verdict) == ["NEVER_KNOWABLE", "DERIVED_FROM_LABEL", "MUTABLE_BY_LABEL"]


@pytest.mark.parametrize("name", ["users.status", "users", "status", "g"])
def test_the_label_must_not_be_among_the_inputs(name):
    """Not as a column, not within whole rows, not inside another feature."""
    other = 'inputs = ["users.status"]' if name == "g" else ""
    verdict = check(feature=f'inputs = ["{name}"]', other=other)
    assert words(verdict) == ["DERIVED_FROM_LABEL"]
    assert "the label is users.status" in "\n".join(map(str, verdict.rulings[0].reasons))


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ("", "DERIVED_FROM_LABEL"),
        ("where = \"status = 'active'\"", "DERIVED_FROM_LABEL"),
        ('expr = "status"', "DERIVED_FROM_LABEL"),
        ('expr = "age + 1"', "UNDECLARED"),
    ],
)
def test_conditions_and_counts_read_the_label_too(more, wanted):
    """`where status = 'active'` is the label with another name; a count of the label's rows counts the label."""
    assert words(check(value=f'aggregate = "count"\nwindow = "1m"\n{more}')) == [wanted]


@pytest.mark.parametrize(
    ("lag", "label", "is_fine"),
    [
        ('delay = { min = "30d", max = "31d" }', ', delay = { max = "30d" }', True),
        ('delay = { min = "30d", max = "31d" }', ', delay = { p99 = "30d" }', True),
        ('delay = { min = "29d", max = "31d" }', ', delay = { max = "30d" }', False),
        ('delay = { min = "30d", max = "31d" }', "", False),
        ('delay = { max = "31d" }', ', delay = { max = "30d" }', False),
    ],
)
def test_old_labels_are_an_input_like_any_other_once_they_are_written(lag, label, is_fine):
    """The fraud rate of last quarter is honest if every label that it counts had been written."""
    verdict = check(feature=f'inputs = ["users.status"]\n{lag}', label=label)
    assert words(verdict) == (["UNDECLARED"] if is_fine else ["DERIVED_FROM_LABEL"])


def test_a_feature_is_known_no_sooner_than_what_it_is_made_from():
    """The newest of its inputs decides, and an input of which nothing is declared proves nothing."""
    mine = login('max = "1s"', 'inputs = ["g"]')
    assert words(check(feature=mine, other='anchor = "cancel"')) == ["NEVER_KNOWABLE"]
    assert words(check(feature=mine, other='mutable_by = ["cancel"]')) == ["MUTABLE_BY_LABEL"]
    assert check(feature=mine, other=login('max = "4s"')).slack_us == 6 * SECOND_US
    unknown = check(feature=mine)
    assert (words(unknown), unknown.missing) == (["UNDECLARED"], ("anchor of g",))


@pytest.mark.parametrize(
    ("selection", "other", "wanted"),
    [
        ("users.status", "", "ROW_SELECTION_LEAK"),
        ("status", "", "ROW_SELECTION_LEAK"),
        ("users", "", "ROW_SELECTION_LEAK"),
        ("g", 'anchor = "cancel"', "ROW_SELECTION_LEAK"),
        ("g", 'anchor = "click"', "ROW_SELECTION_LEAK"),
        ("g", 'mutable_by = ["cancel"]', "ROW_SELECTION_LEAK"),
        ("clicks.page", 'mutable_by = ["cancel"]', "ROW_SELECTION_LEAK"),
        ("g", login('max = "1s"'), "KNOWABLE"),
        ("page", login('max = "1s"'), "KNOWABLE"),
        ("g", "", "UNDECLARED"),
        ("users.country", "", "UNDECLARED"),
        ("clicks", "", "UNDECLARED"),
    ],
)
def test_training_rows_must_not_be_chosen_by_the_future(selection, other, wanted):
    """Dropping the rows where arr_delay is missing drops the cancelled flights, which nobody knew then."""
    verdict = check(other=other, model=f'selection = ["{selection}"]')
    assert (verdict.feature, words(verdict)) == ("", [wanted])


def test_a_tumbling_window_ends_after_its_newest_row():
    """Joined as of the prediction, only what it held by then is taken."""
    window = 'aggregate = "count"\nexpr = "age"\nwindow = { tumbling = "1m" }'
    for join, wanted in (("", "WINDOW_OVERRUN"), ('join = { f = "as_of" }', "KNOWABLE")):
        assert words(check(value=window, feature=login('max = "4s"'), model=join)) == [wanted]


def flights(*names: str) -> dict[tuple[str, str], DesignVerdict]:
    files = [(name, tomllib.loads((FLIGHTS / name).read_text())) for name in names]
    return {(v.model, v.feature): v for v in judge(declare(files))}


def test_the_flights_two_hours_before_their_schedule():
    """Exactly the five columns that the runtime test and the audit find in the data; tailnum nobody can tell."""
    found = flights("tminus.toml")
    bad = {feature for (_, feature), v in found.items() if v.design.is_bad}
    assert bad == LATE_COLUMNS
    assert {v.design for (_, f), v in found.items() if f in bad} == {Design.NEVER_KNOWABLE}
    rest = {f: v.design for (_, f), v in found.items() if f not in bad}
    assert rest.pop("tailnum") is Design.UNDECLARED
    assert (len(rest), set(rest.values())) == (13, {Design.KNOWABLE})


def test_the_flights_asked_later():
    """59.4 % have left at their scheduled time; one minute after departure only the arrival is unknown."""
    found = flights("tminus.toml", "later.toml")
    at_schedule = found["at_scheduled_departure", "dep_time"]
    assert (at_schedule.design, at_schedule.known) == (Design.SOMETIMES, KnownShare(0.594, 0.594))
    bad = {f for (model, f), v in found.items() if model == "after_departure" and v.design.is_bad}
    assert bad == {"arr_time", "arr_delay", "air_time"}


delays = st.tuples(*[st.none() | st.integers(0, 2).map(lambda n: n * twin.UNIT)] * 3)


@given(rules, st.sampled_from(EVENTS), delays)
@settings(deadline=None, max_examples=300)
def test_no_course_of_events_contradicts_a_proof(rules, anchor, delay):
    """KNOWABLE: in all of them; NEVER: in none; SOMETIMES and late: in some and not in others."""
    if order_of(rules).conflict():
        return
    given_us = sorted(d for d in delay if d is not None)
    least, p99, most = (None if d is None else given_us.pop(0) for d in delay)
    hints = FeatureHints(anchor=anchor, delay=Delay(min_us=least or 0, p99_us=p99, max_us=most))
    design = judge(with_order(order_of(rules).declared, hints))[0].design
    found = twin.courses(EVENTS, rules)
    bound = p99 if most is None else most
    at_best = twin.known(found, anchor, least or 0)
    at_worst = at_best if bound is None else twin.known(found, anchor, bound)
    at_p99 = at_best if p99 is None else twin.known(found, anchor, p99)
    assert (design is Design.NEVER_KNOWABLE) == (not at_best.any())
    assert (design is Design.KNOWABLE) == (bool(at_worst.all()) and bound is not None)
    assert (design is Design.UNDECLARED) == (bool(at_best.all()) and bound is None)
    if design is Design.LATE_BY_DESIGN:
        assert at_best.all()
        assert not at_p99.all()


def with_order(order, hints: FeatureHints) -> Definitions:
    feature = Feature(name="f", source="s", column="f", hints=hints)
    model = Model(name="m", predictions="p", entity_type="e", features=("f",), join={"f": "as_of"})
    declared = {first: tuple(gaps) for first, gaps in order.items()}
    return Definitions(run=Run(), sources={}, features={"f": feature}, models={"m": model}, order=declared)


def test_just_under_the_least_delay_is_not_enough():
    """The prediction comes before a deadline, 4 s after the click: so less than the 4 s that the value takes."""
    order = {
        "click": (Precedes(before="deadline", max_us=4),),
        "prediction": (Precedes(before="deadline"),),
    }
    for least, wanted in ((4, Design.NEVER_KNOWABLE), (3, Design.SOMETIMES)):
        hints = FeatureHints(anchor="click", delay=Delay(min_us=least))
        assert judge(with_order(order, hints))[0].design is wanted


@pytest.mark.parametrize(
    ("anchor", "delay_us", "wanted"),
    [
        ("u", 120, KnownShare(0.4, 1.0)),  # some of the 60 % may have just 120
        ("u", 121, KnownShare(0.1, 0.4)),
        ("u", 100, KnownShare(1.0, 1.0)),
        ("u", 300, KnownShare(0.0, 0.1)),
        ("u", 301, KnownShare(0.0, 0.0)),
        ("late", 0, KnownShare(0.6, 0.6)),
        ("late", 1, KnownShare(0.0, 0.6)),
        ("late", 20, KnownShare(0.0, 0.6)),
        ("late", 21, KnownShare(0.0, 0.0)),
        ("late", -100, KnownShare(0.9, 0.9)),
    ],
)
def test_shares_at_the_declared_quantiles_and_between_them(anchor, delay_us, wanted):
    """At a quantile the share is known; between two it lies between them."""
    shares = (Share(share=0.6, within_us=120), Share(share=0.9, within_us=220))
    gap = Precedes(before="v", min_us=100, max_us=300, shares=shares)
    exactly = Precedes(before="late", min_us=5, max_us=5)
    order = Order({"u": (gap, Precedes(before="asked", min_us=125, max_us=125)), "v": (exactly,)})
    asked = "v" if anchor == "u" else "asked"
    found = known_share(order, anchor, asked, [(delay_us, 0.0)], delay_us)
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))


tens = st.integers(1, 6).map(lambda n: 10 * n)
sides = st.tuples(st.sampled_from("uv"), st.booleans(), tens, st.sampled_from([0, 10, 30]))
fives = st.tuples(*[st.sampled_from([0, 5, 10, 15])] * 2)


@given(st.lists(tens, min_size=2, max_size=12), sides, sides, fives, st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=200)
def test_the_share_of_known_values_lies_within_its_bounds(gaps, near_anchor, near_prediction, delay, seed):
    """Whatever the distribution, if only its quantiles were declared rightly.

    Predictions lie half-way between the tens, so that no anchor falls together with one: of that the order decides.
    """
    rng, n = np.random.default_rng(seed), 300
    gap = rng.permutation(np.resize(gaps, n))
    shares = [Share(share=float((gap <= q).mean()), within_us=q) for q in sorted(set(gaps))[:-1]][::2]
    declared = {"u": [Precedes(before="v", min_us=min(gaps), max_us=max(gaps), shares=tuple(shares))]}
    at = {"u": np.zeros(n, np.int64), "v": gap}
    for event, (base, is_after, least, width), half in (("a", near_anchor, 0), ("prediction", near_prediction, 5)):
        distance = half + least + 10 * rng.integers(0, width // 10, n, endpoint=True)
        at[event] = at[base] + (distance if is_after else -distance)
        first, then = (base, event) if is_after else (event, base)
        rule = Precedes(before=then, min_us=half + least, max_us=half + least + width)
        declared.setdefault(first, []).append(rule)
    low, high = sorted(delay)
    took = rng.integers(low, high, n, endpoint=True)
    hints = FeatureHints(anchor="a", delay=Delay(min_us=low, max_us=high))
    known = judge(with_order(declared, hints))[0].known or KnownShare(0.0, 1.0)
    share = float((at["a"] + took <= at["prediction"]).mean())
    assert known.low - 1e-9 <= share <= known.high + 1e-9
