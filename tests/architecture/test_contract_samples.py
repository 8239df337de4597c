"""Does docs/contracts.md show the records that are really written?

Every sample is decoded by the code that reads it and encoded again: a field that is added, lost or renamed makes the
page wrong, and this test says so.
"""

import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from tminus_client import features as guest_features
from tminus_client import wire as guest_wire

from features.definitions import Definitions, Label, Model, Run, Source, TimeField
from features.keys import partition_of
from features.lineage import read_id
from streams import signing
from streams.control import records
from streams.control.alerts import Alert
from streams.control.records import Command, Finding, Heartbeat, Release
from streams.pipeline.pending import Judged
from streams.pipeline.rows import leaks
from streams.topics import TABLE
from streams.wire.forwarding import origin_header, read_origin
from streams.wire.outgoing import DeadLetter, FeatureRow, Written, json_key
from streams.wire.predictions import PredictionDecoder
from streams.wire.records import PlainRecord, Refusal
from streams.wire.rows import RowDecoder
from streams.wire.scored import decode_scored
from tests.architecture.documents import ROOT, blocks

PAGE = ROOT / "docs" / "contracts.md"
NOW_US = 2_000_000_000_000_000


class Sample(NamedTuple):
    topic: str
    key: bytes | None
    headers: list[tuple[str, bytes | None]]
    value: bytes | None
    offset: int

    def header(self, name: str) -> bytes:
        return dict(self.headers)[name] or b""

    def record(self) -> PlainRecord:
        return PlainRecord(self.offset, self.value, self.key, headers=self.headers)


def _sample(topic: str, text: str) -> Sample:
    key: bytes | None = None
    value: bytes | None = None
    headers: list[tuple[str, bytes | None]] = []
    offset = 0
    for line in text.splitlines():
        name, said = line.split(maxsplit=1)
        if name == "key":
            key = said.encode()
        elif name == "offset":
            offset = int(said)
        elif name == "header":
            header, _, content = said.partition(" = ")
            is_hex = content.startswith("hex ")
            headers.append((header, bytes.fromhex(content[4:]) if is_hex else content.encode()))
        elif said.startswith("(file) "):
            value = (PAGE.parent / said.removeprefix("(file) ")).read_bytes()
        elif said != "(null)":
            value = said.encode()
    return Sample(topic, key, headers, value, offset)


SAMPLES = [_sample(block.info[1], block.text) for block in blocks(PAGE, "record")]


def samples(topic: str) -> list[Sample]:
    return [s for s in SAMPLES if s.topic == topic]


def sample(topic: str) -> Sample:
    (only,) = samples(topic)
    return only


def keys_at(number: int) -> signing.PublicKeys:
    """The key set shown on the page: 0 the controller's, 1 the operator's."""
    shown = [json.loads(b.text) for b in blocks(PAGE, "json")][number]["keys"]
    return signing.PublicKeys({k["kid"]: msgspec.convert(k, signing.PublicKey) for k in shown})


def same(struct: Any, value: bytes | None) -> Any:
    """The decoded value, if its Struct has exactly these members in this order of bytes or another."""
    found = msgspec.json.decode(value or b"", type=struct)
    assert msgspec.json.decode(msgspec.json.encode(found)) == json.loads(value or b"")
    return found


def test_every_topic_that_is_written_has_a_sample():
    """A topic without one is a contract that nobody can read."""
    written = {row.name for row in TABLE if not row.is_planned and not row.name.startswith("by-")}
    shown = {s.topic.removeprefix("tminus.") for s in SAMPLES}
    assert written <= shown
    assert any(name.startswith("by-") for name in shown)


@pytest.mark.parametrize(
    ("topic", "struct"),
    [("features", FeatureRow), ("written", Written), ("alerts", Alert), ("heartbeat", Heartbeat)],
)
def test_a_value_has_the_members_of_its_struct(topic: str, struct: Any):
    """No member too many, none missing."""
    same(struct, sample(f"tminus.{topic}").value)


def test_a_feature_row_is_what_a_serving_node_reads():
    """Key, rank, values and version ids, read by the guest that is a distribution of its own."""
    shown = sample("tminus.features")
    row = same(FeatureRow, shown.value)
    assert shown.key == json_key(row.entity_type, row.entity, row.group)
    rows = guest_features.Rows(None, None)
    assert rows.apply(shown.key, shown.value)
    values, stamps = rows.read(row.entity_type, row.entity)
    assert values == {name: cell.value for name, cell in row.values.items()}
    assert all(read_id(stamp) for stamp in stamps.values())


def test_inputs_decode_as_the_page_declares_them():
    """What a producer copies from the page has to be accepted."""
    clicks = Source(
        name="clicks", topic="events.clicks", entity_type="user", entity_field="user_id",
        event_time=TimeField(field="ts", unit="ms"), kinds={"page": "text", "amount": "number"},
    )  # fmt: skip
    users = Source(
        name="users", topic="cdc.users", format="debezium", entity_type="user", entity_field="user_id",
        kinds={"last_login": "any", "status": "any"},
    )  # fmt: skip
    log = Source(name="log", topic="predictions", entity_type="user")
    label = Label(source="users", column="status", equals="cancelled", horizon_us=1)
    model = Model(
        name="churn", predictions="log", entity_type="user", features=("clicks_3s", "last_login"), label=label
    )
    definitions = Definitions(
        run=Run(), sources={s.name: s for s in (clicks, users, log)}, features={}, models={"churn": model}
    )
    for source in (clicks, users, log):
        decoder = (PredictionDecoder if source is log else RowDecoder)(definitions, source, home=None)
        found = decoder.sort([sample(source.topic).record()], topic=source.topic, partition=0, received_us=NOW_US)
        assert found.rejected == []
        shown = decoder.columns(found)
        batch = shown["churn"] if isinstance(shown, dict) else shown
        assert batch.num_rows == 1


