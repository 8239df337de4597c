"""The guest must be cheap to invite."""

import subprocess
import sys

from tests.clients import PACKAGE

PROGRAM = """
import sys, time
begun = time.process_time()
import tminus_client, tminus_client.features
print(time.process_time() - begun)
print(sorted(n for n in ("nacl", "streams", "features", "monitors", "numpy", "msgspec") if n in sys.modules))
"""


def test_importing_costs_little_and_brings_no_host_along(tmp_path):
    """It goes into every serving process, whose repository may own a folder called features."""
    out = subprocess.run(
        [sys.executable, "-c", PROGRAM], env={"PYTHONPATH": str(PACKAGE)}, cwd=tmp_path, capture_output=True, check=True
    ).stdout.decode()
    seconds, brought = out.splitlines()
    assert float(seconds) < 0.2
    assert brought == "[]"
