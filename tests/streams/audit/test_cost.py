"""What a small audit must not pay for."""

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

from tests.architecture.documents import ROOT

HEAVY = ("pandas", "scipy", "cffi", "polars", "duckdb", "faust", "confluent_kafka", "rich")


def test_a_small_audit_imports_none_of_the_heavy_libraries(tmp_path: Path):
    """Each costs between 50 and 500 ms, and the whole command shall take less than a second."""
    (tmp_path / "train.csv").write_text("entity,prediction_time,x,y\nu1,2026-03-01T10:00:00Z,7,1\n")
    (tmp_path / "log.csv").write_text("entity,write_time,x\nu1,2026-03-01T10:00:05Z,7\n")
    program = """
        import atexit, sys
        atexit.register(lambda: print(*sys.modules, file=sys.stderr))
        from streams.cli.main import entry
        entry()
    """
    done = subprocess.run(
        [sys.executable, "-c", dedent(program), "audit", "train.csv", "--log", "log.csv", "--label", "y"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr[-500:]
    imported = set(done.stderr.split())
    assert "numba" in imported  # the list is not empty for another reason
    assert sorted(imported & set(HEAVY)) == []
