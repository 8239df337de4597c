"""What does somebody with nothing but DuckDB see?

`open.sql`, as text: it finds the newest commit of every unit, puts the files that they name into variables, and
creates commented views and macros over them. Reading it again refreshes. It works in DuckDB 1.5 and 2.0, from any
folder, without tminus.
"""

from pathlib import Path

from streams.lake.manifest import COMMITS, check_root
from streams.lake.tables import TABLES, Column

#: Offsets that share a bucket when versions are matched with ranges of `written`: an equality that DuckDB can
#: hash, with few candidates in each. Versions of one million rows and 40,000 ranges join in 0.3 s (two threads).
BUCKET = 64

_HEADER = """\
-- The lake as views. In DuckDB:  .read {root}/open.sql      (again, to refresh)
-- Made by tminus; `SELECT comment FROM duckdb_views()` and `duckdb_columns()` tell what things mean.
"""

# A row may refer to rows of a stage before its own (a finding to verdicts, a verdict to versions), and those were
# committed earlier. Looking at the later stages first makes sure that what they refer to is seen as well.
_HEADS = """\
SET VARIABLE tminus_root = {root};
SET VARIABLE tminus_heads_other = (SELECT coalesce(list(head), []) FROM (
  SELECT max(file) AS head FROM glob({commits} || '/*/m-*.json')
  WHERE NOT starts_with(file, {commits} || '/entity-') AND NOT starts_with(file, {commits} || '/model-')
  GROUP BY parse_dirpath(file)));
SET VARIABLE tminus_heads_model = (SELECT coalesce(list(head), []) FROM (
  SELECT max(file) AS head FROM glob({commits} || '/model-*/m-*.json') GROUP BY parse_dirpath(file)));
SET VARIABLE tminus_heads_entity = (SELECT coalesce(list(head), []) FROM (
  SELECT max(file) AS head FROM glob({commits} || '/entity-*/m-*.json') GROUP BY parse_dirpath(file)));
SET VARIABLE tminus_heads = list_concat(list_concat(
  getvariable('tminus_heads_other'), getvariable('tminus_heads_model')), getvariable('tminus_heads_entity'));
SET VARIABLE tminus_files = (
  WITH heads AS (
    SELECT unit, tables FROM read_json(getvariable('tminus_heads'), format = 'unstructured',
      columns = {{unit: 'VARCHAR', tables: 'MAP(VARCHAR, STRUCT(file VARCHAR)[])'}})),
  named AS (SELECT unit, unnest(map_keys(tables)) AS name, unnest(map_values(tables)) AS segments FROM heads),
  files AS (SELECT name, unit <> 'zero' AS is_written, unnest(segments).file AS file FROM named)
  SELECT map_from_entries(list((name, paths))) FROM (
    SELECT name, list(getvariable('tminus_root') || '/' || file ORDER BY is_written, file) AS paths
    FROM files GROUP BY name));
"""

# The newest state of a thing is what its unit committed last; a file's name holds the number of its first commit.
_NEWEST = """\
SELECT * EXCLUDE (filename, file_row_number)
FROM read_parquet(getvariable('tminus_files')['{table}'], union_by_name = true, filename = true, file_row_number = true)
QUALIFY row_number() OVER (PARTITION BY {key}
  ORDER BY regexp_extract(filename, '-(\\d+)-\\d+\\.parquet$', 1) DESC, file_row_number DESC) = 1"""

_PLAIN = "SELECT * FROM read_parquet(getvariable('tminus_files')['{table}'], union_by_name = true)"

# Visibility of our own versions. Of several witnesses the least bounds hold; a version that was sent again has as
# lower bound the append time of the row that caused it, and none where that topic has no append times: then any
# read may have seen it, whatever the other witnesses say. Bounds that the row brings itself are its source's.
_FEATURES = """\
WITH versions AS ({plain}),
ranges AS (SELECT *, unnest(range("first" // {bucket}, "last" // {bucket} + 1)) AS bucket FROM written),
logs AS (
  SELECT DISTINCT coalesce(log_topic, topic) AS log_topic, coalesce(log_partition, "partition") AS log_partition,
    coalesce(log_offset, "offset") AS log_offset FROM versions),
bounds AS (
  SELECT l.log_topic, l.log_partition, l.log_offset,
    min(r.sent_us) FILTER (NOT r.resent) AS sent_us, bool_or(r.resent) AS is_resent,
    bool_or(r.resent AND NOT r.append_topic) AS is_open, min(r.acked_us) AS acked_us
  FROM logs l JOIN ranges r ON r.topic = l.log_topic AND r."partition" = l.log_partition
    AND r.bucket = l.log_offset // {bucket} AND l.log_offset BETWEEN r."first" AND r."last"
  GROUP BY ALL)
SELECT v.* REPLACE (
  coalesce(v.visible_from_us, CASE WHEN b.is_open THEN NULL WHEN b.is_resent THEN least(b.sent_us, v.ingest_time_us)
    ELSE b.sent_us END) AS visible_from_us,
  coalesce(v.visible_by_us, b.acked_us) AS visible_by_us)
FROM versions v LEFT JOIN bounds b ON b.log_topic = coalesce(v.log_topic, v.topic)
  AND b.log_partition = coalesce(v.log_partition, v."partition")
  AND b.log_offset = coalesce(v.log_offset, v."offset")"""

