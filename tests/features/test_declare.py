"""The configuration: what it means, and how kindly it is refused."""

import tomllib

import msgspec
import pytest

from features import declared
from features.declare import declare
from features.definitions import Definitions, Delay, FeatureHints, TimeField
from features.problems import Code, DeclarationError, Problem

WHOLE = """
[source.clicks]
topic = "events.clicks"
entity = { user = "user_id" }
event_time = { field = "ts", unit = "ms" }
lateness = "30s"

[source.users]
topic = "cdc.users"
format = "debezium"
entity = { user = "user_id" }

[feature.clicks_5m]
source = "clicks"
aggregate = "count"
window = "5m"

[feature.last_login]
source = "users"
column = "last_login"
mutable_by = ["login", "cancel"]
default = 0

[source.predictions]

[model.churn]
predictions = "predictions"
entities = ["user"]
features = ["clicks_5m", "last_login"]
join = { clicks_5m = "as_of" }
label = { source = "users", positive = { column = "status", equals = "cancelled" }, horizon = "30d" }
fallback = { default = "keep" }

[order]
prediction = [{ before = "cancel", gap = { min = "0s" } }]
"""


def read(*texts: str) -> Definitions:
    return declare([(f"{chr(97 + i)}.toml", tomllib.loads(text)) for i, text in enumerate(texts)])


def problems(*texts: str) -> list[Problem]:
    with pytest.raises(DeclarationError) as found:
        read(*texts)
    return found.value.problems


def only(*texts: str) -> Problem:
    (problem,) = problems(*texts)
    return problem


def changed(before: str, after: str) -> str:
    assert before in WHOLE
    return WHOLE.replace(before, after)


def test_the_design_example_means_what_it_says():
    """One file that people review is the only truth about sources, features and models."""
    found = read(WHOLE)
    clicks, last_login = found.features.values()
    assert (clicks.aggregate, clicks.window_us, clicks.pane_us, clicks.tumbling) == ("count", 300e6, 30e6, False)
    assert (last_login.column, last_login.default, last_login.mutable_by) == ("last_login", 0, ("login", "cancel"))
    assert found.sources["clicks"].event_time == TimeField(field="ts", unit="ms")
    assert found.sources["predictions"].topic == "predictions"
    assert found.models["churn"].label is not None
    assert found.models["churn"].label.horizon_us == 30 * 86_400 * 10**6
    assert found.order["prediction"][0].before == "cancel"


def test_a_source_brings_only_the_columns_that_something_reads():
    """Decoding is paid for every event, so nothing that nobody asked for is decoded."""
    assert read(WHOLE).sources["users"].kinds == {"last_login": "any", "status": "any"}
    assert read(WHOLE).sources["clicks"].kinds == {}
    summed = changed('aggregate = "count"', 'aggregate = "sum"\ncolumn = "amount"')
    assert read(summed).sources["clicks"].kinds == {"amount": "number"}


def test_a_column_that_is_also_read_as_it_stands_is_of_any_kind():
    """The newest value may be a text in one row; whoever sums sees NULL there. The order of tables means nothing."""
    newest = '[feature.newest]\nsource = "clicks"\ncolumn = "amount"\n'
    summed = '[feature.sum]\nsource = "clicks"\ncolumn = "amount"\naggregate = "sum"\nwindow = "1m"\n'
    for texts in ((WHOLE, newest, summed), (WHOLE, summed, newest)):
        assert read(*texts).sources["clicks"].kinds == {"amount": "any"}


def test_a_log_of_predictions_is_about_what_its_models_are_about():
    """Its rows travel to their entity like all others, and the topic they travel through names the type."""
    assert read(WHOLE).sources["predictions"].entity_type == "user"


def test_a_condition_says_which_columns_it_reads():
    """A column that only a condition reads must be decoded as well."""
    found = read(changed('window = "5m"', 'window = "5m"\nwhere = "page <> \'health\'"'))
    assert found.sources["clicks"].kinds == {"page": "text"}
    wrong = only(changed('window = "5m"', 'window = "5m"\nwhere = "page <>"'))
    assert (wrong.code, wrong.table, wrong.key) == (Code.EXPRESSION, "feature.clicks_5m", "where")


