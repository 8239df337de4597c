"""What is the value of this expression, if it can be known without running it?

Names, texts, paths, durations and containers of them are put together by a few idioms; these are followed exactly,
by the operations themselves, on values that are all known. Whatever else is met is `Unknown`: where, and why.
"""

import ast
import operator
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

#: Longest loop, longest repetition, deepest call and most expressions that are followed; real definitions stay far
#: below, and a file that does not must not hold up an audit.
ITEMS_MAX = 10_000
DEPTH_MAX = 30
STEPS_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that only a run could tell: where it comes from, and why."""

    place: str
    why: str


@dataclass(frozen=True, slots=True)
class Symbol:
    """Something from outside of the files, by its full name, such as ``feast.FileSource``."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """A call of a class or decorator of the library: its last name, what it was given, where."""

    kind: str
    arguments: Mapping[str, Any]
    place: str


@dataclass(slots=True, eq=False)
class Function:
    """A function of the files; its body is followed when it is called."""

    node: ast.FunctionDef | ast.AsyncFunctionDef
    module: "Module"
    was_called: bool = False


@dataclass(slots=True, eq=False)
class Module:
    """One file that was followed: its names, as they stand at its end."""

    path: Path
    tree: ast.Module
    names: dict[str, Any] = field(default_factory=dict)
    functions: list[Function] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)  # calls that were followed, or that can never happen


class Following(Protocol):
    """What expressions need to know about the folder they are part of."""

    steps: int

    def place(self, module: Module, node: ast.AST) -> str:
        """``file:line``."""

    def kind(self, symbol: Symbol) -> str:
        """The last name of something of the library, ``""`` for anything else."""


_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.BitOr: operator.or_,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
}
_CALLS: dict[str, Callable[..., Any]] = {
    "datetime.timedelta": timedelta,
    "pathlib.Path": Path,
    "pathlib.PurePath": Path,
    "os.fspath": os.fspath,
    **{f"os.path.{name}": getattr(os.path, name) for name in ("join", "dirname", "basename", "normpath", "abspath")},
    "os.path.realpath": os.path.realpath,
    **{f"builtins.{kind.__name__}": kind for kind in (str, int, float, bool, list, tuple, dict, set, range)},
    "builtins.sorted": sorted,
    "builtins.len": len,
    "builtins.zip": zip,
    "builtins.enumerate": enumerate,
}
#: What may be asked of a value: nothing of this looks at the world or grows without bound.
_METHODS: dict[type, frozenset[str]] = {
    str: frozenset({"format", "join", "lower", "upper", "strip", "rstrip", "replace", "split", "removesuffix"}),
    list: frozenset({"append", "extend", "copy", "index"}),
    dict: frozenset({"get", "items", "keys", "values", "copy", "update"}),
    timedelta: frozenset({"total_seconds"}),
    Path: frozenset({"joinpath", "resolve", "absolute", "as_posix", "with_name", "with_suffix"}),
}
_ATTRIBUTES: dict[type, frozenset[str]] = {
    Path: frozenset({"parent", "parents", "name", "stem", "suffix"}),
    timedelta: frozenset({"days", "seconds"}),
}


class Expressions:
    """Follows expressions in one scope."""

    def __init__(self, reader: Following, module: Module, names: dict[str, Any], depth: int = 0) -> None:
        self.reader, self.module, self.names, self.depth = reader, module, names, depth

    def unknown(self, node: ast.AST, why: str) -> Unknown:
        return Unknown(self.reader.place(self.module, node), why)

    def items(self, value: Any) -> list[Any] | None:
        """The items of a value that can be looped over and is short enough; None for any other."""
        if isinstance(
            value, list | tuple | dict | set | range | type({}.items()) | type({}.values()) | type({}.keys())
        ):
            return list(value) if len(value) <= ITEMS_MAX else None
        return list(value) if isinstance(value, zip | enumerate) else None

    def bind(self, target: ast.expr, value: Any) -> None:
        match target:
            case ast.Name():
                self.names[target.id] = value
            case ast.Tuple() | ast.List():
                items = self.items(value)
                if items is None or len(items) != len(target.elts):
                    items = [value if isinstance(value, Unknown) else self.unknown(target, "what cannot be unpacked")]
                    items *= len(target.elts)
                for part, item in zip(target.elts, items, strict=True):
                    self.bind(part, item)
            case ast.Subscript():
                held, key = self.value(target.value), self.value(target.slice)
                if isinstance(held, dict) and isinstance(key, str | int):
                    held[key] = value

    def value(self, node: ast.expr) -> Any:
        """The value of an expression, or `Unknown`."""
        self.reader.steps += 1
        if self.reader.steps > STEPS_MAX:
            return self.unknown(node, f"more than {STEPS_MAX:,} steps")
        try:
            return self.known(node)
        except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError, RecursionError) as error:
            return self.unknown(node, f"{ast.unparse(node)}, which fails ({error})")

    def known(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant():
                return node.value
            case ast.Name():
                return self.name(node)
            case ast.Attribute():
                return self.attribute(node)
            case ast.Subscript():
                return self.subscript(node)
            case ast.List() | ast.Tuple() | ast.Set():
                return self.display(node)
            case ast.Dict():
                return self.dict_(node)
            case ast.JoinedStr():
                return self.joined_text(node)
            case ast.BinOp():
                return self.binary(node, node.op, self.value(node.left), self.value(node.right))
            case ast.UnaryOp(op=op) if type(op) in _UNARY:
                return self.strict(node, [self.value(node.operand)], _UNARY[type(op)])
            case ast.Compare(ops=[op], comparators=[right]):
                return self.strict(node, [self.value(node.left), self.value(right)], _COMPARE[type(op)])
            case ast.BoolOp():
                return self.bool_(node)
            case ast.IfExp():
                test = self.value(node.test)
                return test if isinstance(test, Unknown) else self.value(node.body if test else node.orelse)
            case ast.ListComp(elt=elt) | ast.GeneratorExp(elt=elt) | ast.SetComp(elt=elt):
                return self.comprehension(node, node.generators, lambda run: run.value(elt))
            case ast.DictComp():
                pairs = self.comprehension(
                    node, node.generators, lambda run: (run.value(node.key), run.value(node.value))
                )
                return pairs if isinstance(pairs, Unknown) else dict(pairs)
            case ast.Call():
                return self.call(node)
        return self.unknown(node, ast.unparse(node))

    def name(self, node: ast.Name) -> Any:
        if node.id in self.names:
            return self.names[node.id]
        if node.id in self.module.names:
            return self.module.names[node.id]
        if f"builtins.{node.id}" in _CALLS:
            return Symbol(f"builtins.{node.id}")
        return self.unknown(node, f"the name {node.id}, which is not set before")

    def attribute(self, node: ast.Attribute) -> Any:
        held = self.value(node.value)
        if isinstance(held, Unknown):
            return held
        if isinstance(held, Symbol):
            return Symbol(f"{held.name}.{node.attr}")
        if isinstance(held, Module) and node.attr in held.names:
            return held.names[node.attr]
        if isinstance(held, Made) and node.attr in held.arguments:
            return held.arguments[node.attr]
        if any(isinstance(held, kind) and node.attr in names for kind, names in _ATTRIBUTES.items()):
            return getattr(held, node.attr)
        return self.unknown(node, ast.unparse(node))

    def subscript(self, node: ast.Subscript) -> Any:
        held = self.value(node.value)
        if isinstance(held, Made):
            return Made("[]", {"of": held, "key": self.value(node.slice)}, self.reader.place(self.module, node))
        if isinstance(node.slice, ast.Slice):
            bounds = [
                None if b is None else self.value(b) for b in (node.slice.lower, node.slice.upper, node.slice.step)
            ]
            return self.strict(node, [held, *bounds], lambda h, *b: h[slice(*b)])
        return self.strict(node, [held, self.value(node.slice)], operator.getitem)

    def display(self, node: ast.List | ast.Tuple | ast.Set) -> Any:
        items: list[Any] = []
        for element in node.elts:
            if isinstance(element, ast.Starred):
                more = self.items(self.value(element.value))
                if more is None:
                    return self.unknown(element, ast.unparse(element))
                items += more
            else:
                items.append(self.value(element))
        return tuple(items) if isinstance(node, ast.Tuple) else items

    def dict_(self, node: ast.Dict) -> Any:
        held: dict[Any, Any] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                more = self.value(value)
                if not isinstance(more, dict):
                    return self.unknown(value, f"**{ast.unparse(value)}")
                held.update(more)
            else:
                held[self.value(key)] = self.value(value)
        return held

    def joined_text(self, node: ast.JoinedStr) -> Any:
        parts = []
        for part in node.values:
            value = self.value(part.value if isinstance(part, ast.FormattedValue) else part)
            if isinstance(part, ast.FormattedValue):
                form = "" if part.format_spec is None else self.value(part.format_spec)
                value = self.strict(node, [value, form], _formatted)
            if isinstance(value, Unknown):
                return value
            parts.append(value)
        return "".join(parts)

    def binary(self, node: ast.AST, op: ast.operator, left: Any, right: Any) -> Any:
        if isinstance(op, ast.Mult) and any(isinstance(x, str | list | tuple) for x in (left, right)):
            times = right if isinstance(right, int) else left
            if not isinstance(times, int) or times > ITEMS_MAX:
                return self.unknown(node, "a long repetition")
        if type(op) not in _BINARY:
            return self.unknown(node, "an operation that is not followed")
        return self.strict(node, [left, right], _BINARY[type(op)])

    def bool_(self, node: ast.BoolOp) -> Any:
        value: Any = None
        for expression in node.values:
            value = self.value(expression)
            if isinstance(value, Unknown) or bool(value) is isinstance(node.op, ast.Or):
                return value
        return value

    def comprehension(
        self, node: ast.expr, generators: list[ast.comprehension], make: Callable[["Expressions"], Any]
    ) -> list[Any] | Unknown:
        scope = type(self)(self.reader, self.module, dict(self.names), self.depth)
        if not generators:
            return [make(scope)]
        made: list[Any] = []
        items = self.items(self.value(generators[0].iter))
        if items is None:
            return self.unknown(node, f"a loop over {ast.unparse(generators[0].iter)}")
        for item in items:
            scope.bind(generators[0].target, item)
            tests = [scope.value(test) for test in generators[0].ifs]
            if any(isinstance(test, Unknown) for test in tests):
                return self.unknown(node, ast.unparse(node))
            if all(tests):
                inner = scope.comprehension(node, generators[1:], make)
                if isinstance(inner, Unknown):
                    return inner
                made += inner
        return made

    def call(self, node: ast.Call) -> Any:
        if isinstance(node.func, ast.Attribute):
            held = self.value(node.func.value)
            if any(isinstance(held, kind) and node.func.attr in names for kind, names in _METHODS.items()):
                arguments, named = self.arguments(node)
                if node.func.attr in {"append", "extend", "update", "get"}:  # these may hold what is unknown
                    return getattr(held, node.func.attr)(*arguments, **named)
                return self.strict(node, arguments, lambda *a: getattr(held, node.func.attr)(*a, **named))  # type: ignore[attr-defined]
        called = self.value(node.func)
        arguments, named = self.arguments(node)
        if isinstance(called, Symbol) and self.reader.kind(called):
            self.module.seen.add(id(node))
            positional = {str(i): value for i, value in enumerate(arguments)}
            return Made(self.reader.kind(called), {**positional, **named}, self.reader.place(self.module, node))
        if isinstance(called, Function):
            return self.inside(node, called, arguments, named)
        if isinstance(called, Symbol) and called.name in _CALLS:
            function = _CALLS[called.name]
            return self.strict(node, [*arguments, *named.values()], lambda *_: function(*arguments, **named))
        if isinstance(called, Unknown):
            return called
        return self.unknown(node, f"a call of {ast.unparse(node.func)}()")

    def arguments(self, node: ast.Call) -> tuple[list[Any], dict[str, Any]]:
        arguments: list[Any] = []
        for argument in node.args:
            if isinstance(argument, ast.Starred):
                arguments += self.items(self.value(argument.value)) or [self.unknown(argument, ast.unparse(argument))]
            else:
                arguments.append(self.value(argument))
        named: dict[str, Any] = {}
        for keyword in node.keywords:
            value = self.value(keyword.value)
            if keyword.arg is not None:
                named[keyword.arg] = value
            elif isinstance(value, dict):
                named.update(value)
            else:
                named["**"] = self.unknown(keyword.value, f"**{ast.unparse(keyword.value)}")
        return arguments, named

    def inside(self, node: ast.Call, function: Function, arguments: list[Any], named: dict[str, Any]) -> Any:
        """The value that a function of the files returns."""
        function.was_called = True
        wanted = function.node.args
        if self.depth >= DEPTH_MAX or wanted.vararg or wanted.kwarg or function.node.decorator_list:
            return self.unknown(node, f"a call of {function.node.name}()")
        parameters = [*wanted.posonlyargs, *wanted.args]
        defaults = dict(zip((p.arg for p in parameters[::-1]), wanted.defaults[::-1], strict=False))
        defaults |= {p.arg: d for p, d in zip(wanted.kwonlyargs, wanted.kw_defaults, strict=True) if d is not None}
        outer = type(self)(self.reader, function.module, function.module.names, self.depth + 1)
        scope = {name: outer.value(default) for name, default in defaults.items()}
        scope |= dict(zip((p.arg for p in parameters), arguments, strict=False)) | named
        return type(self)(self.reader, function.module, scope, self.depth + 1).returned(function.node.body)

    def returned(self, body: Iterable[ast.stmt]) -> Any:
        """What the statements of a function return."""
        raise NotImplementedError

    def strict(self, node: ast.AST, operands: list[Any], operation: Callable[..., Any]) -> Any:
        """The operation on values that are all known."""
        for operand in operands:
            if isinstance(operand, Unknown):
                return operand
            if isinstance(operand, Symbol | Module | Function | Made):
                name = getattr(operand, "name", None) or getattr(operand, "kind", "something of another file")
                return self.unknown(node, str(name))
        return operation(*operands)


def _formatted(value: Any, form: str) -> str:
    return format(value, form) if form else str(value)
