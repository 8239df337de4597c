"""What is declared for the design phase: parsed, and refused where it cannot be meant so."""

import pytest

from features.definitions import Delay, Precedes, Share
from features.problems import Code
from tests.features.test_declare import WHOLE, changed, only, read

ORDER = """
[order]
login = [{ before = "prediction" }]
prediction = [{ before = "cancel", gap = { min = "1h", max = "2h", quantiles = [{ share = 0.5, within = "90m" }] } }]
"""
BASE = WHOLE[: WHOLE.index("[order]")]
HOUR_US = 3_600_000_000


def declared(where: str, line: str) -> str:
    return BASE.replace(where, f"{where}\n{line}") + ORDER


LOGIN = 'column = "last_login"'
LABEL = 'horizon = "30d" }'
MODEL = 'entities = ["user"]'


def test_gaps_and_delays_become_microseconds():
    """A judge compares numbers; texts are for people."""
    found = read(declared(LOGIN, 'anchor = "login"\ndelay = { min = "1s", p99 = "2s", max = "1m" }\ncadence = "1h"'))
    assert found.order["login"] == (Precedes(before="prediction"),)
    shares = (Share(share=0.5, within_us=3 * HOUR_US // 2),)
    cancel = Precedes(before="cancel", min_us=HOUR_US, max_us=2 * HOUR_US, shares=shares)
    assert found.order["prediction"] == (cancel,)
    hints = found.features["last_login"].hints
    assert (hints.anchor, hints.cadence_us) == ("login", HOUR_US)
    assert hints.delay == Delay(min_us=1_000_000, p99_us=2_000_000, max_us=60_000_000)
    assert (found.models["churn"].hints.anchor, hints.delay.bound_us) == ("prediction", 60_000_000)


@pytest.mark.parametrize(
    ("where", "line", "key", "near"),
    [
        (LOGIN, 'anchor = "logn"', "anchor", "login"),
        (LOGIN, 'anchor = "payment"', "anchor", None),
        (LOGIN, 'inputs = ["click_5m"]', "inputs", "clicks_5m"),
        (LOGIN, 'inputs = ["users.status", "user.status"]', "inputs", "users.status"),
        (MODEL, 'anchor = "predictoin"', "anchor", "prediction"),
        (MODEL, 'selection = ["statos"]', "selection", "status"),
    ],
)
def test_a_name_that_nothing_declares_is_refused_with_the_nearest(where: str, line: str, key: str, near: str | None):
    """A wrong name would not be an error later but a wrong proof."""
    problem = only(declared(where, line))
    assert (problem.code, problem.key, problem.nearest) == (Code.UNKNOWN_NAME, key, near)


def test_events_of_the_label_and_of_mutations_are_looked_at():
    """`cancelled` beside `cancel` is a slip; an event that is near to nothing may be one that nothing orders."""
    label = BASE.replace('horizon = "30d" }', 'horizon = "30d", anchor = "cancelled" }') + ORDER
    assert (only(label).key, only(label).nearest) == ("label.anchor", "cancel")
    slip = BASE.replace('["login", "cancel"]', '["logins", "refund"]') + ORDER
    assert (only(slip).key, only(slip).nearest) == ("mutable_by", "login")
    assert read(slip + "logins = []\n").features["last_login"].mutable_by == ("logins", "refund")


def test_without_an_order_events_are_only_names():
    """There is nothing to compare them with; the design phase will say that it can prove nothing."""
    assert read(BASE.replace(LOGIN, LOGIN + '\nanchor = "login"')).features["last_login"].hints.anchor == "login"


@pytest.mark.parametrize(
    ("gap", "words"),
    [
        ('min = "2h", max = "1h"', "'1h'"),
        ('max = "0s"', "'0s'"),
        (
            'quantiles = [{ share = 0.9, within = "1h" }, { share = 0.5, within = "2h" }]',
            "ascending",
        ),
        ('max = "1h", quantiles = [{ share = 0.9, within = "2h" }]', "between"),
    ],
)
def test_a_gap_that_no_two_events_can_have_is_refused(gap: str, words: str):
    """From a contradiction everything follows, also that a leak is none."""
    problem = only(changed('gap = { min = "0s" }', f"gap = {{ {gap} }}"))
    assert (problem.code, problem.table, problem.key) == (Code.CONTRADICTION, "order", "prediction")
    assert words in problem.message


def test_rules_that_cannot_all_hold_are_named_one_after_the_other():
    """Any one of them can be the mistake; the person who reads knows which."""
    more = 'cancel = [{ before = "review", gap = { min = "1d" } }]\nreview = [{ before = "prediction" }]'
    problem = only(WHOLE + more)
    assert (problem.code, problem.table) == (Code.CONTRADICTION, "order")
    for part in ("prediction comes before cancel", "cancel comes at least 1d before review", "review comes before"):
        assert part in problem.message
    late = 'prediction = [{ before = "cancel", gap = { max = "1h" } }, { before = "cancel", gap = { min = "2h" } }]'
    problem = only(BASE + "[order]\n" + late)
    assert "cancel comes at most 1h after prediction" in problem.message
    assert "prediction comes at least 2h before cancel" in problem.message


def test_delays_ascend():
    """A p99 above the greatest delay means that one of the two was typed into the wrong place."""
    problem = only(changed("default = 0", 'delay = { p99 = "2h", max = "1h" }'))
    assert (problem.code, problem.key) == (Code.CONTRADICTION, "delay")
    assert "p99 = '2h', max = '1h'" in problem.message


def test_features_made_from_each_other_are_refused():
    """Nobody could say which of them was known first."""
    circle = BASE.replace(LOGIN, LOGIN + '\ninputs = ["clicks_5m"]')
    problem = only(circle.replace('window = "5m"', 'window = "5m"\ninputs = ["last_login"]'))
    assert problem.code is Code.CONTRADICTION
    assert "clicks_5m from last_login from clicks_5m" in problem.message
