"""Whatever happens to a writer, and wherever: each row is in the lake once, and nobody's work is overwritten."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from streams import faults
from streams.lake import snapshots
from streams.lake.commits import CommitLog
from tests.streams.lake import rows
from tests.streams.lake.workers import BATCH, LOST, Workers, running

LAKE_POINTS = [point for point in faults.POINTS if point.startswith("lake.")]


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with running() as found:
        yield found


def files_of(root: Path) -> dict[str, bytes]:
    """Every file by its path, but the heartbeats."""
    paths = [path for path in root.rglob("*") if path.is_file() and "_owners" not in path.parts]
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


@pytest.mark.parametrize("point", LAKE_POINTS)
def test_killed_at_any_point_no_row_is_lost_or_doubled(workers: Workers, tmp_path: Path, point: str) -> None:
    """Six kills in a row at each point, merges among them; after each, both tables end where `next` says."""
    for passage in (1, 2, 3, 4, 11, 14):
        assert workers.run(tmp_path, 500, f"{point}:{passage}:kill") == "killed 9"
        head = CommitLog(tmp_path, "entity-p0").head()
        told = head.next.get("events/0", 0) if head else 0
        assert rows.offsets(tmp_path, "dlq") == rows.offsets(tmp_path, "late") == list(range(told))
    assert workers.run(tmp_path, 500) == "exit 0"
    assert rows.offsets(tmp_path, "dlq") == rows.offsets(tmp_path, "late") == list(range(500))
    left_over = [path for path in files_of(tmp_path) if "/." in path and ("h-" in path or "s-" in path)]
    assert left_over == [], "the next owner sweeps half-written files away"


@pytest.mark.parametrize(
    "point",
    [
        "lake.segment.write",
        "lake.segment.rename.before",
        "lake.segment.rename.after",
        "lake.snapshot.before",
        "lake.commit.link.before",
        "lake.commit.link.after",
        "lake.copy.before",
    ],
)
def test_a_writer_that_slept_overwrites_nothing_and_stops(workers: Workers, tmp_path: Path, point: str) -> None:
    """Its partition was given to another while it lay stopped; when it wakes it still believes it is the owner."""
    assert workers.run(tmp_path, 40) == "exit 0"
    # Passages 3: after the commit that takes the unit over, and in mid-work.
    sleeper = workers.start(tmp_path, 400, f"{point}:3:stop")
    assert workers.wait(sleeper) == "stopped"
    heir = rows.writer(tmp_path)
    told = heir.open().next["events/0"]
    heir.append("dlq", rows.letters(told, told + 2))
    heir.append("late", rows.late(told, told + 2))
    heir.commit({"events/0": told + 3}, snapshots.dump({}), {"events/0": told})
    before = files_of(tmp_path)
    workers.wake(sleeper)
    assert workers.wait(sleeper) == f"exit {LOST}"
    after = files_of(tmp_path)
    assert {path: after.get(path) for path in before} == before, "nothing is changed or deleted"
    assert rows.offsets(tmp_path, "dlq") == rows.offsets(tmp_path, "late") == list(range(told + 3))
    heir.close()


@pytest.mark.parametrize("point", LAKE_POINTS)
def test_a_failing_disk_costs_nothing_but_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, point: str) -> None:
    """The same call again, once there is room: the rows are there once, whether it failed before or after the link."""
    writer = rows.writer(tmp_path)
    writer.open()
    for start in range(0, 4 * BATCH, BATCH):
        writer.append("dlq", rows.letters(start, start + BATCH - 1))
        following = {"events/0": start + BATCH}
        monkeypatch.setattr(faults, "_plan", faults.parse(f"{point}:1:raise"))
        monkeypatch.setattr(faults, "_passed", {})
        with pytest.raises(OSError, match="fault"):
            writer.commit(following, snapshots.dump({}), following)
        writer.commit(following, snapshots.dump({}), following)
        assert rows.offsets(tmp_path, "dlq") == list(range(start + BATCH))
    writer.close()