def test_an_unknown_key_names_the_nearest_known_one():
    """A key that is ignored is a promise that nobody keeps."""
    found = only(changed('window = "5m"', 'window = "5m"\nlatency_bugdet = "2s"'))
    assert found == Problem(
        code=Code.UNKNOWN_KEY,
        file="a.toml",
        table="feature.clicks_5m",
        key="latency_bugdet",
        message="unknown key",
        nearest="latency_budget",
    )
    assert "did you mean 'latency_budget'?" in str(found)


def test_every_mistake_is_named_at_once():
    """Nobody wants to learn of ten mistakes in ten runs."""
    text = changed('window = "5m"', 'windw = "5m"').replace('equals = "cancelled"', 'equal = "cancelled"')
    found = {(p.code.value, p.key) for p in problems(text + "[run]\npartitions = 'four'\n[modle.x]\n")}
    assert found == {
        ("TM101", "windw"),
        ("TM101", "label.positive.equal"),
        ("TM103", "label.positive.equals"),
        ("TM102", "partitions"),
        ("TM104", ""),
    }


@pytest.mark.parametrize(
    ("before", "after", "code", "key", "says"),
    [
        ('window = "5m"', 'window = "5 minutes"', Code.WRONG_VALUE, "window", "'250ms'"),
        ('window = "5m"', "window = 300", Code.WRONG_VALUE, "window", "found 300"),
        ('window = "5m"', 'window = "0s"', Code.WRONG_VALUE, "window", "above 0"),
        ('window = "5m"', 'window = "5m"\npanes = 7', Code.CONTRADICTION, "panes", "7 panes"),
        ('window = "5m"', 'window = { session_gap = "30m" }', Code.NOT_SUPPORTED_YET, "window.session_gap", "yet"),
        ('aggregate = "count"', 'aggregate = "topk"', Code.NOT_SUPPORTED_YET, "aggregate", "count, sum"),
        ('aggregate = "count"', 'aggregate = "averge"', Code.WRONG_VALUE, "aggregate", "expected one of"),
        ('aggregate = "count"', 'aggregate = "sum"', Code.MISSING_KEY, "column", "needs a column"),
        ('aggregate = "count"\nwindow = "5m"', "", Code.MISSING_KEY, "column", "neither"),
        ('aggregate = "count"', "", Code.MISSING_KEY, "aggregate", "a window needs"),
        ('format = "debezium"', 'format = "avro"', Code.NOT_SUPPORTED_YET, "format", "yet"),
        ('format = "debezium"', 'format = "debezium"\nwrite_time = "x"', Code.CONTRADICTION, "write_time", "ts_us"),
        ('{ user = "user_id" }\nevent', '{ a = "x", b = "y" }\nevent', Code.NOT_SUPPORTED_YET, "entity", "several"),
        ('["user"]', '["user", "item"]', Code.NOT_SUPPORTED_YET, "entities", "several"),
        ('["user"]', '["item"]', Code.CONTRADICTION, "features", "about a user"),
        ('["clicks_5m", "last_login"]', '["clicks_5m", "last_logni"]', Code.UNKNOWN_NAME, "features", "last_logni"),
        ('source = "clicks"', 'source = "predictions"', Code.CONTRADICTION, "source", "log of predictions"),
        ('source = "clicks"', 'source = "clcks"', Code.UNKNOWN_NAME, "source", "clcks"),
        ('topic = "cdc.users"', 'topic = "events.clicks"', Code.CONTRADICTION, "topic", "source.clicks"),
        ('topic = "cdc.users"', 'topic = "tminus.users"', Code.CONTRADICTION, "topic", "ours"),
        ('join = { clicks_5m = "as_of" }', 'join = { x = "as_of" }', Code.UNKNOWN_NAME, "join.x", "features"),
        (
            'join = { clicks_5m = "as_of" }',
            'join = { clicks_5m = "asof" }',
            Code.WRONG_VALUE,
            "join.clicks_5m",
            "as_of",
        ),
        ('fallback = { default = "keep" }', 'fallback = { lease = "0s" }', Code.WRONG_VALUE, "fallback.lease", "above"),
        ('fallback = { default = "keep" }', 'reference = { file = "x" }', Code.NOT_SUPPORTED_YET, "reference.file", ""),
        (
            "[source.predictions]",
            "[source.predictions]\nfields = { otput = 'p' }",
            Code.UNKNOWN_KEY,
            "fields.otput",
            "",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_place(before: str, after: str, code: Code, key: str, says: str):
    """What, where, what was expected; and what is not built yet is refused, never ignored."""
    found = {(p.code, p.key): str(p) for p in problems(changed(before, after))}
    assert says in found[code, key]


def test_one_column_cannot_be_a_number_and_a_text():
    """The decoder would have to refuse every row for one of the two readers."""
    both = "\n".join(
        [
            changed('aggregate = "count"', 'aggregate = "sum"\ncolumn = "page"'),
            "[feature.other]\nsource = 'clicks'\naggregate = 'count'\nwindow = '1m'\nwhere = \"page <> 'health'\"",
        ]
    )
    assert only(both).code is Code.CONTRADICTION


def test_files_merge_and_a_conflict_names_both():
    """Teams keep their own files; what two of them claim must be settled by people."""
    extra = (
        '[feature.more]\nsource = "clicks"\naggregate = "count"\nwindow = { tumbling = "1m" }\n[run]\nclock = "data"'
    )
    found = read(WHOLE, extra)
    assert (found.features["more"].tumbling, found.features["more"].panes) == (True, 1)
    assert found.run.clock_error_us == 0  # recorded data has no clocks to disagree
    problem = only(WHOLE, "[feature.clicks_5m]\nsource = 'users'\ncolumn = 'x'")
    assert (problem.file, problem.code) == ("b.toml", Code.DECLARED_TWICE)
    assert "a.toml" in problem.message
    twice = only("[run]\nclock = 'data'", "[run]\nclock = 'wall'")
    assert (twice.file, twice.key, twice.code) == ("b.toml", "clock", Code.DECLARED_TWICE)


def test_what_only_check_reads_is_kept():
    """These keys change no value that is computed, so accepting them is no lie."""
    found = read(changed("default = 0", 'default = 0\nttl = "9d"\ndelay = { p99 = "2s" }\nowner = "growth"'))
    day_us = 86_400_000_000
    wanted = FeatureHints(ttl_us=9 * day_us, delay=Delay(p99_us=2_000_000), owner="growth")
    assert found.features["last_login"].hints == wanted


def test_the_digest_follows_the_meaning_and_no_secret():
    """Two workers share a lake if and only if they mean the same; a rotated password changes nothing."""
    same = read(WHOLE.replace("\n\n", "\n"), '[kafka]\n"sasl.password" = "hunter2"\n"enable.x" = true')
    assert same.digest == read(WHOLE).digest
    assert same.kafka == {"sasl.password": "hunter2", "enable.x": "true"}
    assert read(changed('window = "5m"', 'window = "6m"')).digest != same.digest


def test_a_secret_never_stands_in_a_complaint():
    """Complaints are printed, logged and pasted into tickets."""
    problem = only('[kafka]\n"sasl.password" = ["hunter2"]')
    assert "hunter2" not in str(problem)


def test_every_known_key_is_in_the_published_schema():
    """Editors complete from the schema; a key that it lacks would be refused there and accepted here."""
    schema = declared.json_schema()["$defs"]
    for table in (declared.RunTable, declared.SourceTable, declared.FeatureTable, declared.ModelTable):
        assert set(schema[table.__name__]["properties"]) == {f.name for f in msgspec.structs.fields(table)}
        assert schema[table.__name__]["additionalProperties"] is False
