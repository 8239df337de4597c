"""`tminus check` as CI runs it: exit status, proof on the screen, proof as JSON."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.streams.cli.test_commands import CONFIG, tminus

ROOT = Path(__file__).parents[3]
SHOP = str(ROOT / "docs" / "examples" / "shop" / "tminus.toml")
CHURN = str(ROOT / "streams" / "stories" / "churn.toml")
FLIGHTS = str(ROOT / "docs" / "examples" / "flights" / "tminus.toml")
LATER = str(ROOT / "docs" / "examples" / "flights" / "later.toml")
LATE_COLUMNS = {"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"}


def asked(capsys: Any, *arguments: str) -> tuple[int, dict[str, Any]]:
    status = tminus("check", *arguments, "--json")
    return status, json.loads(capsys.readouterr().out)


def test_the_churn_story_fails_the_build_before_it_is_trained(capsys: Any):
    """The seed of it all: cancel clears last_login, and training takes it as it stands when the label is known."""
    status, found = asked(capsys, "-c", CHURN)
    assert (status, found["schema"]) == (1, "tminus.check/1")
    (bad,) = [v for v in found["verdicts"] if v["verdict"] not in ("KNOWABLE", "UNDECLARED")]
    assert (bad["model"], bad["feature"], bad["verdict"]) == ("churn", "last_login", "MUTABLE_BY_LABEL")
    (ruling,) = bad["rulings"]
    assert ruling["reasons"][1] == {"text": "prediction comes before cancel", "declared_in": "[order] prediction"}
    assert tminus("check", "-c", CHURN) == 1
    assert "  last_login           MUTABLE_BY_LABEL\n    - cancel changes last_login" in capsys.readouterr().out


def test_joined_as_of_the_churn_story_passes(tmp_path: Path, capsys: Any):
    """The mend that the proof proposes is one."""
    path = tmp_path / "tminus.toml"
    path.write_text(Path(CHURN).read_text().replace('clicks_3s = "as_of"', 'clicks_3s = "as_of", last_login = "as_of"'))
    assert asked(capsys, "-c", str(path))[0] == 0


def test_the_flights_fail_in_exactly_five_columns(capsys: Any):
    """As many as the audit finds in 336,776 rows; here it took no row."""
    status, found = asked(capsys, "-c", FLIGHTS)
    by_word = {}
    for verdict in found["verdicts"]:
        by_word.setdefault(verdict["verdict"], set()).add(verdict["feature"])
    assert (status, by_word["NEVER_KNOWABLE"], by_word["UNDECLARED"]) == (1, LATE_COLUMNS, {"tailnum"})
    assert len(by_word["KNOWABLE"]) == 13
    (year,) = [v for v in found["verdicts"] if v["feature"] == "year"]
    assert (year["slack_us"], year["probability"]) == (82_800_000_000, {"low": 1.0, "high": 1.0})


def test_a_share_is_shown_in_percent(capsys: Any):
    """59.4 % is what a person asks for first."""
    assert tminus("check", "-c", FLIGHTS, "-c", LATER) == 1
    shown = capsys.readouterr().out
    assert "  dep_time             SOMETIMES           known for 59.4 % of the predictions\n" in shown
    assert "  arr_time             SOMETIMES           known for at most 59.4 % of the predictions\n" in shown


def test_too_little_declared_fails_only_when_asked_to(capsys: Any):
    """Most begin without an order; that is no proof of anything, and says so."""
    status, found = asked(capsys, "-c", SHOP)
    assert (status, {v["verdict"] for v in found["verdicts"]}) == (0, {"UNDECLARED"})
    assert [v["missing"] for v in found["verdicts"]] == [["anchor of clicks_10m"], ["anchor of last_login"]]
    assert tminus("check", "-c", SHOP) == 0
    assert "KNOWABLE" not in capsys.readouterr().out
    assert tminus("check", "-c", SHOP, "--strict") == 1


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (
            'login = [{ before = "click" }]\nclick = [{ before = "login" }]',
            "no course of events can fulfil all of these",
        ),
        ('login = [{ before = "click", gap = { min = "2h", max = "1h" } }]', "before 'click'"),
    ],
)
def test_an_order_that_contradicts_itself_ends_with_2(tmp_path: Path, capsys: Any, order: str, words: str):
    """From a contradiction anything could be proved; so nothing is."""
    path = tmp_path / "tminus.toml"
    path.write_text(f"{CONFIG}[order]\n{order}\n")
    assert tminus("check", "-c", str(path)) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert f"{path}: [order] " in said.err
    assert words in said.err
    assert "(TM108)" in said.err
