"""A closed language: what one row can say, and nothing else."""

import numpy as np
import pyarrow as pa
import pytest

from features.expressions import ExpressionError, columns_of, compile_expression, evaluate, infer_kinds

KINDS = {"page": "text", "x": "number", "ok": "bool", "any": "any"}


@pytest.mark.parametrize(
    "text",
    [
        "sum(x)", "count(*)", "x > (select 1)", "x in (select x)", "x over (partition by page)", "row_number() > 1",
        "lag(x) > 1", "random() > 1", "now() > x", "current_date > x", "current_timestamp", "date '2020-01-01' > x",
        "cast(page as int)", "page::int", "x > 1; x", "x -- y", "x /* y */", "x >", "", "   ", "x[0]", "page.x",
        "missing > 1",
        "page > 5", "page", "strptime(page, 'x')", "regexp_like(page, '(')", "distinct x", "x collate c", "*", "'x'",
        "\"x", "unnest(x)", "x = any(x)", "exists (select 1)", "x" * 3000, "(" * 900 + "x" + ")" * 900,
    ],
)  # fmt: skip
def test_what_is_no_expression_over_one_row_is_refused(text):
    """Other rows, the clock and chance would make stream and replay differ."""
    with pytest.raises(ExpressionError, match="expected"):
        compile_expression(text, KINDS)


def test_refusals_say_what_is_nearest():
    with pytest.raises(ExpressionError, match="found 'pagee'; nearest: 'page'"):
        compile_expression("pagee = 'x'", KINDS)
    with pytest.raises(ExpressionError, match="expected true or false"):
        compile_expression("x + 1", KINDS, result="bool")
    with pytest.raises(ExpressionError, match="expected a number"):
        compile_expression("page", KINDS, result="number")
    with pytest.raises(ExpressionError, match="try_cast"):
        compile_expression("cast(page as int) > 1", KINDS)


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("page <> 'health'", {"page": "text"}),
        ("amount BETWEEN 1 AND 2 OR page IN ('a', 'b')", {"amount": "number", "page": "text"}),
        ("NOT bot AND seconds > 2", {"bot": "bool", "seconds": "number"}),
        ("ok", {"ok": "bool"}),
        ("a = b", {"a": "number", "b": "number"}),
        ("seen IS NULL", {"seen": "any"}),
        ("\"select\" = 'it''s'", {"select": "text"}),
        ("1 = 1", {}),
    ],
)
def test_kinds_are_found_by_trial(text, kinds):
    """Nobody has to declare what the expression already says."""
    assert infer_kinds(text, result="bool") == kinds
    assert columns_of(text) == list(kinds)


def test_words_that_only_look_like_columns_are_refused():
    """Else the clock would come in under the name of a column that no source has."""
    for text in ("current_date = current_date", "date '2020-01-01' = date '2020-01-02'", "current_timestamp IS NULL"):
        with pytest.raises(ExpressionError, match="columns alone"):
            infer_kinds(text)


def test_known_kinds_are_kept():
    """A declared text column compared with another is a text, though numbers would fit as well."""
    assert infer_kinds("a = b", {"a": "text", "b": "any"}) == {"a": "text", "b": "text"}
    with pytest.raises(ExpressionError, match="columns of the source"):
        infer_kinds("a = b", ["a"])


def test_values_are_those_of_three_valued_logic_with_null_not_selected():
    """NULL <> 'health' is unknown, and unknown is not chosen."""
    rows = pa.RecordBatch.from_pydict(
        {
            "page": ["home", None, "health"],
            "x": [1.0, 0.0, None],
            "any": ["2", "true", None],
            "any.hash": pa.array([1, 2, 0], pa.uint64()),
            "any.number": [2.0, np.nan, np.nan],
        }
    )
    kinds = {"page": "text", "x": "number", "any": "number"}
    texts = ("page <> 'health'", "1 / x", "any + 1", "page IS NULL", "2", "CASE WHEN x > 0 THEN 1 ELSE 0 END")
    found = evaluate([compile_expression(t, kinds) for t in texts], rows)
    assert found[0].tolist() == [True, False, False]
    assert np.array_equal(found[1], [1.0, np.nan, np.nan], equal_nan=True)
    assert np.array_equal(found[2], [3.0, np.nan, np.nan], equal_nan=True)
    assert found[3].tolist() == [False, True, False]
    assert found[4].tolist() == [2.0, 2.0, 2.0]
    assert found[5].tolist() == [1.0, 0.0, 0.0]
    as_bool, as_text = (compile_expression(t, {"any": k}) for t, k in (("NOT any", "bool"), ("any = '2'", "any")))
    assert [e.tolist() for e in evaluate([as_bool, as_text], rows)] == [[False, False, False], [True, False, False]]
    assert evaluate([], rows) == []
