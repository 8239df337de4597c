"""What did the user mean by these tables?

Takes parsed TOML with the names of its files and gives `Definitions`, or every mistake in it at once. Unknown keys
are mistakes: a key that is ignored is a promise that nobody keeps. What is known and not built yet is refused by
name for the same reason.
"""

import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from features import declared, design, tables
from features.crosscheck import cross_check
from features.definitions import Definitions, Precedes, Run
from features.lineage import text_hash
from features.problems import Code, DeclarationError, Problem, Where, nearest

File = tuple[str, Mapping[str, Any]]
T = TypeVar("T")

#: Tables whose entries are merged key by key over files; in the others a name belongs to one file.
_SINGLE = ("run", "order", "budget", "kafka")
_NAMED = ("source", "feature", "model")


def declare(files: Sequence[File]) -> Definitions:
    """The definitions in `files`, pairs of a name for messages and a parsed TOML document, merged in order.

    Raises
    ------
    DeclarationError
        With every mistake found.

    Examples
    --------
    >>> found = declare([("t.toml", {"source": {"clicks": {"entity": {"user": "user_id"}}}})])
    >>> found.sources["clicks"].topic, found.sources["clicks"].entity_type, len(found.digest)
    ('clicks', 'user', 16)
    >>> declare([("t.toml", {"run": {"clok": "data"}})])
    Traceback (most recent call last):
    features.problems.DeclarationError: t.toml: [run] clok: unknown key; did you mean 'clock'? (TM101)
    """
    problems: list[Problem] = []
    merged = _merge(files, problems)
    reader = _Reader(merged, problems)
    run = reader.run()
    sources = reader.named("source", declared.SourceTable, tables.source)
    features = reader.named("feature", declared.FeatureTable, tables.feature)
    models = reader.named("model", declared.ModelTable, tables.model)
    definitions = Definitions(
        run=run,
        sources=sources,
        features=features,
        models=models,
        kafka=reader.kafka(),
        order=reader.order(),
    )
    places = {f"{kind}.{name}": where.file for (kind, name), (where, _) in merged.items()}
    definitions = cross_check(definitions, places, problems)
    if problems:
        turn = {file: i for i, (file, _) in enumerate(files)}
        raise DeclarationError(sorted(problems, key=lambda p: turn.get(p.file, -1)))
    return msgspec.structs.replace(definitions, digest=digest(definitions))


def digest(definitions: Definitions) -> str:
    """16 hexadecimal digits of everything declared but the client settings: equal for equal configurations."""
    plain = msgspec.structs.replace(definitions, digest="", kafka={})
    return format(text_hash(msgspec.json.encode(plain, order="deterministic").decode()), "016x")


Tables = dict[tuple[str, str], tuple[Where, dict[str, Any]]]


def _merge(files: Sequence[File], problems: list[Problem]) -> Tables:
    """Every table by (kind, name), with where it stands; single tables have the name ""."""
    tables: Tables = {}
    for file, document in files:
        for kind, content in document.items():
            whole = Where(file, kind, problems)
            if kind not in (*_SINGLE, *_NAMED):
                near = nearest(kind, (*_SINGLE, *_NAMED))
                whole.complain(Code.UNKNOWN_TABLE, "", "unknown table", near)
            elif not isinstance(content, Mapping):
                whole.complain(Code.WRONG_VALUE, "", f"expected a table, found {content!r:.60}")
            elif kind in _SINGLE:
                _merge_keys(tables, kind, file, content, problems)
            else:
                for name, table in content.items():
                    _add(tables, kind, name, file, table, problems)
    return tables


def _merge_keys(tables: Tables, kind: str, file: str, content: Mapping[str, Any], problems: list[Problem]) -> None:
    where, merged = tables.setdefault((kind, ""), (Where(file, kind, problems), {}))
    for key, value in content.items():
        if key in merged:
            other = where.files[key]
            Where(file, kind, problems).complain(Code.DECLARED_TWICE, key, f"already declared in {other}")
            continue
        merged[key] = value
        where.files[key] = file


def _add(tables: Tables, kind: str, name: str, file: str, table: Any, problems: list[Problem]) -> None:
    where = Where(file, f"{kind}.{name}", problems)
    if not isinstance(table, Mapping):
        where.complain(Code.WRONG_VALUE, "", f"expected a table, found {table!r:.60}")
    elif (kind, name) in tables:
        other = tables[kind, name][0].file
        where.complain(Code.DECLARED_TWICE, "", f"already declared in {other}")
    else:
        tables[kind, name] = (where, dict(table))


