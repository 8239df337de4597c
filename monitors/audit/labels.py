"""Which question does the label ask: one of two classes, or how much?"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.kinds import shown
from features.numerals import has_numerals, numerals
from features.plain import is_texts, plain, valid

Float64 = npt.NDArray[np.float64]

#: Classes that a sentence names.
_NAMED_MAX = 5


@dataclass(frozen=True, slots=True)
class Label:
    """The label as numbers.

    Parameters
    ----------
    values
        float64[n]: 1 for the positive class and 0 for the other, or the numbers themselves; NaN where there is none.
    is_binary
        Which of the two.
    positive
        The positive class as text: the greater of two numbers, the rarer of two texts; ``""`` for numbers.
    """

    values: Float64
    is_binary: bool
    positive: str = ""


def read_label(column: pa.Array) -> Label | str:
    """The label, or a sentence that says why it cannot be used.

    Numbers, truth values and texts that all spell one are numbers; two values of anything are classes. NULL, NaN and
    infinite numbers are no label.

    Examples
    --------
    >>> read = read_label(pa.array(["stayed", "left", None, "stayed"]))
    >>> read.values.tolist(), read.is_binary, read.positive
    ([0.0, 1.0, nan, 0.0], True, 'left')
    """
    column = plain(column)
    if column.null_count == len(column):
        return "the label is NULL in every row"
    values = _numbers(column)
    if values is None:
        return _classes(column)
    values = np.where(np.isfinite(values), values, np.nan)
    seen = np.unique(values[~np.isnan(values)])
    if seen.size == 0:
        return "the label is no finite number in any row"
    first = [shown(column, int(np.flatnonzero(values == value)[0])) for value in (seen[0], seen[-1])]
    if seen.size == 1:
        return _one_class(str(first[0]), int(np.isnan(values).sum()))
    if seen.size > 2:
        return Label(values, False)
    return Label(np.where(np.isnan(values), np.nan, (values == seen[1]).astype(np.float64)), True, str(first[1]))


def _numbers(column: pa.Array) -> Float64 | None:
    if pa.types.is_temporal(column.type) or not has_numerals(column.type):
        return None
    read = numerals(column)
    return read.floats if bool((read.is_number | ~valid(column)).all()) else None


def _classes(column: pa.Array) -> Label | str:
    if not is_texts(column.type):
        return f"expected a label of two classes or of numbers, found {column.type}"
    coded = column.dictionary_encode()
    names = sorted(coded.dictionary.to_pylist())
    if len(names) == 1:
        return _one_class(str(names[0]), column.null_count)
    if len(names) > 2:
        some = ", ".join(repr(name) for name in names[:_NAMED_MAX])
        more = ", …" if len(names) > _NAMED_MAX else ""
        return f"expected a label of two classes or of numbers, found {len(names):,} classes: {some}{more}"
    is_last = pc.equal(column, pa.scalar(names[1], column.type)).cast(pa.float64()).fill_null(np.nan).to_numpy()
    # Of two texts nobody knows which one is meant; what people look for is the rarer one.
    is_rarer = float(np.nansum(is_last)) * 2 <= len(column) - column.null_count
    return Label(is_last, True, str(names[1])) if is_rarer else Label(1.0 - is_last, True, str(names[0]))


def _one_class(name: str, missing: int) -> str:
    beside = f", and NULL in {missing:,} rows (where NULL means no, write 0)" if missing else ""
    return f"the label has one class only: {name}{beside}"
