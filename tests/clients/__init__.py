"""Tests of the guest, a distribution of its own: its folder is put on the path, as an installation would."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "clients" / "python"
if str(PACKAGE) not in sys.path:
    sys.path.insert(0, str(PACKAGE))
