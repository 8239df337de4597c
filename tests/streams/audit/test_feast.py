"""A Feast repository is read without running it, and its join is told as Feast makes it."""

import json
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streams.audit import feast_join
from streams.audit.feast import View, read_repository
from streams.audit.feast_files import FeastError
from streams.audit.feast_join import ENTITY, EVENT_TIME, PREDICTION_TIME, VISIBLE_TIME, WRITE_TIME, joined, left_out

#: One case a line, `answer` as Feast 0.67.0 gave it: its file store ("dask") and its DuckDB store.
ANSWERS = [json.loads(line) for line in (Path(__file__).parent / "feast_answers.jsonl").read_text().splitlines()]
BASE_US, HOUR_US = 1_704_067_200_000_000, 3_600_000_000

SETTINGS = "project: rides # ours\nregistry: data/registry.db\nprovider: local\n"
DEFINITIONS = """
from datetime import timedelta
from pathlib import Path
from feast import Entity, FeatureService, FeatureView, Field, FileSource, PushSource
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Int64

HERE = Path(__file__).parent
driver = Entity(name="driver", join_keys=["driver_id"])
stats_source = FileSource(
    name="stats", path=str(HERE / "data" / "stats.parquet"), timestamp_field="ts", created_timestamp_column="created"
)
stats = FeatureView(
    name="stats", entities=[driver], ttl=timedelta(hours=2), schema=[Field(name="trips", dtype=Int64)],
    source=PushSource(name="push", batch_source=stats_source),
)

@on_demand_feature_view(sources=[stats], schema=[Field(name="double", dtype=Int64)])
def doubled(inputs):
    return inputs["trips"] * 2

service = FeatureService(name="v1", features=[stats[["trips"]], doubled])
"""


def stamps(us: list[int | None], unit: str = "us", tz: str | None = None) -> pa.Array:
    return pa.array(us, pa.timestamp("us")).cast(pa.timestamp(unit)).cast(pa.timestamp(unit, tz))


def us(column: pa.ChunkedArray) -> list[int | None]:
    return column.cast(pa.int64()).to_pylist()


def shown(table: pa.Table) -> list[dict[str, object]]:
    at = table.column_names.index(PREDICTION_TIME)
    return table.set_column(at, PREDICTION_TIME, table.column(at).cast(pa.int64())).to_pylist()


def write(root: Path, definitions: str = DEFINITIONS, settings: str = SETTINGS, **files: pa.Table) -> Path:
    (root / "data").mkdir(parents=True, exist_ok=True)
    (root / "feature_store.yaml").write_text(settings)
    (root / "definitions.py").write_text(definitions)
    for name, table in (files or {"stats": STATS}).items():
        pq.write_table(table, root / "data" / f"{name}.parquet")
    return root


# The example of feast#6615: a value of an hour ago that was written 45 minutes after the prediction.
STATS = pa.table(
    {
        "driver_id": ["a", "a"],
        "ts": stamps([BASE_US - HOUR_US, BASE_US - 60_000_000]),
        "created": stamps([BASE_US - HOUR_US, BASE_US + 2_700_000_000]),
        "trips": [10, 99],
    }
)
ASKED = pa.table({"driver_id": ["a"], "event_timestamp": stamps([BASE_US]), "label": [1]})


def test_the_definitions_of_a_repository_are_read(tmp_path):
    repository = read_repository(write(tmp_path))
    [view] = repository.views
    assert (repository.project, repository.store) == ("rides", "dask")
    assert (view.name, view.join_keys, view.features) == ("stats", ("driver_id",), ("trips",))
    assert (view.timestamp_field, view.created_column, view.ttl_us) == ("ts", "created", 2 * HOUR_US)
    assert (view.path, view.place) == (tmp_path / "data" / "stats.parquet", "definitions.py:13")
    assert repository.unread == {"doubled": "computed at request time from other views; those are audited"}
    assert repository.services == {"v1": ("stats:trips",)}


def test_the_folder_above_feature_repo_will_do(tmp_path):
    """This is what ``feast init`` makes, and where its user stands."""
    write(tmp_path / "feature_repo")
    assert read_repository(tmp_path).views[0].name == "stats"


