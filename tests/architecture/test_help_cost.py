"""What looking at the help costs."""

import resource
import subprocess
import sys

import pytest

HEAVY = ("polars", "numba", "scipy", "faust", "duckdb", "pyarrow", "confluent_kafka", "rich", "msgspec")
_PROGRAM = """
import resource, sys
from streams.cli.main import main
try:
    main({arguments})
except SystemExit as end:
    assert not end.code, end.code
used = resource.getrusage(resource.RUSAGE_SELF)
loaded = [name for name in {heavy} if name in sys.modules]
print("\\n", used.ru_utime + used.ru_stime, *loaded)
"""


def _cost(arguments: list[str]) -> tuple[float, list[str]]:
    program = _PROGRAM.format(arguments=arguments, heavy=HEAVY)
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    seconds, *loaded = run.stdout.splitlines()[-1].split()
    return float(seconds), loaded


def test_help_costs_less_than_a_fifth_of_a_second():
    """People and shells ask for it all the time. CPU, not wall time; the best of three, since others compute too."""
    costs = [_cost(["--help"]) for _ in range(3)]
    assert costs[0][1] == []
    assert min(seconds for seconds, _ in costs) < 0.2


@pytest.mark.parametrize("name", ["demo", "check", "run", "topics", "sql", "alerts", "replay", "doctor"])
def test_help_of_a_command_loads_nothing_heavy(name: str):
    """Imports belong into the commands."""
    assert _cost([name, "--help"])[1] == []


def test_the_measurement_sees_what_it_should():
    """A clock that stands still would let everything pass."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _cost(["--version"])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime > before.ru_utime + before.ru_stime
