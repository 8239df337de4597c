"""What `tminus sql` answers, and what it refuses."""

import io
import json
from pathlib import Path

import pytest

from streams.lake import sql
from tests.streams.lake import rows


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    writer = rows.writer(tmp_path / "lake")
    writer.open()
    writer.append("dlq", rows.row("dlq", offset=7, reason="not JSON", detail="a\tb", value=b"\xff"))
    writer.commit({})
    return tmp_path / "lake"


def ask(root: Path, text: str, *, as_json: bool = False) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    return sql.run(root, text, as_json=as_json, out=out, err=err), out.getvalue(), err.getvalue()


def test_an_answer_is_lines_for_a_pipe_and_json_on_request(lake: Path) -> None:
    query = 'SELECT "offset", reason, detail, key, value FROM dlq'
    assert ask(lake, query) == (0, "offset\treason\tdetail\tkey\tvalue\n7\tnot JSON\ta\\tb\t\tff\n", "")
    status, out, _ = ask(lake, query, as_json=True)
    assert (status, json.loads(out)) == (
        0,
        [{"offset": 7, "reason": "not JSON", "detail": "a\tb", "key": None, "value": "ff"}],
    )
    assert json.loads(ask(lake, "SELECT 'nan'::DOUBLE AS x", as_json=True)[1]) == [{"x": None}]
    assert json.loads(ask(lake, "FROM late", as_json=True)[1]) == []


def test_a_terminal_gets_a_table(lake: Path) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    assert sql.run(lake, "SELECT reason, key FROM dlq", as_json=False, out=out, err=io.StringIO()) == 0
    assert "not JSON" in out.getvalue()
    assert "NULL" in out.getvalue()
    assert "\t" not in out.getvalue()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("SELEC 1", "Parser Error"),
        ("SELECT nonsense FROM dlq", "nonsense"),
        ("", "expected one statement, found 0"),
        ("SELECT 1; SELECT 2", "expected one statement, found 2"),
        ("COPY dlq TO 'lake/dlq/x.parquet'", "found COPY"),
        ("EXPLAIN ANALYZE COPY dlq TO '/tmp/x'", "found EXPLAIN"),
        ("CREATE TABLE t AS SELECT 1", "found CREATE"),
        ("ATTACH '/tmp/x.db'", "found ATTACH"),
        ("SET threads = 1", "found SET"),
        ("FROM read_text('/etc/hostname')", "disabled by configuration"),
        ("FROM glob('/etc/*')", "disabled by configuration"),
    ],
)
def test_what_does_not_read_the_lake_is_refused_with_a_reason(lake: Path, text: str, complaint: str) -> None:
    """Usage: exit 2, one complaint, no traceback."""
    status, out, err = ask(lake, text)
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert complaint in err
    assert "Traceback" not in err


def test_a_query_without_end_is_interrupted(lake: Path) -> None:
    with pytest.raises(sql.BadQuery, match=r"expected an answer within 0\.05 s"):
        sql.query(lake, "SELECT sum(hash(a.range + b.range)) FROM range(10000000) a, range(1000) b", timeout_s=0.05)


def test_no_lake_is_exit_4(tmp_path: Path) -> None:
    status, out, err = ask(tmp_path / "none", "SELECT 1")
    assert (status, out) == (4, "")
    assert "expected a lake in" in err


def test_a_broken_lake_is_exit_4(lake: Path) -> None:
    """Not the query's fault: a commit that cannot be read."""
    (lake / "_commits/entity-p0/m-000000000002.json").write_text("{")
    assert ask(lake, "SELECT 1")[0] == 4
