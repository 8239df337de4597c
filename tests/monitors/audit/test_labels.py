"""Two classes or numbers? The label decides which figure is measured."""

import numpy as np
import pyarrow as pa
import pytest

from monitors.audit.labels import Label, read_label


@pytest.mark.parametrize(
    ("column", "values", "positive"),
    [
        (pa.array([True, False, None]), [1, 0, np.nan], "true"),
        (pa.array([0, 1, 1]), [0, 1, 1], "1"),
        (pa.array([-1, 1, None]), [0, 1, np.nan], "1"),
        (pa.array(["0", "1", None]), [0, 1, np.nan], "1"),
        (pa.array(["true", "false"]), [1, 0], "true"),
        (pa.array([2.5, float("nan"), 1.5]), [1, np.nan, 0], "2.5"),
        (pa.array(["stayed", "left", "stayed", None]), [0, 1, 0, np.nan], "left"),
        (pa.array(["b", "a"]).dictionary_encode(), [1, 0], "b"),
    ],
)
def test_two_values_are_classes(column: pa.Array, values: list[float], positive: str):
    """The greater number, or the rarer text, is what is looked for."""
    read = read_label(column)
    assert isinstance(read, Label)
    assert (read.is_binary, read.positive) == (True, positive)
    assert read.values.tolist() == pytest.approx(values, nan_ok=True)


def test_more_values_are_numbers():
    """Infinite ones are none."""
    read = read_label(pa.array([1.0, 2.0, float("inf"), None, 3.0]))
    assert isinstance(read, Label)
    assert not read.is_binary
    assert read.values.tolist() == pytest.approx([1, 2, np.nan, np.nan, 3], nan_ok=True)
