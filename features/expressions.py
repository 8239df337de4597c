"""What does this line of SQL say about one row?

`where` and `expr` of a feature are closed SQL expressions: columns, literals, operators and a short list of functions.
Nothing that looks at other rows, at the clock or at chance can be written, so stream and batch give the same answer.
Polars evaluates them, once per batch. NULL is not selected; a number that is not finite (1/0, 0/0) is NULL.
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from features.definitions import Kind

Result = Literal["bool", "number"]

#: Everything else is refused by name: what is not listed might look at other rows, the clock or chance, or raise on
#: the value of one row (a strict CAST) and take the batch with it.
FUNCTIONS = frozenset((
    "abs", "ceil", "ceiling", "coalesce", "concat", "ends_with", "exp", "floor", "greatest", "if", "ifnull", "least",
    "left", "length", "ln", "log10", "log2", "lower", "ltrim", "mod", "nullif", "pow", "power", "replace", "right",
    "round", "rtrim", "sign", "sqrt", "starts_with", "substr", "trim", "try_cast", "upper",
))  # fmt: skip
_KEYWORDS = frozenset((
    "and", "as", "between", "case", "distinct", "else", "end", "from", "ilike", "in", "is", "like", "not", "null",
    "or", "then", "true", "false", "when",
))  # fmt: skip
_TYPES = frozenset(["bigint", "boolean", "double", "float", "int", "integer", "real", "text", "varchar"])

#: Columns of one expression: their kinds are found by trial, three candidates each.
COLUMNS_MAX = 8
#: Characters of one expression; nesting is bounded with it.
TEXT_MAX = 2_000

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?) |
    (?P<text>'(?:[^']|'')*') |
    (?P<quoted>"[^"]+") |
    (?P<name>[A-Za-z_]\w*) |
    (?P<sign><>|!=|<=|>=|\|\||[-+*/%=<>(),])
    )""",
    re.VERBOSE,
)
_DTYPES: dict[str, Any] = {"number": pl.Float64, "text": pl.String, "bool": pl.Boolean, "any": pl.String}
#: Values, not NULLs: a conversion that fails on a value must fail here, not on the value of some row.
_PROBES: dict[str, list[Any]] = {
    "number": [0.0, 1.5, -1e300, None],
    "text": ["", "x", "é1", None],
    "bool": [True, False, True, None],
    "any": ["", "x", "true", None],
}
_CANDIDATES: tuple[Kind, ...] = ("number", "text", "bool")
_BOOL_FIRST: tuple[Kind, ...] = ("bool", "number", "text")


class ExpressionError(ValueError):
    """The text is no expression over one row; says what was expected and what was found."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked expression: its text, the kinds of the columns it reads, and what it yields."""

    text: str
    kinds: Mapping[str, Kind]
    result: Result
    compiled: pl.Expr


def columns_of(text: str) -> list[str]:
    """Names of the columns that an expression reads, in order of appearance.

    Raises
    ------
    ExpressionError
        The text is no expression over one row.

    Examples
    --------
    >>> columns_of("page <> 'health' AND amount > 2")
    ['page', 'amount']
    """
    if len(text) > TEXT_MAX:
        raise ExpressionError(f"expected at most {TEXT_MAX} characters, found {len(text)}")
    found: dict[str, None] = {}
    for kind, token, is_call in _tokens(text):
        word = token.lower()
        if kind == "quoted":
            found[token[1:-1]] = None
        elif kind == "name" and is_call and word not in _KEYWORDS | _TYPES:
            _check_function(text, word)
        elif kind == "name" and word not in _KEYWORDS | _TYPES:
            found[token] = None
    if len(found) > COLUMNS_MAX:
        raise ExpressionError(f"expected at most {COLUMNS_MAX} columns in {text!r}, found {len(found)}")
    return list(found)


def infer_kinds(
    text: str, columns: Mapping[str, Kind] | Iterable[str] | None = None, *, result: Result | None = None
) -> dict[str, Kind]:
    """Kinds of the columns an expression reads: the first that type-check, numbers before texts before booleans.

    Parameters
    ----------
    columns
        Names that exist (None: whatever is read), or names with kinds; a kind other than ``any`` is kept.
    result
        What the expression must yield; None: a boolean or a number.

    Notes
    -----
    A column that could be all three, as in ``x IS NULL``, is of kind ``any``.

    Raises
    ------
    ExpressionError
        No combination fits, an unknown column, or no expression over one row.

    Examples
    --------
    >>> infer_kinds("page <> 'health' AND NOT bot AND seconds > 2")
    {'page': 'text', 'bot': 'bool', 'seconds': 'number'}
    """
    names = columns_of(text)
    _check_columns(text, names, columns)
    known = columns if isinstance(columns, Mapping) else {}
    denied = _denied(text)
    choices = [
        (known[n],) if known.get(n, "any") != "any" else _BOOL_FIRST if n in denied else _CANDIDATES for n in names
    ]
    reason = ""
    for kinds in product(*choices):
        candidate: dict[str, Kind] = dict(zip(names, kinds, strict=True))
        try:
            _compile(text, candidate, result)
        except ExpressionError as error:
            reason = reason or str(error)
            continue
        free = [n for n, options in zip(names, choices, strict=True) if len(options) > 1]
        undecided = [n for n in free if all(_fits(text, candidate | {n: k}, result) for k in _CANDIDATES)]
        return candidate | dict.fromkeys(undecided, "any")
    raise ExpressionError(reason)


