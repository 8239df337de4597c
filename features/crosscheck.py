"""Do the tables agree with each other, and which columns does each source have to bring?"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from features import design
from features.definitions import Definitions, Feature, Kind, Model, Source
from features.problems import Code, Problem, nearest

#: Fields of a logged prediction that may have other names.
PREDICTION_FIELDS = ("prediction_id", "model", "version", "entity", "read_time", "output", "features", "read")


@dataclass(frozen=True, slots=True)
class _Notes:
    """Where complaints go."""

    places: Mapping[str, str]  # table -> file
    problems: list[Problem]
    good: set[str] = field(default_factory=set)  # tables that could be read

    def has_wrong(self, kind: str) -> bool:
        """Is there a table of this kind that could not be read?"""
        return any(place.startswith(f"{kind}.") and place not in self.good for place in self.places)

    def complain(self, code: Code, table: str, key: str, message: str, known: str | None = None) -> None:
        """Note one mistake."""
        file = self.places.get(table, "")
        self.problems.append(Problem(code=code, file=file, table=table, key=key, message=message, nearest=known))

    def exists(self, table: str, key: str, name: str, kind: str, among: Mapping[str, object]) -> bool:
        """Is `name` declared? A table that was declared and is wrong is complained about elsewhere."""
        if name in among or f"{kind}.{name}" in self.places:
            return name in among
        message = f"expected the name of a {kind}, found {name!r}"
        self.complain(Code.UNKNOWN_NAME, table, key, message, nearest(name, among))
        return False


def cross_check(definitions: Definitions, places: Mapping[str, str], problems: list[Problem]) -> Definitions:
    """The definitions with the `kinds` of every source; mistakes are added to `problems`.

    Parameters
    ----------
    places
        The file of every declared table (``"source.clicks"``), wrong ones included.
    """
    notes = _Notes(places, problems)
    logged = {m.predictions for m in definitions.models.values()}
    notes.good.update(f"model.{name}" for name in definitions.models)
    for source in definitions.sources.values():
        (_check_log if source.name in logged else _check_source)(notes, source)
    for feature in definitions.features.values():
        _check_feature(notes, definitions, feature, logged)
    for model in definitions.models.values():
        _check_model(notes, definitions, model, logged)
    _check_topics(notes, definitions)
    sources = {name: _with_kinds(notes, definitions, source) for name, source in definitions.sources.items()}
    sources |= {name: _with_type(notes, definitions, sources[name]) for name in logged if name in sources}
    definitions = msgspec.structs.replace(definitions, sources=sources)
    design.check_names(definitions, places, notes.complain)
    return definitions


def _check_source(notes: _Notes, source: Source) -> None:
    table = f"source.{source.name}"
    if not source.entity_field and not notes.has_wrong("model"):  # else it may be a log of predictions
        notes.complain(Code.MISSING_KEY, table, "entity", "expected { type = field }, found none")
    if source.fields:
        notes.complain(Code.NOT_SUPPORTED_YET, table, "fields", "only logs of predictions have renamed fields yet")
    if source.format == "debezium":
        for key in ("write_time", "visible_time", "txid"):
            if getattr(source, key) is not None:
                notes.complain(
                    Code.CONTRADICTION, table, key, "a change event brings its own (source.ts_us, source.txId)"
                )


def _check_log(notes: _Notes, source: Source) -> None:
    """A log of predictions."""
    table = f"source.{source.name}"
    for key in source.fields:
        if key not in PREDICTION_FIELDS:
            message = f"expected one of {', '.join(PREDICTION_FIELDS)}, found {key!r}"
            notes.complain(Code.UNKNOWN_KEY, table, f"fields.{key}", message, nearest(key, PREDICTION_FIELDS))
    if source.format != "json":
        notes.complain(Code.CONTRADICTION, table, "format", f"predictions are logged as json, found {source.format!r}")
    for key in ("write_time", "visible_time", "txid"):
        if getattr(source, key) is not None:
            notes.complain(Code.CONTRADICTION, table, key, "a log of predictions has a read time only")
    if source.entity_field and source.entity_field != source.fields.get("entity", "entity"):
        own = source.fields.get("entity", "entity")
        message = f"a prediction names its entity in the field {own!r}; rename it with fields"
        notes.complain(Code.CONTRADICTION, table, "entity", message)
    read_time = source.fields.get("read_time", "read_time")
    if source.event_time is not None and source.event_time.field != read_time:
        message = f"the time of a prediction is its read time, the field {read_time!r}; rename it with fields"
        notes.complain(Code.CONTRADICTION, table, "event_time", message)


def _check_feature(notes: _Notes, definitions: Definitions, feature: Feature, logged: set[str]) -> None:
    table = f"feature.{feature.name}"
    if feature.source in logged:
        notes.complain(Code.CONTRADICTION, table, "source", f"{feature.source!r} is a log of predictions, not of facts")
    else:
        notes.exists(table, "source", feature.source, "source", definitions.sources)


def _check_model(notes: _Notes, definitions: Definitions, model: Model, logged: set[str]) -> None:
    table = f"model.{model.name}"
    notes.exists(table, "predictions", model.predictions, "source", definitions.sources)
    for name in model.features:
        if not notes.exists(table, "features", name, "feature", definitions.features):
            continue
        source = definitions.sources.get(definitions.features[name].source)
        if source is not None and source.entity_type not in ("", model.entity_type):
            message = f"{name} is about a {source.entity_type}, this model about a {model.entity_type}"
            notes.complain(Code.CONTRADICTION, table, "features", message)
    for name in model.join:
        if name not in model.features:
            message = f"expected one of the model's features, found {name!r}"
            notes.complain(Code.UNKNOWN_NAME, table, f"join.{name}", message, nearest(name, model.features))
    _check_label(notes, definitions, model, logged)


def _check_label(notes: _Notes, definitions: Definitions, model: Model, logged: set[str]) -> None:
    table = f"model.{model.name}"
    if model.label is None or not notes.exists(
        table, "label.source", model.label.source, "source", definitions.sources
    ):
        return
    source = definitions.sources[model.label.source]
    if source.name in logged:
        notes.complain(
            Code.CONTRADICTION, table, "label.source", f"{source.name!r} is a log of predictions, not of facts"
        )
    elif source.entity_type not in ("", model.entity_type):
        message = f"{source.name} is about a {source.entity_type}, this model about a {model.entity_type}"
        notes.complain(Code.CONTRADICTION, table, "label.source", message)


def _check_topics(notes: _Notes, definitions: Definitions) -> None:
    owners: dict[str, str] = {}
    for source in definitions.sources.values():
        other = owners.setdefault(source.topic, source.name)
        if other != source.name:
            message = f"expected a topic of its own, found {source.topic!r}, which source.{other} reads"
            notes.complain(Code.CONTRADICTION, f"source.{source.name}", "topic", message)
        if definitions.run.prefix and source.topic.startswith(definitions.run.prefix):
            message = f"names that begin with {definitions.run.prefix!r} are ours, found {source.topic!r}"
            notes.complain(Code.CONTRADICTION, f"source.{source.name}", "topic", message)


def _with_kinds(notes: _Notes, definitions: Definitions, source: Source) -> Source:
    """The source with the columns that something reads, and as what."""
    kinds: dict[str, Kind] = {}
    readers: dict[str, str] = {}
    for table, column, kind in _reads(notes, definitions, source):
        known = kinds.get(column, kind)
        if known != kind and "any" not in (known, kind):
            message = f"{column} is read as {kind} here and as {known} in {readers[column]}"
            notes.complain(Code.CONTRADICTION, table, "", message)
        kinds[column] = kind if known == kind else "any"
        readers.setdefault(column, table)
    return msgspec.structs.replace(source, kinds=kinds)


def _with_type(notes: _Notes, definitions: Definitions, source: Source) -> Source:
    """A log of predictions is about what its models are about."""
    found = {m.entity_type for m in definitions.models_of(source.name)} | {source.entity_type} - {""}
    if len(found) > 1:
        message = f"one log for several entity types is not supported yet, found {', '.join(sorted(found))}"
        notes.complain(Code.NOT_SUPPORTED_YET, f"source.{source.name}", "entity", message)
    return msgspec.structs.replace(source, entity_type=min(found))


def _reads(notes: _Notes, definitions: Definitions, source: Source) -> list[tuple[str, str, Kind]]:
    """(table, column, kind) of everything that reads a column of `source`."""
    found: list[tuple[str, str, Kind]] = []
    for feature in definitions.features_of(source.name):
        table = f"feature.{feature.name}"
        if feature.column is not None:
            found.append((table, feature.column, "number" if feature.aggregate else "any"))
        if feature.where is not None:
            found += [(table, c, kind) for c, kind in _inferred(notes, table, "where", feature.where).items()]
        if feature.expr is not None:
            found += [(table, c, kind) for c, kind in _inferred(notes, table, "expr", feature.expr).items()]
    for model in definitions.models.values():
        if model.label is not None and model.label.source == source.name:
            found.append((f"model.{model.name}", model.label.column, "any"))
    return found


def _inferred(notes: _Notes, table: str, key: Literal["where", "expr"], text: str) -> dict[str, Kind]:
    from features.expressions import infer_kinds  # brings Polars, which most configurations need not wait for

    try:
        return infer_kinds(text, result="bool" if key == "where" else "number")
    except ValueError as error:
        notes.complain(Code.EXPRESSION, table, key, str(error))
        return {}
