"""The log of a serving node, as it is and as it should be."""

import json

import pytest

from features.definitions import Definitions, Model, Run, Source
from streams.wire.predictions import AHEAD_US_MAX, PredictionDecoder
from streams.wire.records import PlainRecord, Refusal

SOURCE = Source(name="predictions", topic="predictions", fields={"output": "p"})
MODEL = Model(name="churn", predictions="predictions", entity_type="user", features=("clicks", "plan"))
DECLARED = Definitions(run=Run(), sources={"predictions": SOURCE}, features={}, models={"churn": MODEL})
READ_US = 1_700_000_000_000_000
GOOD = {
    "prediction_id": "a1",
    "model": "churn",
    "entity": {"user": 42},
    "read_time": READ_US,
    "p": 0.7,
    "features": {"clicks": 3, "plan": None},
    "read": {"clicks": "00000000000000ff"},
}


def decode(*bodies, received_us=READ_US):
    decoder = PredictionDecoder(DECLARED, SOURCE, home=None)
    records = [PlainRecord(i, json.dumps(b).encode()) for i, b in enumerate(bodies)]
    found = decoder.sort(records, topic="predictions", partition=0, received_us=received_us)
    return found, decoder.columns(found)


def test_a_prediction_becomes_four_columns_per_feature():
    """Text for people, hash for the test, number for drift, stamp for proof."""
    found, batches = decode(GOOD)
    row = batches["churn"].to_pylist()[0]
    assert not found.rejected
    assert (row["entity"], row["read_time_us"], row["output"]) == ("42", READ_US, 0.7)
    assert (row["clicks"], row["clicks.number"], row["clicks.stamp"]) == ("3", 3.0, 255)
    assert (row["plan"], row["plan.hash"], row["plan.stamp"]) == (None, 0, 0)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"model": "other"}, Refusal.UNKNOWN_MODEL),
        ({"prediction_id": None}, Refusal.MISSING_FIELD),
        ({"read_time": None}, Refusal.MISSING_FIELD),
        ({"entity": {"card": 1}}, Refusal.MISSING_FIELD),
        ({"features": {"clicks": 3}}, Refusal.MISSING_FIELD),
        ({"features": {"clicks": [3], "plan": None}}, Refusal.WRONG_TYPE),
        ({"read": {"clicks": "zz"}}, Refusal.WRONG_TYPE),
        ({"read_time": READ_US + 2 * AHEAD_US_MAX}, Refusal.TIME_RANGE),
    ],
)
def test_a_prediction_that_cannot_be_judged_is_refused_by_name(changed, reason):
    """It is better refused than judged wrongly."""
    found, _ = decode({**GOOD, **changed}, GOOD)
    assert [(r.offset, r.reason) for r in found.rejected] == [(0, reason)]
    assert len(found.rows) == 1
