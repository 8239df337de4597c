"""The stages of an installation start together, on a lake that is not there yet."""

import subprocess
import sys
from pathlib import Path


def test_several_processes_make_one_lake_at_the_same_moment(tmp_path: Path):
    """One of them failed to find the temporary file that another had just renamed."""
    program = "import sys, pathlib, streams.lake.layout as layout; input(); layout.prepare(pathlib.Path(sys.argv[1]))"
    command = [sys.executable, "-c", program, str(tmp_path / "lake")]
    rivals = [subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    for rival in rivals:  # all wait at their gate, imports done
        assert rival.stdin is not None
        rival.stdin.write("\n")
        rival.stdin.flush()
    said = [rival.communicate(timeout=60)[1] for rival in rivals]
    assert [rival.returncode for rival in rivals] == [0] * 4, said
    assert (tmp_path / "lake" / "open.sql").exists()
    assert not list((tmp_path / "lake").glob("**/.*"))
