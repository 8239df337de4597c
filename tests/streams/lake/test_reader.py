"""What an analyst sees, while writers write and merge."""

from pathlib import Path
from typing import Any

import duckdb
import pytest

from streams.lake import reader
from streams.lake.manifest import NoLake
from streams.lake.reader import LakeReader, connect, refresh
from streams.lake.tables import TABLES
from streams.lake.views import render_open_sql
from tests.streams.lake import rows
from tests.streams.lake.workers import running


def fill(root: Path, *appended: tuple[str, dict[str, object]], unit: str = "entity-p0") -> duckdb.DuckDBPyConnection:
    writer = rows.writer(root, unit)
    writer.open()
    for table, values in appended:
        writer.append(table, rows.row(table, **values))
    writer.commit({})
    writer.close()
    return connect(root)


def column(connection: duckdb.DuckDBPyConnection, query: str) -> list[Any]:
    return [row[0] for row in connection.execute(query).fetchall()]


def test_a_lake_without_a_row_has_every_table_and_every_comment(tmp_path: Path) -> None:
    """DuckDB refuses an empty list of files: a new lake must answer all the same."""
    connection = fill(tmp_path)
    for name, table in TABLES.items():
        assert connection.execute(f"FROM {name}").fetchall() == []
        found = connection.execute("SELECT column_name, comment FROM duckdb_columns() WHERE table_name = ?", [name])
        assert dict(found.fetchall()) == {c.name: c.comment for c in table.columns}
        assert all(c.comment for c in table.columns)
        assert table.comment
    views = connection.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal AND comment IS NULL")
    assert views.fetchall() == []


def test_open_sql_needs_neither_tminus_nor_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Absolute paths, quoted: somebody's lake has an apostrophe in its name."""
    root = tmp_path / "o'brien's lake"
    fill(root, ("dlq", {"offset": 7})).close()
    monkeypatch.chdir(tmp_path)
    connection = duckdb.connect()
    connection.execute((root / "open.sql").read_text())
    assert column(connection, 'SELECT "offset" FROM dlq') == [7]
    assert (root / "open.sql").read_text() == render_open_sql(root)


def test_any_number_of_units_is_one_table_and_refresh_shows_what_came(tmp_path: Path) -> None:
    connection = fill(tmp_path, ("dlq", {"offset": 1}))
    for n, unit in enumerate(("entity-p1", "model-p0", "control", "notebook")):
        fill(tmp_path, ("dlq", {"offset": n + 2}), unit=unit).close()
    assert column(connection, "SELECT count(*) FROM dlq") == [1]
    refresh(connection, tmp_path)
    assert column(connection, 'SELECT "offset" FROM dlq ORDER BY 1') == [1, 2, 3, 4, 5]


def test_a_stale_or_broken_copy_of_a_manifest_changes_nothing(tmp_path: Path) -> None:
    """The versions are the truth; the copy is for people."""
    fill(tmp_path, ("dlq", {"offset": 1})).close()
    (tmp_path / "_commits/entity-p0/manifest.json").write_text("{")
    assert column(connect(tmp_path), 'SELECT "offset" FROM dlq') == [1]
    assert rows.offsets(tmp_path, "dlq") == [1]


def test_files_that_no_commit_names_are_no_rows(tmp_path: Path) -> None:
    """What a crash left between rename and link will be written again under another generation."""
    connection = fill(tmp_path, ("dlq", {"offset": 1}))
    segment = next((tmp_path / "dlq").glob("h-*"))
    (tmp_path / "dlq/h-entity-p0-g1-000000000009-000000000009.parquet").write_bytes(segment.read_bytes())
    refresh(connection, tmp_path)
    assert column(connection, 'SELECT "offset" FROM dlq') == [1]


W = {"topic": "e", "first": 0, "last": 9}


