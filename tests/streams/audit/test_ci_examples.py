"""The examples for CI are copied by strangers: the commands in them must do what they promise."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parents[3] / "docs" / "examples" / "ci"
FILES = ("pre-commit-config.yaml", "github-workflow.yml", "gitlab-ci.yml")


def command_in(file: str) -> str:
    """The one command of ours in a file."""
    (line,) = re.findall(r"tminus (audit .*)", (HERE / file).read_text())
    return str(line)


#: Files may share one.
COMMANDS = sorted({command_in(file) for file in FILES})


def tminus(words: list[str], folder: Path) -> int:
    done = subprocess.run(
        [sys.executable, "-m", "streams.cli.main", *words], cwd=folder, capture_output=True, check=False
    )
    return done.returncode


@pytest.fixture(scope="module")
def mended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where the corrected table has taken the place of the leaking one."""
    folder = tmp_path_factory.mktemp("mended")
    shutil.copy(HERE / "log.csv", folder)
    words = ["audit", str(HERE / "train.csv"), "--log", "log.csv", "--label", "cancelled", "--corrected", "train.csv"]
    assert tminus(words, folder) == 1
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_fails_on_the_leak(command: str, tmp_path: Path):
    """A hook that never fails is worse than none."""
    for name in ("train.csv", "log.csv"):
        shutil.copy(HERE / name, tmp_path)
    assert tminus(shlex.split(command), tmp_path) == 1
    if "--junit" in command:
        assert "last_login" in (tmp_path / "leaks.xml").read_text()


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_passes_on_the_corrected_table(command: str, mended: Path):
    """Nobody keeps a hook that cannot be satisfied."""
    assert tminus(shlex.split(command), mended) == 0