class _Reader:
    """Turns merged tables into typed ones."""

    def __init__(self, tables: Tables, problems: list[Problem]) -> None:
        self._tables = tables
        self._problems = problems

    def run(self) -> Run:
        """The [run] table, and what [budget] asks for."""
        where, content = self._single("run")
        table = typed(where, content, declared.RunTable) or declared.RunTable()
        budget_where, budget = self._single("budget")
        scope = typed(budget_where, budget, declared.BudgetTable)
        if scope is not None and scope.scope != "model":
            budget_where.complain(Code.NOT_SUPPORTED_YET, "scope", f"{scope.scope!r} is not supported yet, use 'model'")
        unset_error_us = 0 if table.clock == "data" else 1_000_000
        error_us = where.maybe_us("clock_error", table.clock_error)
        return Run(
            clock=table.clock,
            partitions=table.partitions,
            clock_error_us=unset_error_us if error_us is None else error_us,
            environment=table.environment,
            prefix=table.prefix,
            history_us=where.us("history", table.history, above=0),
            snapshot_every_us=where.us("snapshot_every", table.snapshot_every, above=0),
            commit_every_us=where.us("commit_every", table.commit_every, above=0),
        )

    def named(self, kind: str, struct: type[T], build: Callable[[Where, str, T], Any]) -> dict[str, Any]:
        """All tables of one kind, by name, in order of declaration."""
        out = {}
        for (of, name), (where, content) in self._tables.items():
            table = typed(where, content, struct) if of == kind else None
            if table is not None:
                out[name] = build(where, name, table)
        return out

    def kafka(self) -> dict[str, str]:
        """Client settings as the texts that librdkafka takes."""
        where, content = self._single("kafka")
        for key, value in content.items():
            if not isinstance(value, str | int | float):
                # Never the value: it may be a secret.
                where.complain(
                    Code.WRONG_VALUE, key, f"expected a text, number or boolean, found a {type(value).__name__}"
                )
        return {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in content.items()}

    def order(self) -> dict[str, tuple[Precedes, ...]]:
        """The [order] table."""
        where, content = self._single("order")
        out = {}
        for event, rules in content.items():
            found = _converted(where, event, rules, list[declared.OrderRule])
            out[event] = tuple(design.precedes(where, event, rule) for rule in found or [])
        design.check_order(where, out)
        return out

    def _single(self, kind: str) -> tuple[Where, dict[str, Any]]:
        return self._tables.get((kind, ""), (Where("", kind, self._problems), {}))


def typed(where: Where, content: Mapping[str, Any], struct: type[T]) -> T | None:
    """The table as a Struct, or None after noting every key that is unknown, missing or of a wrong type."""
    before = len(where.problems)
    _check_keys(where, "", content, struct)
    return msgspec.convert(content, struct) if len(where.problems) == before else None


def _check_keys(where: Where, path: str, content: Mapping[str, Any], struct: Any) -> None:
    known = {f.name: f for f in msgspec.structs.fields(struct)}
    for key, value in content.items():
        if key not in known:
            where.complain(Code.UNKNOWN_KEY, path + key, "unknown key", nearest(key, known))
            continue
        inner, values = _table_in(known[key].type), _values_in(known[key].type)
        if inner is not None and isinstance(value, Mapping):
            _check_keys(where, f"{path}{key}.", value, inner)
        elif values is not None and isinstance(value, Mapping):
            for name, item in value.items():
                _converted(where, f"{path}{key}.{name}", item, values)
        else:
            _converted(where, path + key, value, known[key].type)
    for name, of in known.items():
        if of.required and name not in content:
            where.complain(Code.MISSING_KEY, path + name, "expected this key, found none")


def _converted(where: Where, key: str, value: Any, wanted: Any) -> Any:
    try:
        return msgspec.convert(value, wanted)
    except msgspec.ValidationError as error:
        words = _words_in(wanted)
        if words:
            message = f"expected one of {', '.join(words)}, found {value!r:.60}"
            where.complain(Code.WRONG_VALUE, key, message, nearest(str(value), words))
        else:
            text = str(error).replace("`", "")
            where.complain(Code.WRONG_VALUE, key, f"{text[0].lower()}{text[1:]}; found {value!r:.60}")
        return None


def _words_in(wanted: Any) -> list[str]:
    """The words of a key that takes one of a few."""
    if typing.get_origin(wanted) is typing.Literal:
        return list(typing.get_args(wanted))
    return [word for part in typing.get_args(wanted) for word in _words_in(part)] if _is_union(wanted) else []


def _is_union(wanted: Any) -> bool:
    return typing.get_origin(wanted) in (typing.Union, types.UnionType)


def _values_in(wanted: Any) -> Any:
    """The type of the values of a key that holds a table of any names; None if it holds something else."""
    return _found(wanted, lambda of: typing.get_args(of)[1] if typing.get_origin(of) is dict else None)


def _table_in(wanted: Any) -> Any:
    """The Struct among the types that a key may have; None if there is none."""
    return _found(wanted, lambda of: of if isinstance(of, type) and issubclass(of, declared.Table) else None)


def _found(wanted: Any, look: Callable[[Any], Any]) -> Any:
    """The first that `look` finds in a type, its annotated self and the parts of its union."""
    if typing.get_origin(wanted) is typing.Annotated:
        return _found(wanted.__origin__, look)
    parts = typing.get_args(wanted) if _is_union(wanted) else (wanted,)
    if len(parts) > 1:
        return next((found for part in parts if (found := _found(part, look)) is not None), None)
    return look(wanted)
