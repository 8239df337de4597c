"""The switch that makes a worker die on purpose must do nothing else."""

import pytest

from streams import faults


def test_nothing_is_planned_by_default() -> None:
    assert faults.parse("") == {}
    for point in faults.POINTS:
        faults.hit(point)


def test_the_action_is_taken_once_at_its_passage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "_plan", faults.parse("lake.copy.before:2:raise, outbox.ack.before:1:kill"))
    monkeypatch.setattr(faults, "_passed", {})
    faults.hit("lake.copy.before")
    with pytest.raises(OSError, match=r"fault lake\.copy\.before at passage 2"):
        faults.hit("lake.copy.before")
    faults.hit("lake.copy.before")
    faults.hit("lake.segment.write")


@pytest.mark.parametrize(
    "text", ["lake.nowhere:1:kill", "lake.copy.before", "lake.copy.before:0:kill", "lake.copy.before:1:burn"]
)
def test_a_misspelt_plan_is_an_error(text: str) -> None:
    """A test of crashes that never crashes would pass."""
    with pytest.raises(ValueError, match="expected"):
        faults.parse(text)
