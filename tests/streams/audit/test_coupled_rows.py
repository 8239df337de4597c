"""Which features does the audit call coupled to the label?"""

import json
from pathlib import Path

from tests.streams.audit.asking import run

TRAIN = """entity,prediction_time,last_login,plan,cancelled
u1,2026-03-01T06:00:00Z,,basic,1
u2,2026-03-01T06:00:00Z,2026-02-27T08:00:00Z,pro,0
"""
LOG = """entity,write_time,txid,last_login,plan,cancelled
u1,2026-02-20T08:00:00.100Z,1,2026-02-20T08:00:00Z,basic,0
u2,2026-02-27T08:00:00.100Z,2,2026-02-27T08:00:00Z,pro,0
u1,2026-03-02T09:00:00.100Z,3,,basic,1
"""


def test_the_row_that_makes_an_entity_couples_nothing(tmp_path: Path):
    """A wide log carries the label from the first row on; else every column of every such log would be a page."""
    train, log = tmp_path / "train.csv", tmp_path / "log.csv"
    train.write_text(TRAIN)
    log.write_text(LOG)
    _, out, _ = run(str(train), "--log", str(log), "--label", "cancelled", "--json", "-")
    found = [f for f in json.loads(out)["findings"] if f["kind"] == "COUPLED_TX"]
    assert [(f["subject"], f["severity"]) for f in found] == [("last_login", "warning")]
