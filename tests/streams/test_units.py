"""A cut is of one moment, though its bytes are put together later, beside what goes on."""

import numpy as np

from streams.lake.snapshots import dump
from streams.units import _held


def test_a_state_held_is_that_of_its_moment_byte_for_byte():
    """Dictionaries go on changing while another thread writes; a fence from after the cut would skip rows."""
    state = {"fences": {"events/0": 7}, "sums": np.arange(3), "rows": b"x", "entities": [["user", "ü"]]}
    known, held = dump(state), _held(state)
    state["fences"]["events/0"] = 8
    state["entities"].append(["user", "b"])
    assert dump(held) == known
