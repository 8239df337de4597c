"""One unit, one owner, one step from truth to truth."""

import os
from pathlib import Path

import msgspec
import pytest

from streams.lake import commits, compaction, snapshots, sweeping
from streams.lake.commits import CommitLog
from streams.lake.manifest import LakeBusy, LakeCorrupt, LakeError, LostOwnership
from streams.lake.owners import HEARTBEAT_LIFE_US, Claim
from streams.lake.writer import LakeWriter
from tests.streams.lake import rows
from tests.streams.lake.workers import BUSY, running


def test_a_new_owner_has_a_higher_generation_and_goes_on_where_the_lake_stands(tmp_path: Path) -> None:
    first = rows.writer(tmp_path)
    assert first.open().generation == 1
    first.append("dlq", rows.letters(0, 4))
    first.commit({"events/0": 5, "labels/0": 2})
    second = rows.writer(tmp_path, generation_hint=40).open()
    assert (second.generation, second.next, second.snapshot) == (40, {"events/0": 5, "labels/0": 2}, None)
    assert rows.writer(tmp_path).open().generation == 41


def test_the_owner_before_is_told_at_its_next_commit_and_stays_told(tmp_path: Path) -> None:
    before = rows.writer(tmp_path)
    before.open()
    rows.writer(tmp_path).open()
    before.append("dlq", rows.letters(0, 4))
    for _ in range(2):
        with pytest.raises(LostOwnership):
            before.commit({"events/0": 5})
    assert rows.offsets(tmp_path, "dlq") == []


def test_units_do_not_meet(tmp_path: Path) -> None:
    """A name that begins with another's name is another unit, also for the sweeper."""
    one, other = rows.writer(tmp_path, "entity-p1"), rows.writer(tmp_path, "entity-p1-g1")
    one.open()
    other.open()
    one.append("dlq", rows.letters(0, 4))
    other.append("dlq", rows.letters(5, 9))
    one.commit({"events/1": 5})
    other.commit({"events/2": 5})
    one._now_us = lambda: 2**62 // 1000  # every grace is over
    assert one.sweep() == 0
    assert sorted(rows.offsets(tmp_path, "dlq")) == list(range(10))


def test_a_writer_that_slept_past_every_grace_deletes_nothing_of_its_successor(tmp_path: Path) -> None:
    """Its list of what is alive is old; the generation in a name keeps its hands off."""
    sleeper, heir = rows.writer(tmp_path), rows.writer(tmp_path)
    sleeper.open()
    heir.open()
    heir.append("dlq", rows.letters(0, 4))
    heir.commit({"events/0": 5}, snapshots.dump({}), {"events/0": 5})
    sleeper._now_us = lambda: 2**62 // 1000
    sleeper.tend()
    sweeping.sweep_snapshots(tmp_path, sleeper.manifest)
    assert rows.offsets(tmp_path, "dlq") == list(range(5))
    assert rows.writer(tmp_path).open().snapshot == snapshots.dump({})


def test_nothing_new_writes_nothing(tmp_path: Path) -> None:
    writer = rows.writer(tmp_path)
    writer.open()
    version = writer.commit({"events/0": 5})
    assert writer.commit({"events/0": 5}) == writer.commit({}) == version


def test_offsets_never_step_back_and_no_fence_runs_ahead(tmp_path: Path) -> None:
    """Either would mean rows told twice or never: our own fault, so we stop."""
    writer = rows.writer(tmp_path)
    writer.open()
    writer.commit({"events/0": 5})
    with pytest.raises(ValueError, match="at least 5, found 4"):
        writer.commit({"events/0": 4})
    with pytest.raises(ValueError, match="at most 6, found 7"):
        writer.commit({"events/0": 6}, snapshots.dump({}), {"events/0": 7})
    with pytest.raises(ValueError, match="together"):
        writer.commit({"events/0": 6}, snapshots.dump({}))


def test_a_number_that_came_and_went_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sleeper's next number was used and deleted behind the floor: it can link it, and must learn that it lost."""
    monkeypatch.setattr(commits, "VERSIONS_KEPT", 2)
    monkeypatch.setattr(commits, "VERSION_AGE_US", -1)
    sleeper = rows.writer(tmp_path)
    sleeper.open()
    heir = rows.writer(tmp_path)
    heir.open()
    for n in range(1, 9):
        heir.commit({"events/0": n})
    log = CommitLog(tmp_path, "entity-p0")
    log.prune(2**62)
    assert log.versions() == [9, 10]
    assert log.floor() == 8
    sleeper.append("dlq", rows.letters(0, 4))
    with pytest.raises(LostOwnership):
        sleeper.commit({"events/0": 5})
    assert log.versions() == [9, 10]
    assert heir.commit({"events/0": 9}) == 11


def test_a_worker_of_another_configuration_is_refused_by_name(tmp_path: Path) -> None:
    writer = rows.writer(tmp_path)
    writer.open()
    rows.writer(tmp_path, "control").open()  # same group and configuration: welcome
    with pytest.raises(LakeBusy, match=f"group {rows.GROUP}, configuration {rows.CONFIG}, process {os.getpid()} on "):
        LakeWriter(tmp_path, "entity-p1", rows.GROUP, "deadbeef").open()
    writer.close()
    LakeWriter(tmp_path, "entity-p1", rows.GROUP, "deadbeef").open()


