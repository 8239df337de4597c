"""The verdicts of the stage's oracle against the text of the test written down elsewhere: two independent readings."""

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from tests.oracles.stage_verdicts import Candidate, currents, verdict
from tests.oracles.verdict_twin import Cell, Version, answer

instants = st.one_of(st.integers(-30, 30))
lower = st.one_of(instants, st.just(-inf))
spans = st.one_of(st.integers(0, 25), st.just(inf))
versions = st.lists(st.tuples(lower, spans, st.integers(0, 3)), max_size=9)


@given(versions, st.integers(-10, 10), st.integers(0, 4), st.integers(0, 10), st.integers(0, 10))
def test_enumeration_and_definition_agree(drawn, p, value, named, stamp):
    """NULL is 0 in one and None in the other; a name beyond the history is nobody's."""
    bounds = [(a, inf if length == inf or a == -inf else a + length, v) for a, length, v in drawn]
    theirs = [Version(a, b, v, seq=i, id=i + 1) for i, (a, b, v) in enumerate(bounds)]
    ours = [Candidate(a, b, v or None, i + 1) for i, (a, b, v) in enumerate(bounds)]
    expected = answer(theirs, Cell(p, p + 1, value, named=named, stamp=stamp))
    found = verdict(ours, p, value or None, stamp=stamp or None, named=named or None)
    assert found == (expected.verdict, expected.lead if expected.verdict == "LEAK" else None)


@given(versions, st.integers(-10, 10))
def test_counting_worlds_and_looking_for_a_witness_agree(drawn, p):
    """Histories with many open versions are not enumerated world by world."""
    few = [Candidate(a, inf if length == inf else a + length, v) for a, length, v in drawn if a > -inf][:6]
    by_worlds = currents(few, p)
    must = [v.b <= p for v in few]
    may = [v.a < p + 1 for v in few]
    assert by_worlds == {i for i in range(-1, len(few)) if (i < 0 or may[i] or must[i]) and not any(must[i + 1 :])}