def test_a_value_that_was_not_yet_written_is_returned_and_its_writing_is_in_the_log(tmp_path):
    [table] = joined(read_repository(write(tmp_path)), ASKED, carry=["label"])
    assert shown(table.train) == [{ENTITY: "a", PREDICTION_TIME: BASE_US, "trips": 99, "label": 1}]
    assert us(table.log.column(WRITE_TIME)) == [BASE_US - HOUR_US, BASE_US + 2_700_000_000]
    assert us(table.log.column(EVENT_TIME)) == [BASE_US - HOUR_US, BASE_US - 60_000_000]
    assert (table.rows.tolist(), table.dropped, table.has_write_time, table.notes) == ([0], 0, True, ())


@pytest.mark.parametrize("case", ANSWERS, ids=lambda case: case["name"])
def test_the_join_returns_what_feast_returns(case, tmp_path):
    """Time zones, units, ttl to the microsecond, ties, NULLs, composite keys, both stores: rows and values alike."""
    *keys, event, created, trips = map(list, zip(*case["source"], strict=True))
    unit, tz = case["unit"], case["tz"]
    table = {name: pa.array(column) for name, column in zip(case["keys"], keys, strict=True)}
    table |= {"ts": stamps(event, unit, tz), "created": stamps(created, unit, tz), "trips": pa.array(trips)}
    entities = ", ".join(f"Entity(name='{key[:-3]}', join_keys=['{key}'])" for key in case["keys"])
    created_column = ", created_timestamp_column='created'" if case["has_created"] else ""
    definitions = (
        "from datetime import timedelta\nfrom feast import Entity, FeatureView, FileSource, Field\n"
        f"view = FeatureView(name='stats', entities=[{entities}], schema=[Field(name='trips')],\n"
        f"  ttl=timedelta(microseconds={case['ttl_us']}),\n"
        f"  source=FileSource(path='data/stats.parquet', timestamp_field='ts'{created_column}))\n"
    )
    settings = SETTINGS + f"offline_store:\n    type: {case['store']}\n"
    *asked_keys, at = map(list, zip(*case["asked"], strict=True))
    asked = pa.table([*map(pa.array, asked_keys), stamps(at)], [*case["keys"], "event_timestamp"])
    [got] = joined(read_repository(write(tmp_path, definitions, settings, stats=pa.table(table))), asked)
    rows = [[*case["asked"][row], value] for row, value in zip(got.rows, got.train["trips"].to_pylist(), strict=True)]
    assert sorted(rows, key=str) == case["answer"]


def test_the_newest_row_agrees_with_a_slow_search():
    rng = np.random.default_rng(7)
    for ttl in (0, 3, 10):
        rows = np.sort(rng.integers(0, 4, 60) * 100 + rng.integers(0, 20, 60))
        code, event = rows // 100, rows % 100
        asked, at = rng.integers(0, 5, 200), rng.integers(-2, 25, 200)
        got, has_rows = feast_join.newest(code, event, asked, at, ttl)
        for i in range(200):
            fits = [j for j in range(60) if code[j] == asked[i] and (at[i] - ttl if ttl else -99) <= event[j] <= at[i]]
            assert got[i] == max(fits, default=-1)
            assert has_rows[i] == (asked[i] in code)


def test_without_a_table_the_sources_own_moments_are_asked_and_it_is_said(tmp_path):
    [table] = joined(read_repository(write(tmp_path)), None)
    assert table.train.column("trips").to_pylist() == [10, 99]
    assert "no entity table was given, so the moments are the 2 (entity, event time) of stats.parquet" in table.notes[0]


def test_a_view_without_a_created_column_has_no_write_times_and_it_is_said(tmp_path):
    definitions = DEFINITIONS.replace(', created_timestamp_column="created"', "")
    [table] = joined(read_repository(write(tmp_path, definitions)), ASKED)
    assert not table.has_write_time
    assert us(table.log.column(WRITE_TIME)) == us(table.log.column(EVENT_TIME))  # not before it happened
    assert table.log.column(VISIBLE_TIME).to_pylist() == [None, None]
    assert "nothing says when its rows were written" in table.notes[0]