def test_a_stopped_worker_is_still_running_and_a_killed_one_is_not(tmp_path: Path) -> None:
    """On one machine the process tells, not the heartbeat: a takeover after a crash need not wait."""
    with running() as workers:
        sleeper = workers.start(tmp_path, 50, "lake.copy.before:3:stop")
        assert workers.wait(sleeper) == "stopped"
        assert workers.run(tmp_path, 50, unit="entity-p1", group="theirs") == f"exit {BUSY}"
        os.kill(sleeper, 9)
        assert workers.wait(sleeper) == "killed 9"
        assert workers.run(tmp_path, 50, unit="entity-p1", group="theirs") == "exit 0"


def test_a_worker_elsewhere_runs_as_long_as_its_heart_beats(tmp_path: Path) -> None:
    """Of another machine we see files only."""
    there, here = Claim(tmp_path, "g", "theirs"), Claim(tmp_path, "g", "ours")
    there.owner = msgspec.structs.replace(there.owner, host="elsewhere")
    there.take()
    with pytest.raises(LakeBusy, match="on elsewhere"):
        here.take()
    past_s = there._path.stat().st_mtime - HEARTBEAT_LIFE_US / 1e6
    os.utime(there._path, (past_s, past_s))
    here.take()
    there.beat(1)
    assert there.rivals() == [here.owner], "it announces itself again, and sees us"


def test_ten_small_files_become_one_and_readers_keep_the_ten(tmp_path: Path) -> None:
    writer = rows.writer(tmp_path)
    writer.open()
    for n in range(25):
        writer.append("dlq", rows.letters(n, n))
        writer.commit({"events/0": n + 1})
    assert [segment.level for segment in writer.manifest.tables["dlq"]] == [1, 1, 0, 0, 0, 0, 0]
    assert rows.offsets(tmp_path, "dlq") == list(range(25))
    assert writer.sweep() == 0, "the grace is not over"
    assert len(list((tmp_path / "dlq").glob("h-*"))) == 27
    later_us = writer._now_us() + compaction.GRACE_US + 60_000_000
    writer._now_us = lambda: later_us
    assert writer.sweep() == 20
    assert rows.offsets(tmp_path, "dlq") == list(range(25))
    assert writer.manifest.rows == {"dlq": 25}


def test_files_stay_few_and_merges_stay_bounded(tmp_path: Path) -> None:
    writer = rows.writer(tmp_path)
    writer.open()
    full = [compaction.Segment(f"dlq/{n}", 15, 1, n, n) for n in range(12)]
    plan = compaction.plan(msgspec.structs.replace(writer.manifest, tables={"dlq": full}), rows_max=40)
    assert [merge.rows for merge in plan] == [30]
    too_large = [compaction.Segment(f"dlq/{n}", 50, 1, n, n) for n in range(12)]
    assert compaction.plan(msgspec.structs.replace(writer.manifest, tables={"dlq": too_large}), rows_max=40) == []


def test_retention_names_what_is_past_its_tier_and_a_hold_wins(tmp_path: Path) -> None:
    """Dead letters 90 days, versions 2 years, predictions 5 years, counted from the newest row of a file."""
    writer = rows.writer(tmp_path)
    writer.open()
    writer.append("dlq", rows.row("dlq", ingest_time_us=0))
    writer.append("features", rows.row("features", event_time_us=0))
    writer.append("predictions", rows.row("predictions", read_time_us=0))
    writer.commit({})
    day_us = 86_400_000_000
    for days, expected in (
        (90, []),
        (91, ["dlq"]),
        (731, ["dlq", "features"]),
        (1827, ["dlq", "features", "predictions"]),
    ):
        assert sorted(compaction.expired(writer.manifest, days * day_us)) == expected
    held = {writer.manifest.tables["dlq"][0].file}
    assert compaction.expired(writer.manifest, 91 * day_us, held=held) == {}


def test_rows_must_fit_their_table(tmp_path: Path) -> None:
    writer = rows.writer(tmp_path)
    writer.open()
    with pytest.raises(ValueError, match=r"one of features, .*found 'nonsense'"):
        writer.append("nonsense", rows.letters(0, 1))
    with pytest.raises(ValueError, match="expected column topic"):
        writer.append("dlq", rows.letters(0, 1).drop_columns(["topic"]))
    with pytest.raises(ValueError, match="expected no column watermark_us"):
        writer.append("dlq", rows.late(0, 1).select(["topic", "watermark_us"]))
    with pytest.raises(ValueError, match="expected int64 in size, found string"):
        writer.append("dlq", rows.letters(0, 1).set_column(7, "size", [["a", "b"]]))
    with pytest.raises(ValueError, match="expected no NULL in topic, found 1"):
        writer.append("dlq", rows.letters(0, 1).set_column(0, "topic", [["a", None]]))
    assert writer.pending_rows == 0


def test_a_lake_that_cannot_be_says_so(tmp_path: Path) -> None:
    with pytest.raises(LakeError, match="expected a lake path without any of"):
        rows.writer(tmp_path / "a[1]")
    with pytest.raises(ValueError, match="expected a unit"):
        rows.writer(tmp_path, "../p0")
    with pytest.raises(LostOwnership, match="expected an open writer"):
        rows.writer(tmp_path).commit({})
    rows.writer(tmp_path).open()
    CommitLog(tmp_path, "entity-p0").path(2).write_text("{")
    with pytest.raises(LakeCorrupt, match=r"m-000000000002\.json: expected a commit of format 1"):
        rows.writer(tmp_path).open()
