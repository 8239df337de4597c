"""The story is told from what was seen, and from nothing else."""

from collections import Counter
from typing import Any

from streams.stories.churn import Cancel
from streams.stories.telling import (
    LINES_MAX,
    Ending,
    Observations,
    SeenCommand,
    SeenFinding,
    SeenFlip,
    SeenReceipt,
    questions,
    tell,
)

T = 1_700_000_000_000_000
LEAK = SeenFinding(T + 41_000, "churn", "last_login", "COUPLED_TX", "warning", {"entities": [["user", "7"]]})
PAGE = LEAK._replace(at_us=T + 2_000_000, severity="page", evidence={"entities": [["user", str(n)] for n in (7, 8, 9)]})
DRIFT = SeenFinding(T + 6_500_000, "basket", "amount_3s", "DRIFT", "page", {"log_e": 7.25, "n_current": 61})


def seen(**changes: Any) -> Observations:
    plain: dict[str, Any] = {
        "seed": 1, "users": 400, "trigger": True, "trigger_delay_ms": 0, "started_us": T - 10_000_000,
        "sent": Counter({"events.clicks": 13_000, "cdc.users": 660}), "nodes": ["node-1", "node-2"],
        "cancels": [Cancel(T, 7), Cancel(T + 1_000_000, 8)],
        "answers": {"node-1": {"churn": {"model": 10, "commanded": 5}}},
        "verdicts": {("served", "last_login", "PASS"): (900, 0), ("exposure", "last_login", "LEAK"): (12, 2_400_000)},
    }  # fmt: skip
    return Observations(**(plain | changes))


def full() -> Observations:
    return seen(
        drift_us=T + 6_000_000,
        findings=[LEAK, PAGE, DRIFT],
        alerts={"a": ("churn", "page"), "b": ("basket", "page")},
        commands=[
            SeenCommand(T - 11_000_000, "model:churn", "live", ""),
            SeenCommand(T + 2_004_000, "model:churn", "fallback", ""),
            SeenCommand(T + 6_505_000, "model:basket", "fallback", ""),
        ],
        receipts=[
            SeenReceipt("node-1", "model:churn", "fallback", T + 2_012_000),
            SeenReceipt("node-2", "model:churn", "fallback", T + 2_013_500),
            SeenReceipt("node-1", "model:churn", "fallback", T + 9_000_000),
        ],
    )


def test_it_tells_what_happened_what_was_seen_what_was_done_and_how_fast():
    """Each number is one that was measured in this run."""
    text = "\n".join(tell(full()))
    assert "User 7 cancels, the first of 2; in the same transaction a trigger clears last_login." in text
    assert "(COUPLED_TX, warning)" in text
    assert "41 ms after that commit; proof: user 7." in text
    assert "proof: users 7, 8 and 9." in text
    assert "node-1 12 ms, node-2 14 ms" in text
    assert "61 predictions were enough (e-value e^7.2)" in text
    assert "last_login: joined as declared, training would take 12 values from up to 2.4 s after the read." in text
    assert "Alerts firing: basket (page), churn (page). Switched away: 2." in text


def test_it_fits_on_a_screen_whatever_happened():
    """Forty lines; who reads the end must not have lost the beginning."""
    endless = full()
    endless.endings = [Ending("entity", "ended with status 1", T)] * 60
    assert len(tell(full())) <= LINES_MAX
    assert len(tell(endless)) == LINES_MAX


def test_a_killed_controller_is_part_of_the_story():
    """Told from what really happened: nobody commanded, one model held, the other fell back on silence."""
    killed = seen(
        drift_us=T + 6_000_000,
        findings=[LEAK, PAGE, DRIFT],
        endings=[Ending("control", "was ended by SIGKILL", T + 1_000_000)],
        flips=[
            SeenFlip("node-1", "churn", True, "model", T - 5_000_000),
            SeenFlip("node-1", "basket", True, "model", T - 5_000_000),
            SeenFlip("node-1", "basket", False, "silence", T + 3_000_000),
        ],
    )
    text = "\n".join(tell(killed))
    assert "The controller was ended by SIGKILL in the middle of the story." in text
    assert "Nobody commanded: churn was not switched." in text
    assert "node-1 heard no controller for a whole lease: basket gives its safe default." in text
    assert "churn held what was commanded last" in text


def test_the_quiet_story_says_that_nothing_was_found():
    """Silence must be told as silence, not left out."""
    text = "\n".join(tell(seen(trigger=False)))
    assert "nothing leaks" in text
    assert "tminus has found nothing to say about churn." in text
    assert "Findings: 0. Alerts firing: none. Switched away: none." in text


def test_a_story_that_never_began_can_be_told():
    """Stopped at once, or the stages did not start: a sentence, not a traceback."""
    text = "\n".join(
        tell(
            seen(sent=Counter(), nodes=[], cancels=[], answers={}, verdicts={}, trouble="no luck", is_interrupted=True)
        )
    )
    assert "nothing was sent" in text
    assert "It did not go as planned: no luck." in text
    assert "You stopped the story before its end." in text


def test_three_questions_and_the_next_command():
    """What to type next, with the folder in it."""
    lines = questions("/x/lake")
    assert sum(line.startswith("  tminus sql --lake /x/lake") for line in lines) == 3
    assert len(tell(full())) + len(lines) + 1 <= LINES_MAX
