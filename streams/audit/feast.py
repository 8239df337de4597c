"""What does a Feast repository define, and which files hold it?

`feature_store.yaml` and the Python definitions are read, never run, and Feast itself is not needed. What cannot be read
so is named, with file and line: a feature view is audited, or it is said why not.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from streams.audit.feast_files import FeastError, definition_files, read_settings
from streams.audit.static_python import Reader
from streams.audit.static_values import Made, Unknown

#: Offline stores whose join is known: Feast's default (``file`` is its old name) and DuckDB's, which keeps every row.
STORES = {"dask": "dask", "file": "dask", "duckdb": "duckdb"}

_VIEWS = frozenset({"FeatureView", "BatchFeatureView", "StreamFeatureView"})
_OTHER_VIEWS = {
    "OnDemandFeatureView": "computed at request time from other views; those are audited",
    "on_demand_feature_view": "computed at request time from other views; those are audited",
    "LabelView": "labels, not features",
}
_DECORATORS = {"stream_feature_view": "StreamFeatureView", "batch_feature_view": "BatchFeatureView"}
_STREAMS = frozenset({"PushSource", "KafkaSource", "KinesisSource"})
_MUST_BE_REACHED = _VIEWS | frozenset({"LabelView", "OnDemandFeatureView"})


@dataclass(frozen=True, slots=True)
class View:
    """One feature view over a Parquet file.

    Parameters
    ----------
    join_keys
        Columns of its entities, in the order of the definition; empty for a view without entities.
    path
        The Parquet file, or a folder of them.
    timestamp_field, created_column
        Columns after `field_mapping`; without a created column nothing says when a row was written.
    ttl_us
        How old a value may be, microseconds; 0 is for ever.
    field_mapping
        Column of the file to the name that the view gives it.
    place
        ``file:line`` of the definition.
    """

    name: str
    join_keys: tuple[str, ...]
    path: Path
    timestamp_field: str
    created_column: str | None
    ttl_us: int
    features: tuple[str, ...]
    field_mapping: Mapping[str, str]
    place: str


@dataclass(frozen=True, slots=True)
class Repository:
    """What `read_repository` found.

    Parameters
    ----------
    store
        Key of `STORES`' values: ``"dask"`` or ``"duckdb"``.
    unread
        View, or service, to why it is not audited.
    services
        Feature service to its features, as ``"view:feature"``.
    """

    root: Path
    project: str
    store: str
    views: tuple[View, ...]
    unread: Mapping[str, str]
    services: Mapping[str, tuple[str, ...]]

    def view(self, name: str) -> View:
        """The view of this name.

        Raises
        ------
        FeastError
            There is none that can be audited.
        """
        for view in self.views:
            if view.name == name:
                return view
        known = ", ".join(view.name for view in self.views)
        why = f", which is not audited: {self.unread[name]}" if name in self.unread else ""
        raise FeastError(f"{self.root}: expected a feature view, one of {known}; found {name!r}{why}")


def read_repository(repo: Path) -> Repository:
    """The definitions of a Feast repository: the folder of ``feature_store.yaml``, or the one above ``feature_repo``.

    Raises
    ------
    FeastError
        It is none, a definition cannot be read without running it, or nothing in it can be audited.
    """
    root = (repo if (repo / "feature_store.yaml").is_file() else repo / "feature_repo").resolve()
    settings = read_settings(root, repo)
    kind = settings.get("offline_store", "dask")
    reader = _follow(root)
    made = list(_bound(reader))
    for place, what in reader.unreached(_MUST_BE_REACHED):
        raise FeastError(
            f"{place}: expected {what}(...) that can be read without running the file, found one whose turn depends on "
            "a condition or loop that only a run decides; define it plainly at the top of the file"
        )
    views, unread = _views(root, kind, made)
    services = _services(made, views, unread)
    if not views:
        found = "; ".join(f"{name}: {why}" for name, why in unread.items()) or "no feature view"
        raise FeastError(f"{root}: expected at least one FeatureView over a Parquet file, found {found}")
    project = settings.get("project", root.name)
    return Repository(root, project, STORES[kind], tuple(views.values()), unread, services)


def _views(root: Path, store: str, made: list[Made]) -> tuple[dict[str, View], dict[str, str]]:
    entities = {_text(m, "name"): m for m in made if m.kind == "Entity"}
    views: dict[str, View] = {}
    unread: dict[str, str] = {}
    for definition in made:
        kind = _DECORATORS.get(definition.kind, definition.kind)
        if kind not in _VIEWS | _OTHER_VIEWS.keys():
            continue
        name = _text(definition, "name")
        if name in views or name in unread:
            raise FeastError(f"{definition.place}: expected one view named {name!r}, found another of this name")
        source = None if kind in _OTHER_VIEWS else _batch_source(definition)
        why = _OTHER_VIEWS.get(kind) or ("" if store in STORES else f"the offline store is {store}, not files")
        why = why or _unreadable(source)
        if why or source is None:
            unread[name] = why
        else:
            views[name] = _view(root, name, definition, source, entities)
    return views, unread


def _follow(root: Path) -> Reader:
    reader = Reader(root, "feast")
    for path in definition_files(root):
        try:
            if "feast" in path.read_text(encoding="utf-8"):
                reader.follow(path)
        except SyntaxError as error:
            raise FeastError(f"{path.relative_to(root)}:{error.lineno}: expected Python, found {error.msg}") from None
        except UnicodeDecodeError:
            raise FeastError(f"{path.relative_to(root)}: expected UTF-8 text, found other bytes") from None
    return reader


def _bound(reader: Reader) -> Iterator[Made]:
    """Definitions that a module's name holds: only these does ``feast apply`` see."""
    seen: set[int] = set()
    for module in list(reader.modules.values()):
        for value in module.names.values():
            if isinstance(value, Made) and id(value) not in seen:
                seen.add(id(value))
                yield value


