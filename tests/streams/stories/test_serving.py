"""What a serving node logs and says."""

import io
import json

from tminus_client.features import Read

from features.definitions import Definitions
from streams.settings import load_definitions
from streams.stories.churn import configuration
from streams.stories.serving import MODELS, Announcer, basket, churn, prediction
from streams.wire.predictions import PredictionDecoder
from streams.wire.records import PlainRecord

READ = Read({"clicks_3s": 4, "last_login": None}, {"clicks_3s": "00000000000000aa"}, 1_700_000_000_000_000)


def definitions() -> Definitions:
    return load_definitions([configuration()], {})


def test_nodes_know_the_models_that_are_declared():
    """A node that logs other features than declared would fill the dead letters."""
    declared = {m.name: (m.features, m.fallback.default) for m in definitions().models.values()}
    assert declared == MODELS


def test_what_is_logged_can_be_judged():
    """With its stamps where the node has them, without where it has none."""
    found = definitions()
    decoder = PredictionDecoder(found, found.sources["predictions"], home=None)
    values = [json.dumps(prediction("a", "churn", 42, READ, "keep", stamps=s)).encode() for s in (True, False)]
    rows = decoder.sort(
        [PlainRecord(i, v) for i, v in enumerate(values)],
        topic="predictions",
        partition=0,
        received_us=READ.read_time_us,
    ).rows
    assert [row.cells for _, _, row in rows] == [[(4, 0xAA), (None, 0)], [(4, 0), (None, 0)]]
    assert {row.entity for _, _, row in rows} == {"42"}


def test_a_node_speaks_only_when_an_answer_changes_hands():
    """Thousands of requests a minute, and the one line that matters must be seen."""
    out = io.StringIO()
    said = Announcer("n", out)
    for is_live, why in (
        (False, "no_state"),
        (True, "model"),
        (True, "model"),
        (False, "commanded"),
        (False, "commanded"),
    ):
        said.note("churn", is_live, why, 5)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [(line["is_live"], line["why"]) for line in lines] == [(True, "model"), (False, "commanded")]


def test_the_models_answer_whatever_they_read():
    """A user who was never seen is no reason to fail."""
    assert (churn({}), churn({"last_login": "2023-11-14"})) == ("offer_discount", "keep")
    assert (basket({}), basket({"amount_3s": 10.0})) == (22.0, 11.0)