def test_a_row_without_created_timestamp_may_have_been_written_whenever(tmp_path):
    holed = STATS.set_column(2, "created", stamps([BASE_US, None], "ms"))
    [table] = joined(read_repository(write(tmp_path, stats=holed)), ASKED)
    assert us(table.log.column(VISIBLE_TIME)) == [BASE_US, None]
    assert us(table.log.column(WRITE_TIME)) == [BASE_US, BASE_US - 60_000_000]
    assert "1 rows have no created timestamp" in table.notes[0]


def test_the_unit_of_the_stamps_is_kept_as_evidence_of_how_fine_they_are(tmp_path):
    coarse = STATS.set_column(1, "ts", stamps([BASE_US, BASE_US], "s")).set_column(
        2, "created", stamps([BASE_US] * 2, "ms")
    )
    [table] = joined(read_repository(write(tmp_path, stats=coarse)), ASKED)
    assert table.log.schema.field(WRITE_TIME).type == pa.timestamp("ms", "UTC")


def test_views_whose_keys_are_not_asked_for_are_named(tmp_path):
    other = "orders = FeatureView(name='orders', entities=[Entity(name='trips')], source=stats_source)\n"
    repository = read_repository(write(tmp_path, DEFINITIONS + other))
    assert [table.view.name for table in joined(repository, ASKED)] == ["stats"]
    assert left_out(repository, ASKED.column_names)["orders"] == "the entity table has no column trips"
    assert "orders" not in left_out(repository, None)


def test_a_row_created_before_its_event_time_counts_from_its_event_time(tmp_path):
    """The join cannot return a forecast before its time has come, so it is not in the running before."""
    ahead = STATS.set_column(2, "created", stamps([BASE_US - 2 * HOUR_US, BASE_US - 60_000_000]))
    [table] = joined(read_repository(write(tmp_path, stats=ahead)), ASKED)
    assert us(table.log.column(WRITE_TIME)) == [BASE_US - HOUR_US, BASE_US - 60_000_000]
    assert "1 rows were created before their event time" in table.notes[0]


def test_what_the_join_leaves_out_is_counted(tmp_path):
    """Entities with rows only in the future vanish from a training set, which biases it towards survivors."""
    asked = pa.table(
        {"driver_id": ["a", "a", "a", "z"], "event_timestamp": stamps([BASE_US - 3 * HOUR_US, *[BASE_US] * 3])}
    )
    [table] = joined(read_repository(write(tmp_path)), asked)
    assert (table.rows.tolist(), table.dropped, table.duplicates) == ([1, 3], 1, 1)
    assert [note.partition(" ")[2][:20] for note in table.notes] == ["the join leaves out ", "the join keeps one o"]


def test_the_duckdb_store_returns_such_rows_empty_and_it_is_said(tmp_path):
    settings = SETTINGS + "offline_store:\n    type: duckdb\n"
    asked = pa.table({"driver_id": ["a"], "event_timestamp": stamps([BASE_US - 3 * HOUR_US])})
    [table] = joined(read_repository(write(tmp_path, settings=settings)), asked)
    assert (table.train.column("trips").to_pylist(), table.dropped) == ([None], 0)
    assert "1 entity rows come back empty" in table.notes[0]


def test_a_choice_among_equal_event_times_is_counted(tmp_path):
    """The file store's sorts are not stable: which of them it returns is luck (feast#3360)."""
    tied = pa.concat_tables([STATS, STATS.slice(1)])
    [table] = joined(read_repository(write(tmp_path, stats=tied)), ASKED)
    assert (table.tied, "may return any of them" in table.notes[-1]) == (1, True)


def test_texts_as_moments_and_keys_are_read(tmp_path):
    """A CSV has nothing else."""
    numbered = STATS.set_column(0, "driver_id", pa.array([7, 7]))
    asked = pa.table({"driver_id": ["7"], "event_timestamp": ["2024-01-01T01:00:00+01:00"]})
    [table] = joined(read_repository(write(tmp_path, stats=numbered)), asked)
    assert shown(table.train) == [{ENTITY: "7", PREDICTION_TIME: BASE_US, "trips": 99}]