_LAST_VERDICT = """\
SELECT * FROM verdicts_all QUALIFY row_number() OVER (
  PARTITION BY model, prediction_id, entity_type, entity, feature, form ORDER BY revision DESC, generation DESC) = 1"""

_MACROS = """\
CREATE OR REPLACE MACRO tminus_readable(t) AS TABLE
  WITH candidates AS (
    SELECT *, coalesce(visible_by_us <= t, false) AS is_sure, row_number() OVER (
      PARTITION BY entity_type, entity, feature ORDER BY "offset", window_end_us) AS n
    FROM features WHERE visible_from_us IS NULL OR visible_from_us <= t),
  numbered AS (
    SELECT *, coalesce(max(n) FILTER (is_sure) OVER (PARTITION BY entity_type, entity, feature), 0) AS sure_n
    FROM candidates)
  SELECT entity_type, entity, feature, any_value(value) FILTER (n = sure_n) AS value,
    any_value(event_time_us) FILTER (n = sure_n) AS event_time_us,
    any_value(visible_from_us) FILTER (n = sure_n) AS visible_from_us,
    any_value(visible_by_us) FILTER (n = sure_n) AS visible_by_us,
    any_value(id) FILTER (n = sure_n) AS id, count(*) FILTER (n > sure_n) AS newer_possible
  FROM numbered GROUP BY entity_type, entity, feature;
COMMENT ON MACRO TABLE tminus_readable IS 'Per entity and feature: the newest version certainly readable at t (us)';
CREATE OR REPLACE MACRO known_at(an_entity, t) AS TABLE
  SELECT * FROM tminus_readable(t) WHERE entity = an_entity ORDER BY entity_type, feature;
COMMENT ON MACRO TABLE known_at IS
  'What a read at t (us) certainly found about an entity; newer_possible: versions it may have found instead';
CREATE OR REPLACE MACRO "asof"(a_model, t) AS TABLE
  SELECT * FROM tminus_readable(t)
  WHERE feature IN (SELECT feature FROM prediction_values WHERE model = a_model)
  ORDER BY entity_type, entity, feature;
COMMENT ON MACRO TABLE "asof" IS
  'What a read at t (us) certainly found for the features of a model, for every entity';
"""

_SELECTS = {
    "features": _FEATURES.format(plain=_PLAIN.format(table="features"), bucket=BUCKET),
    "findings": _NEWEST.format(table="findings", key="finding_id"),
    "alerts": _NEWEST.format(table="alerts", key="fingerprint"),
}


def render_open_sql(root: Path) -> str:
    """The text of `open.sql` for the lake in `root`.

    Raises
    ------
    LakeError
        The path holds a character that means something in a glob.

    Examples
    --------
    >>> render_open_sql(Path("/srv/lake")).splitlines()[2]
    "SET VARIABLE tminus_root = '/srv/lake';"
    """
    root = check_root(root)
    parts = [
        _HEADER.format(root=root) + _HEADS.format(root=_quoted(str(root)), commits=_quoted(str(root / COMMITS))),
    ]
    for name in ("written", *(name for name in TABLES if name != "written")):  # `features` is made of `written`
        table = TABLES[name]
        if name == "verdicts":
            parts += [_view("verdicts_all", _PLAIN.format(table=name), f"Every revision of {name}", table.columns)]
            parts += [_view(name, _LAST_VERDICT, table.comment, table.columns)]
        else:
            select = _SELECTS.get(name, _PLAIN.format(table=name))
            parts.append(_view(name, select, table.comment, table.columns))
    return "\n".join([*parts, _MACROS])


def _view(name: str, select: str, comment: str, columns: tuple[Column, ...]) -> str:
    lines = [f"CREATE OR REPLACE VIEW {name} AS\n{select};", f"COMMENT ON VIEW {name} IS {_quoted(comment)};"]
    lines += [f'COMMENT ON COLUMN {name}."{c.name}" IS {_quoted(c.comment)};' for c in columns]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