def test_forwarded_rows_and_markers_read_as_described():
    """Original coordinates are what lineage refers to."""
    row, marker = (s.record() for s in samples("tminus.by-user.clicks"))
    origin, nothing = read_origin(row)
    assert nothing is None
    assert row.headers[0] == origin_header(origin, origin.received_us)
    assert (origin.topic, row.key) == ("events.clicks", b"7")
    assert read_origin(marker)[1] is not None


def test_the_rule_of_partitions_is_the_one_in_force():
    """Two partitions in the run that wrote the page: the misplaced click went from 0 to where user 7 lives."""
    row = samples("tminus.by-user.clicks")[0]
    assert json.loads(row.header("tminus_origin"))[1] == 0 != partition_of("7", 2)


@pytest.mark.parametrize("index", range(3))
def test_scored_batches_have_the_columns_that_the_page_names(index: int):
    """Other stages of other languages build on names and order."""
    scored = decode_scored(samples("tminus.scored")[index].value or b"")
    row = next(line for line in PAGE.read_text().splitlines() if line.startswith(f"| `{scored.kind}` | "))
    assert scored.rows.schema.names == re.findall(r"`([^`]+)`", row)[1:]
    assert (samples("tminus.scored")[index].key or b"").decode() == scored.model


def test_a_leak_has_the_members_that_the_pipeline_writes():
    """There is no Struct for it, so it is compared with one that is made here."""
    model = Model(name="churn", predictions="p", entity_type="user", features=("f",))
    cells = [np.array([[n]], kind) for n, kind in ((1, np.int8), (0, np.int8), (2, np.int8), (5, np.int64))]
    judged = Judged(*cells, np.array([[7]], np.uint64))
    columns = {"prediction_id": ["p1"], "entity": ["1"], "origin_partition": [0], "origin_offset": [3]}
    (made,) = leaks(model, "predictions", pa.RecordBatch.from_pydict(columns), judged)
    assert list(json.loads(sample("tminus.verdicts").value or b"")) == list(made)


def test_findings_and_releases_share_a_topic():
    """The controller tells them apart by their kind."""
    finding, release = (records.decode_finding(s.value or b"") for s in samples("tminus.findings"))
    assert isinstance(finding, Finding)
    assert isinstance(release, Release)
    same(Finding, samples("tminus.findings")[0].value)
    same(Release, samples("tminus.findings")[1].value)


def test_control_records_decode_on_both_sides():
    """What the controller writes is what a node accepts, with the one key it may have."""
    claim, command = samples("tminus.control")
    same(records.Claim, claim.value)
    said = same(Command, command.value)
    assert claim.key == guest_wire.claim_key(guest_wire.decode_claim(claim.value or b""))
    assert command.key == guest_wire.command_key(guest_wire.decode_command(command.value or b""))
    assert said.epoch.offset == claim.offset


@pytest.mark.parametrize(
    ("find", "domain", "keys"),
    [
        (lambda: samples("tminus.control")[0], signing.CLAIM_DOMAIN, 0),
        (lambda: samples("tminus.control")[1], signing.CONTROL_DOMAIN, 0),
        (lambda: sample("tminus.heartbeat"), signing.HEARTBEAT_DOMAIN, 0),
        (lambda: samples("tminus.findings")[1], signing.RELEASE_DOMAIN, 1),
    ],
)
def test_signatures_verify_over_the_shown_bytes(find: Callable[[], Sample], domain: bytes, keys: int):
    """Whoever writes a client can check it against the page; and one byte more is refused."""
    shown, public = find(), keys_at(keys)
    assert domain.decode().rstrip("\0") in PAGE.read_text()
    assert public.is_signed(domain, shown.value or b"", shown.headers, NOW_US)
    assert not public.is_signed(domain, (shown.value or b"") + b" ", shown.headers, NOW_US)


def test_a_receipt_holds_the_signed_command():
    """It proves the epoch that it speaks of."""
    receipt = records.decode_receipt(sample("tminus.receipts").value or b"")
    headers = [("sig", receipt.sig), ("kid", receipt.kid.encode())]
    assert keys_at(0).is_signed(signing.CONTROL_DOMAIN, receipt.command, headers, NOW_US)
    assert records.decode_command(receipt.command).epoch == receipt.epoch


def test_a_dead_letter_says_why_and_where():
    """The header is ours; the bytes are the original's."""
    shown = sample("tminus.dlq")
    letter = same(DeadLetter, shown.header("tminus_letter"))
    assert letter.size == len(shown.value or b"")
    assert f"| `{letter.reason}` |" in PAGE.read_text()


def test_every_reason_of_a_dead_letter_is_explained():
    """People filter by it."""
    table = PAGE.read_text().partition("| `reason` |")[2]
    assert {reason.value for reason in Refusal} == set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