def compile_expression(text: str, kinds: Mapping[str, Kind], *, result: Result | None = None) -> Expression:
    """Check an expression against the kinds of its columns (``any`` is read as text).

    Raises
    ------
    ExpressionError
        It is not a row-level expression (a subquery, an aggregate, a window, chance, the clock), reads an unknown
        column, or its types do not fit.

    Examples
    --------
    >>> compile_expression("amount / 2", {"amount": "number"}).result
    'number'
    >>> compile_expression("sum(amount) > 2", {"amount": "number"})
    Traceback (most recent call last):
    ...
    features.expressions.ExpressionError: expected functions of one row in 'sum(amount) > 2', found 'sum'
    """
    names = columns_of(text)
    _check_columns(text, names, kinds)
    return _compile(text, {n: kinds[n] for n in names}, result)


def evaluate(expressions: Sequence[Expression], rows: pa.RecordBatch) -> list[npt.NDArray[Any]]:
    """One array per expression: bool[n] (NULL is False) or float64[n] (NaN is NULL).

    A batch column of kind ``any`` is read as the kind that the expression was compiled with.
    """
    if not expressions:
        return []
    outputs: list[npt.NDArray[Any]] = []
    frames: dict[tuple[tuple[str, Kind], ...], pl.DataFrame] = {}
    for expression in expressions:
        key = tuple(expression.kinds.items())
        if key not in frames:
            columns = {n: _column(expression, n, rows) for n in expression.kinds}
            frames[key] = pl.DataFrame(columns | {_ROWS: pl.Series(np.zeros(rows.num_rows, np.int8))})
        frame = frames[key]
        outputs.append(frame.with_columns(expression.compiled.alias(_RESULT))[_RESULT].to_numpy())
    return outputs


_RESULT, _ROWS = "\x1fresult", "\x1frows"  # no column of a payload is called so


def _tokens(text: str) -> list[tuple[str, str, bool]]:
    """(kind, token, whether a bracket follows) of each token."""
    found: list[tuple[str, str]] = []
    at = 0
    end = len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None or text[at:].lstrip().startswith(("--", "/*")):
            raise ExpressionError(f"expected an expression over one row, found {text[at:].strip()[:20]!r} in {text!r}")
        kind = str(match.lastgroup)
        found.append((kind, match[kind]))
        at = match.end()
    if not found:
        raise ExpressionError("expected an expression over one row, found nothing")
    following = [*(token for _, token in found[1:]), ""]
    return [(kind, token, after == "(") for (kind, token), after in zip(found, following, strict=True)]


def _denied(text: str) -> set[str]:
    """Columns that stand alone behind NOT: Polars would take a number there, and nobody means one."""
    tokens = _tokens(text)
    words = [token.lower() for _, token, _ in tokens] + [""]
    ends = {"", "and", "or", "then", "else", "end", "when", ")", ","}
    found = [i for i in range(1, len(tokens)) if words[i - 1] == "not" and words[i + 1] in ends]
    return {tokens[i][1].strip('"') for i in found}


def _check_function(text: str, word: str) -> None:
    if word in FUNCTIONS:
        return
    if word == "cast":
        raise ExpressionError(f"expected try_cast in {text!r}, found 'cast', which fails on values that do not convert")
    raise ExpressionError(f"expected functions of one row in {text!r}, found {word!r}{_nearest(word, FUNCTIONS)}")


def _check_columns(text: str, names: list[str], columns: Mapping[str, Kind] | Iterable[str] | None) -> None:
    if columns is None:
        return
    known = list(columns)
    for name in names:
        if name not in known:
            raise ExpressionError(f"expected columns of the source in {text!r}, found {name!r}{_nearest(name, known)}")


def _nearest(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), 1)
    return f"; nearest: {near[0]!r}" if near else ""


def _compile(text: str, kinds: Mapping[str, Kind], result: Result | None) -> Expression:
    try:
        parsed = pl.sql_expr(text)
        probe = pl.DataFrame({n: pl.Series(_PROBES[k], dtype=_DTYPES[k]) for n, k in kinds.items()} | {_ROWS: range(4)})
        dtype = probe.with_columns(parsed.alias(_RESULT)).schema[_RESULT]
    except (pl.exceptions.PolarsError, TypeError) as error:
        raise ExpressionError(f"expected an expression over one row, found {text!r}: {_first_line(error)}") from None
    if set(parsed.meta.root_names()) != set(kinds):  # current_date and its like look as columns do
        raise ExpressionError(f"expected an expression over columns alone, found {text!r}")
    if dtype == pl.Boolean and result != "number":
        return Expression(text, dict(kinds), "bool", parsed.fill_null(False))
    if (dtype == pl.Boolean or dtype.is_numeric()) and result != "bool":
        number = parsed.cast(pl.Float64)
        return Expression(text, dict(kinds), "number", pl.when(number.is_finite()).then(number).otherwise(float("nan")))
    wanted = "true or false" if result == "bool" else "a number"
    raise ExpressionError(f"expected {wanted} from {text!r}, found {dtype}")


def _fits(text: str, kinds: Mapping[str, Kind], result: Result | None) -> bool:
    try:
        _compile(text, kinds, result)
    except ExpressionError:
        return False
    return True


def _column(expression: Expression, name: str, rows: pa.RecordBatch) -> Any:
    kind = expression.kinds[name]
    if rows.schema.get_field_index(f"{name}.hash") < 0 or kind in ("text", "any"):
        return pl.from_arrow(rows.column(name))
    if kind == "number":
        return pl.Series(rows.column(f"{name}.number").to_numpy()).fill_nan(None)
    text = pl.Series(pl.from_arrow(rows.column(name)))
    return text.replace_strict({"true": True, "false": False}, default=None, return_dtype=pl.Boolean)


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0]
