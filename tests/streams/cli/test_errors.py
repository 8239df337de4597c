"""What people and scripts get when something is wrong."""

from typing import Any

import click
import pytest

from features.problems import Code, DeclarationError, Problem
from streams.broker.admin import BrokerError, BrokerUnavailable
from streams.cli.errors import KINDS, explained
from streams.inputs import InputError

PROBLEM = Problem(code=Code.UNKNOWN_KEY, file="t.toml", table="run", key="clok", message="unknown key", nearest="clock")


def _status(error: BaseException) -> int:
    with explained() as outcome:
        raise error
    return outcome.status


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (DeclarationError([PROBLEM]), 2, "[run] clok: unknown key; did you mean 'clock'? (TM101)"),
        (BrokerUnavailable("127.0.0.1:1", waited_s=8.0, why="refused"), 3, "127.0.0.1:1"),
        (BrokerError("x: missing"), 4, "(TM202)"),
        (InputError("a.txt: no such file"), 4, "(TM208)"),
        (click.UsageError("no such option"), 2, "no such option (TM200)"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (click.Abort(), 130, "interrupted"),
    ],
)
def test_mistakes_become_sentences_and_statuses(error: BaseException, status: int, says: str, capsys: Any):
    """Scripts read the status, people the sentence, and nobody a traceback."""
    assert _status(error) == status
    captured = capsys.readouterr()
    assert says in captured.err
    assert captured.out == ""
    assert "Traceback" not in captured.err


def test_our_own_faults_are_not_prettified():
    """An invariant that broke must crash loudly, with its place."""
    with pytest.raises(ZeroDivisionError):
        _status(ZeroDivisionError("ours"))


@pytest.mark.parametrize("name", [name for name in KINDS if not name.startswith("streams.stories")])
def test_every_explained_error_exists(name: str):
    """They are named, not imported; a renamed class would fall back to a traceback."""
    module, _, kind = name.rpartition(".")
    assert issubclass(getattr(__import__(module, fromlist=[kind]), kind), Exception)