@pytest.mark.parametrize(
    ("witnesses", "expected"),
    [
        ([], (None, None)),
        ([{"sent_us": 50, "acked_us": 60}], (50, 60)),
        ([{"sent_us": 50, "acked_us": 60}, {"sent_us": 55, "acked_us": 58}], (50, 58)),
        ([{"sent_us": 50, "acked_us": 60, "resent": True, "append_topic": True}], (30, 60)),
        ([{"sent_us": 50, "acked_us": 60, "resent": True}], (None, 60)),
        # An earlier owner may have sent it before its own witness was lost: certainty goes, no conviction comes.
        ([{"sent_us": 50, "acked_us": 60}, {"sent_us": 70, "acked_us": 80, "resent": True}], (None, 60)),
        (
            [{"sent_us": 50, "acked_us": 60}, {"sent_us": 70, "acked_us": 80, "resent": True, "append_topic": True}],
            (30, 60),
        ),
        ([{"sent_us": 50, "acked_us": 60, "first": 5}, {"sent_us": 51, "acked_us": 61, "last": 3}], (None, None)),
        ([{"sent_us": 50, "acked_us": 60, "partition": 1}], (None, None)),
    ],
)
def test_bounds_come_from_what_witnessed_the_writes(
    tmp_path: Path, witnesses: list[dict[str, object]], expected: tuple[int | None, int | None]
) -> None:
    """The version of offset 4, which reached us at 30; ranges include both ends."""
    version = ("features", {"topic": "e", "offset": 4, "ingest_time_us": 30})
    connection = fill(tmp_path, version, *(("written", W | witness) for witness in witnesses))
    assert connection.execute("SELECT visible_from_us, visible_by_us FROM features").fetchall() == [expected]


def test_bounds_of_a_forwarded_row_come_from_the_log_we_read(tmp_path: Path) -> None:
    """Lineage names the original row; `written` speaks of the copy. And a source's own bounds win."""
    at = {"topic": "e", "partition": 3, "offset": 70, "log_topic": "by-user.e", "log_partition": 0, "log_offset": 4}
    witness = ("written", W | {"topic": "by-user.e", "sent_us": 50, "acked_us": 60})
    declared = at | {"visible_from_us": 1, "visible_by_us": 2}
    connection = fill(tmp_path, ("features", at), ("features", declared), witness)
    found = connection.execute("SELECT visible_from_us, visible_by_us FROM features ORDER BY 1").fetchall()
    assert found == [(1, 2), (50, 60)]


def test_ranges_and_versions_match_as_a_slow_join_says(tmp_path: Path) -> None:
    """Buckets make the join fast; at their edges they must lose and double nothing."""
    edges = [0, 1, 62, 63, 64, 65, 127, 128, 300]
    ranges = [(first, last) for first in edges for last in edges if first <= last]
    versions = [("features", {"topic": "e", "offset": n}) for n in edges]
    written = [
        ("written", {"topic": "e", "first": a, "last": b, "sent_us": 1000 + n, "acked_us": 9000 - n})
        for n, (a, b) in enumerate(ranges)
    ]
    found = fill(tmp_path, *versions, *written).execute('SELECT "offset", visible_from_us, visible_by_us FROM features')
    expected = [
        (offset, 1000 + min(hits), 9000 - max(hits))
        for offset in edges
        if (hits := [n for n, (a, b) in enumerate(ranges) if a <= offset <= b])
    ]
    assert sorted(found.fetchall()) == expected


def test_the_last_revision_of_a_verdict_holds(tmp_path: Path) -> None:
    key = {"model": "churn", "prediction_id": "p1"}
    served = [("PASS", 0, 3), ("STALE", 2, 2), ("LEAK", 2, 1), ("LEAK", 1, 3)]
    appended = [
        ("verdicts", key | {"verdict": v, "revision": r, "generation": g, "form": "served"}) for v, r, g in served
    ]
    appended.append(("verdicts", key | {"verdict": "LEAK", "revision": 0, "form": "exposure"}))
    connection = fill(tmp_path, *appended)
    assert connection.execute("SELECT form, verdict FROM verdicts ORDER BY 1").fetchall() == [
        ("exposure", "LEAK"),
        ("served", "STALE"),
    ]
    assert column(connection, "SELECT count(*) FROM verdicts_all") == [5]


