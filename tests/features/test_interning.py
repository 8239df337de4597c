"""Numbers of entities: exact, stable, and hashed as everywhere else."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.interning import Interner
from features.kernels import texts
from features.lineage import text_hash

TEXTS = st.lists(st.text(max_size=3) | st.text(st.sampled_from("aé😀"), max_size=70), max_size=60)


@given(TEXTS, TEXTS)
def test_numbers_are_those_of_a_plain_dictionary(first, second):
    """First seen, first numbered; also after a restore in mid-stream, also in a slice of a batch."""
    known: dict[str, int] = {}
    expected = [known.setdefault(t, len(known)) for t in first + second]
    ids = Interner()
    found = ids.number(pa.array(first, pa.utf8())).tolist()
    restored = Interner()
    restored.restore(ids.snapshot())
    found += restored.number(pa.array(["x", *second], pa.utf8()).slice(1)).tolist()
    assert found == expected
    assert list(restored) == list(known)
    assert restored.hashes.tolist() == [text_hash(t) for t in known]
    numbers = np.array(expected, np.int32)
    assert restored.take(numbers).to_pylist() == first + second


def test_texts_with_one_hash_stay_apart(monkeypatch):
    """Two users with one number would share a history; whole texts are compared, not hashes."""
    ids = Interner()
    ids.number(pa.array(["a"]))
    ids._hashes[0] = text_hash("b")
    ids._rebuild(64)
    assert ids.number(pa.array(["b", "a", "b"])).tolist() == [1, 2, 1]


def test_there_is_no_text_beyond_the_last():
    ids = Interner()
    ids.number(pa.array(["a", "b"]))
    assert (ids[:2], len(ids)) == (["a", "b"], 2)
    with pytest.raises(IndexError, match="found 2"):
        ids[2]
    assert hasattr(texts.xxh64, "py_func")