def _view(root: Path, name: str, made: Made, source: Made, entities: Mapping[str, Made]) -> View:
    keys = tuple(_join_key(made, entity, entities) for entity in _list(made, "entities"))
    declared = [_named(made, entry) for entry in (_list(made, "schema") or _list(made, "features"))]
    mapping = _get(source, "field_mapping", dict, "a dict of texts", "{'column': 'feature'}") or {}
    path = root / str(_get(source, "path", (str, Path), "a text", '"data/stats.parquet"'))
    schema = _schema(path, source)
    columns = [mapping.get(column, column) for column in schema.names]
    stamp = _optional(source, "timestamp_field") or _optional(source, "event_timestamp_column")
    stamp = stamp or _only_timestamp(schema, path, source)
    created = _optional(source, "created_timestamp_column") or None
    features = [feature for feature in declared if feature not in keys]
    if not features:
        reserved = {stamp, created, *keys}
        features = [c for c in columns if c not in reserved and not c.startswith("__")]
    for column in [*keys, stamp, *([created] if created else []), *features]:
        if column not in columns:
            raise FeastError(
                f"{made.place}: view {name}: expected the column {column!r} in {path}, found {', '.join(columns)}; "
                "mend the definition, or name the column with field_mapping"
            )
    return View(name, keys, path, stamp, created, _ttl_us(made), tuple(features), mapping, made.place)


def _schema(path: Path, source: Made) -> pa.Schema:
    try:
        files = [path] if path.is_file() else sorted(path.rglob("*.parquet"))
        if not files:
            raise FeastError(f"{source.place}: expected a Parquet file or a folder of them at {path}, found none")
        schema = pq.read_schema(files[0])
    except (pa.ArrowInvalid, OSError) as error:
        raise FeastError(f"{source.place}: expected Parquet in {path}, found {error}") from None
    return schema if path.is_file() else pa.unify_schemas([schema, pq.ParquetDataset(path).schema])


def _only_timestamp(schema: pa.Schema, path: Path, source: Made) -> str:
    """As Feast infers it: the one column of a timestamp type."""
    found = [field.name for field in schema if pa.types.is_timestamp(field.type)]
    if len(found) == 1:
        return str(found[0])
    raise FeastError(
        f"{source.place}: expected timestamp_field=, or exactly one timestamp column in {path}, found {len(found)} "
        f'({", ".join(found)}); write timestamp_field="event_timestamp"'
    )


def _batch_source(made: Made) -> Made | None:
    """The source that a view reads in batches: behind a push or stream source, or where a derived view is kept."""
    source: Any = None
    for argument in ("source", "batch_source", "0"):
        source = source if source is not None else made.arguments.get(argument)
    if isinstance(source, list) or (isinstance(source, Made) and source.kind in _VIEWS):
        source = made.arguments.get("sink_source")
    if isinstance(source, Made) and source.kind in _STREAMS:
        source = source.arguments.get("batch_source")
    if source is None or isinstance(source, Made):
        return source
    raise _not_read(
        made, "source", source, "a source that can be read without running the file", "FileSource(path=...)"
    )