def test_equal_feature_names_carry_the_name_of_their_view(tmp_path):
    """Feast refuses them otherwise."""
    twice = DEFINITIONS + "other = FeatureView(name='late', entities=[driver], source=stats_source)\n"
    tables = list(joined(read_repository(write(tmp_path, twice)), ASKED))
    assert [table.features for table in tables] == [("stats__trips",), ("late__trips",)]


def test_columns_that_are_not_declared_are_inferred(tmp_path):
    definitions = (
        "from feast import Entity, FeatureView, FileSource\n"
        "d = Entity(name='driver', join_keys=['driver_id'])\n"
        "v = FeatureView(name='v', entities=[d],\n"
        "    source=FileSource(path='data/stats.parquet', field_mapping={'n': 'm'}))\n"
    )
    table = pa.table({"driver_id": ["a"], "when": stamps([BASE_US]), "n": [1], "__internal": [2]})
    [view] = read_repository(write(tmp_path, definitions, stats=table)).views
    assert (view.timestamp_field, view.created_column, view.features, view.ttl_us) == ("when", None, ("m",), 0)
    [joint] = joined(read_repository(tmp_path), ASKED)
    assert joint.train.column("m").to_pylist() == [1]


@pytest.mark.parametrize(
    "definition",
    [
        "path = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'data', 'stats' + '.parquet')",
        "path = f'{Path(__file__).resolve().parent}/data/{NAME}.parquet'",
        "path = '%s/%s.parquet' % ('data', NAME)",
        "path = 'data/{}.parquet'.format(NAME)",
        "path = str(Path(__file__).parents[0].joinpath('data', NAME).with_suffix('.parquet'))",
        "path = {'dev': 'data/stats.parquet'}['dev']",
        "def of(name, folder='data'):\n    return f'{folder}/{name}.parquet'\npath = of(NAME)",
        "from shared import settings\npath = settings.FOLDER + '/stats.parquet'",
        "from shared.settings import FOLDER as folder\npath = Path(folder) / 'stats.parquet'",
        "if NAME == 'stats':\n    path = 'data/stats.parquet'\nelse:\n    path = nowhere()",
        "try:\n    path = 'data/stats.parquet'\nexcept ImportError:\n    path = None",
        "kept = []\nfor part in ('data', 'stats.parquet'):\n    kept.append(part)\npath = '/'.join(kept)",
        "path, ttl = 'data/stats.parquet', 1",
    ],
)
def test_paths_put_together_from_constants_are_followed(definition, tmp_path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "settings.py").write_text("FOLDER = 'data'\n")
    text = (
        "import os\nfrom pathlib import Path\nfrom datetime import timedelta\n"
        "import feast\nfrom feast import FeatureView\n"
        f"NAME = 'stats'\nDAY = timedelta(days=1)\n{definition}\n"
        "fields = [feast.Field(name=name, dtype=feast.types.Int64) for name in ['trips', 'driver_id']]\n"
        "common = {'timestamp_field': 'ts'}\n"
        "view = FeatureView(name='v', entities=[feast.Entity(name='driver_id')], ttl=7 * DAY, schema=fields,\n"
        "    source=feast.FileSource(path=path, **common))\n"
    )
    [view] = read_repository(write(tmp_path, text)).views
    assert (view.path.resolve(), view.features) == (tmp_path / "data" / "stats.parquet", ("trips",))
    assert view.ttl_us == timedelta(days=7) / timedelta(microseconds=1)