def test_the_newest_state_of_findings_and_alerts_survives_takeovers_and_merges(tmp_path: Path) -> None:
    """Newest is what was committed last: `since` may stay the same while the severity grows."""
    for n in range(12):
        writer = rows.writer(tmp_path, "control")
        writer.open()
        writer.append("findings", rows.row("findings", finding_id="f", severity=f"s{2 * n}", since_us=5))
        writer.append("findings", rows.row("findings", finding_id="f", severity=f"s{2 * n + 1}", since_us=5))
        writer.append("alerts", rows.row("alerts", fingerprint="a", status=f"t{n}"))
        writer.commit({})
        if n in (0, 8, 9, 10, 11):  # the tenth commit is followed by a merge
            connection = connect(tmp_path)
            assert column(connection, "SELECT severity FROM findings") == [f"s{2 * n + 1}"]
            assert column(connection, "SELECT status FROM alerts") == [f"t{n}"]


def test_asof_and_known_at_tell_what_a_read_certainly_found(tmp_path: Path) -> None:
    """7 was acknowledged by 20, 8 by 40: at 30 a read certainly found 7, and possibly 8 already."""
    user = {"topic": "e", "entity_type": "user", "entity": "42", "feature": "clicks"}
    connection = fill(
        tmp_path,
        ("features", user | {"offset": 1, "value": "7"}),
        ("features", user | {"offset": 2, "value": "8"}),
        ("features", user | {"offset": 1, "value": "5", "feature": "other"}),
        ("written", {"topic": "e", "first": 1, "last": 1, "sent_us": 10, "acked_us": 20}),
        ("written", {"topic": "e", "first": 2, "last": 2, "sent_us": 25, "acked_us": 40}),
        ("prediction_values", {"model": "churn", "feature": "clicks"}),
    )
    query = "SELECT value, newer_possible FROM known_at('42', ?) WHERE feature = 'clicks'"
    at = {t: connection.execute(query, [t]).fetchall() for t in (9, 15, 20, 30, 40)}
    assert at == {9: [], 15: [(None, 1)], 20: [("7", 0)], 30: [("7", 1)], 40: [("8", 0)]}
    assert connection.execute("SELECT feature, value FROM asof('churn', 30)").fetchall() == [("clicks", "7")]
    assert column(connection, "SELECT feature FROM known_at('42', 30)") == ["clicks", "other"]


def test_a_reader_beside_a_writer_that_merges_and_deletes_never_fails_and_never_steps_back(tmp_path: Path) -> None:
    """Whole commits only, both tables together. The writer's grace is 0.3 s, so files do vanish meanwhile."""
    fill(tmp_path).close()
    connection = connect(tmp_path)
    query = (
        'SELECT (SELECT count(*) FROM dlq), (SELECT count(*) FROM late), (SELECT coalesce(max("offset"), -1) FROM dlq)'
    )
    seen: list[int] = []
    with running() as workers:
        pid = workers.start(tmp_path, 1000, tend=True, grace_us=300_000)
        while not seen or seen[-1] < 1000:
            refresh(connection, tmp_path)
            letters, late, newest = connection.execute(query).fetchall()[0]
            assert letters == late == newest + 1
            assert letters % 5 == 0
            seen.append(letters)
        assert workers.wait(pid) == "exit 0"
    assert seen == sorted(seen)
    assert len(set(seen)) > 5
    assert len(list((tmp_path / "dlq").glob("h-*"))) < 200, "replaced files were deleted"


def test_later_stages_are_looked_at_first(tmp_path: Path) -> None:
    """A finding refers to verdicts: whoever sees the finding must see them, so their unit is listed after."""
    for unit in ("entity-p0", "entity-p1", "control", "model-p0"):
        fill(tmp_path, unit=unit).close()
    assert LakeReader(tmp_path).units() == ["control", "zero", "model-p0", "entity-p0", "entity-p1"]
    sql = render_open_sql(tmp_path)
    order = [sql.index(f"SET VARIABLE tminus_heads_{stage}") for stage in ("other", "model", "entity")]
    assert order == sorted(order)


def test_no_lake_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(NoLake, match=r"expected a lake in .*nowhere, found none"):
        connect(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists(), "looking makes nothing"


def test_next_offsets_by_unit(tmp_path: Path) -> None:
    writer = rows.writer(tmp_path)
    writer.open()
    writer.commit({"events/0": 5})
    assert reader.LakeReader(tmp_path).next() == {"entity-p0": {"events/0": 5}}