def _unreadable(source: Made | None) -> str:
    if source is None:
        return "it has no batch source"
    if source.kind != "FileSource":
        return f"{source.kind} is not a file ({source.place})"
    layout = source.arguments.get("file_format")
    if isinstance(layout, Made) and layout.kind != "ParquetFormat":
        return f"{layout.kind} is not Parquet ({source.place})"
    path = source.arguments.get("path")
    if isinstance(path, str) and "://" in path:
        return f"{path} is not on this machine ({source.place})"
    return ""


def _join_key(view: Made, entity: Any, entities: Mapping[str, Made]) -> str:
    if isinstance(entity, str):
        entity = entities.get(entity, Unknown(view.place, f"no Entity named {entity!r}"))
    if not isinstance(entity, Made) or entity.kind != "Entity":
        raise _not_read(view, "entities", entity, "entities of this repository", "[driver], driver = Entity(name=...)")
    keys = _list(entity, "join_keys")
    key = keys[0] if keys else _optional(entity, "join_key") or _text(entity, "name")
    if not isinstance(key, str):
        raise _not_read(entity, "join_keys", key, "a list with one text", '["driver_id"]')
    return key


def _services(made: list[Made], views: Mapping[str, View], unread: dict[str, str]) -> dict[str, tuple[str, ...]]:
    services = {}
    for service in (m for m in made if m.kind == "FeatureService"):
        name = _text(service, "name")
        try:
            services[name] = tuple(ref for part in _list(service, "features") for ref in _refs(service, part, views))
        except FeastError as error:
            unread[f"service {name}"] = str(error)
    return services


def _refs(service: Made, part: Any, views: Mapping[str, View]) -> list[str]:
    only = None
    if isinstance(part, Made) and part.kind == "[]":
        part, only = part.arguments["of"], part.arguments["key"]
    if not isinstance(part, Made) or isinstance(only, Unknown):
        raise _not_read(service, "features", part, "feature views", "[driver_stats, orders[['total']]]")
    name = _text(part, "name")
    wanted = only if only is not None else (views[name].features if name in views else ())
    return [f"{name}:{feature}" for feature in wanted]


def _ttl_us(made: Made) -> int:
    ttl = _get(made, "ttl", timedelta, "a timedelta", "timedelta(days=1)")
    return 0 if ttl is None else ttl // timedelta(microseconds=1)


def _named(view: Made, entry: Any) -> str:
    if isinstance(entry, Made):
        return _text(entry, "name")
    raise _not_read(view, "schema", entry, "a list of fields", '[Field(name="trips", dtype=Int64)]')


def _text(made: Made, argument: str) -> str:
    text = _get(made, argument, str, "a text", '"driver"', "0")
    if text is None:
        raise FeastError(f"{made.place}: expected {argument}= in {made.kind}(...), found none")
    return str(text)


def _optional(made: Made, argument: str) -> str:
    return _get(made, argument, str, "a text", '"created"') or ""


def _list(made: Made, argument: str) -> list[Any]:
    return list(_get(made, argument, (list, tuple), "a list", "[...]") or [])


def _get(made: Made, argument: str, kind: Any, expected: str, example: str, position: str = "") -> Any:
    """An argument of a definition; None where it is not given."""
    value = made.arguments.get(argument, made.arguments.get(position))
    if value is None and "**" in made.arguments:
        value = made.arguments["**"]
    if value is None or isinstance(value, kind):
        return value
    raise _not_read(made, argument, value, expected, example)


def _not_read(made: Made, argument: str, value: Any, expected: str, example: str) -> FeastError:
    place, found = made.place, f"{value!r}"
    if isinstance(value, Unknown):
        place, found = value.place, f"{value.why}, which only a run could tell"
    elif isinstance(value, Made):
        found = f"{value.kind}(...)"
    elif hasattr(value, "name"):
        found = str(value.name)
    return FeastError(
        f"{place}: expected {argument}= of {made.kind} ({made.place}) as {expected}, found {found}; "
        f"write it out, such as {argument}={example}"
    )