def test_nothing_of_the_repository_is_run(tmp_path):
    """To audit the files of a stranger must be safe."""
    attack = "open(__file__ + '.ran', 'w').write('x')\nimport os\nos.system('exit 1')\nraise SystemExit(3)\n"
    read_repository(write(tmp_path, attack + DEFINITIONS))
    assert not (tmp_path / "definitions.py.ran").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('path=str(HERE / "data" / "stats.parquet")', 'path=find("stats")'), "definitions.py:11: expected path= of"),
        (("timedelta(hours=2)", "timedelta(hours=HOURS)"), "the name HOURS, which is not set before"),
        (("stats.parquet", "gone.parquet"), "definitions.py:10: expected a Parquet file or a folder of them at"),
        (('"trips"', '"taxis"'), "expected the column 'taxis' in"),
        (("entities=[driver]", "entities=[rider]"), "the name rider, which is not set before"),
        (('join_keys=["driver_id"]', 'join_keys=["rider_id"]'), "expected the column 'rider_id' in"),
        (("stats_source = FileSource", "stats_source = BigQuerySource"), "BigQuerySource is not a file"),
        (("\nstats = ", "\nif date.today() > X:\n stats = "), "depends on a condition or loop that only a run decides"),
        (('name="stats", entities', "name=NAMES[0], entities"), "expected name= of FeatureView"),
        (("HERE = ", "HERE = = "), "definitions.py:8: expected Python, found"),
        (('str(HERE / "data" / "stats.parquet")', '"s3://bucket/stats.parquet"'), "is not on this machine"),
    ],
)
def test_what_cannot_be_read_is_an_error_with_its_line(change, message, tmp_path):
    definitions = DEFINITIONS.replace("import Entity,", "import BigQuerySource, Entity,").replace(*change)
    with pytest.raises(FeastError, match=r"expected") as caught:
        read_repository(write(tmp_path, definitions))
    assert message in str(caught.value)


def test_what_never_runs_on_import_is_no_definition(tmp_path):
    """Scripts beside the definitions often make views to play with."""
    toy = "FeatureView(name='toy', entities=[driver], source=find())\n"
    script = f"if __name__ == '__main__':\n    toy = {toy}\ndef play():\n    return {toy}"
    assert [view.name for view in read_repository(write(tmp_path, DEFINITIONS + script)).views] == ["stats"]


def test_other_stores_are_named(tmp_path):
    with pytest.raises(FeastError, match=r"stats: the offline store is snowflake\.offline, not files"):
        read_repository(write(tmp_path, settings=SETTINGS + "offline_store: {type: snowflake.offline}\n"))


def test_a_folder_that_is_no_repository_is_named(tmp_path):
    with pytest.raises(FeastError, match=r"expected a Feast repository with feature_store\.yaml, found none"):
        read_repository(tmp_path)


def test_files_that_feast_ignores_are_not_read(tmp_path):
    write(tmp_path)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "broken.py").write_text("import feast\n= 1\n")
    (tmp_path / ".feastignore").write_text("old  # not ours\n")
    assert len(read_repository(tmp_path).views) == 1


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"rider": ["a"], "event_timestamp": [1]}, "expected an entity table with the join keys of a view"),
        ({"driver_id": ["a"], "at": ["x"]}, "expected the column 'event_timestamp' in the entity table"),
        ({"driver_id": ["a", None], "event_timestamp": [BASE_US] * 2}, "row 1: expected driver_id, found NULL"),
        ({"driver_id": ["a"], "event_timestamp": ["soon"]}, "row 0: expected a time"),
        ({"driver_id": ["a", "a"], "event_timestamp": [BASE_US, None]}, "row 1: expected a moment, found NULL"),
    ],
)
def test_an_entity_table_that_cannot_be_joined_is_an_error(asked, message, tmp_path):
    with pytest.raises(FeastError) as caught:
        list(joined(read_repository(write(tmp_path)), pa.table(asked)))
    assert message in str(caught.value)


def test_a_source_or_a_table_without_rows_is_joined_like_any_other(tmp_path):
    """Feast returns NULL for every entity that has no row."""
    [table] = joined(read_repository(write(tmp_path, stats=STATS.slice(0, 0))), ASKED)
    assert table.train.column("trips").to_pylist() == [None]
    [table] = joined(read_repository(write(tmp_path)), ASKED.slice(0, 0))
    assert (table.train.num_rows, table.log.num_rows) == (0, 2)


def test_a_file_without_timestamps_is_an_error(tmp_path):
    numbers = STATS.set_column(1, "ts", pa.array([1, 2]))
    with pytest.raises(FeastError, match="expected timestamps in the column 'ts', as Feast does, found int64"):
        list(joined(read_repository(write(tmp_path, stats=numbers)), ASKED))


def test_an_unknown_view_is_named_with_the_known_ones(tmp_path):
    with pytest.raises(FeastError, match="one of stats; found 'doubled', which is not audited: computed"):
        list(joined(read_repository(write(tmp_path)), ASKED, views=["doubled"]))
    assert isinstance(read_repository(tmp_path).view("stats"), View)
