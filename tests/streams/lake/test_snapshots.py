"""A snapshot is either exactly what was saved, or it is refused."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from streams.lake import snapshots
from tests.streams.lake import rows

SMALL = snapshots.dump(
    {"sums": np.arange(3.0), "raw": b"\x00\x01", "fence": {"events/0": 7}, "none": np.zeros((0, 2), "i4")}
)

arrays = npst.arrays(
    st.sampled_from(["<i8", "<f8", "<u4", "?", "S3", "<U2", ">i2"]),
    npst.array_shapes(min_dims=0, min_side=0, max_side=4),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text(max_size=5), arrays | st.binary(max_size=20) | json_values, max_size=4))
def test_what_is_saved_comes_back(blocks: dict[str, object]) -> None:
    """Type, shape and every byte, NaN and empty arrays included."""
    found = snapshots.load(snapshots.dump(blocks))
    assert list(found) == list(blocks)
    for name, value in blocks.items():
        if isinstance(value, np.ndarray):
            assert (found[name].dtype, found[name].shape) == (value.dtype, value.shape)
            assert found[name].tobytes() == value.tobytes()
            assert found[name].flags.writeable
        else:
            assert found[name] == value


def test_every_flipped_bit_is_found() -> None:
    """All of them, not a sample: one wrong bit in a window would be a wrong feature for ever."""
    for at in range(len(SMALL) * 8):
        bad = bytearray(SMALL)
        bad[at // 8] ^= 1 << at % 8
        with pytest.raises(snapshots.SnapshotCorrupt):
            snapshots.verify(bytes(bad))


def test_every_truncation_and_every_appendix_is_found() -> None:
    """A torn write ends somewhere; it must not end in a shorter state."""
    for length in range(len(SMALL)):
        with pytest.raises(snapshots.SnapshotCorrupt):
            snapshots.verify(SMALL[:length])
    with pytest.raises(snapshots.SnapshotCorrupt):
        snapshots.verify(SMALL + b"\0")


@settings(max_examples=50)
@given(st.binary(max_size=200))
def test_noise_is_refused_and_nothing_else_happens(noise: bytes) -> None:
    with pytest.raises(snapshots.SnapshotCorrupt):
        snapshots.load(noise)


def test_objects_are_refused() -> None:
    """They would need pickle, which runs what it reads."""
    with pytest.raises(TypeError, match="expected numbers, flags or text, found object"):
        snapshots.dump({"x": np.array([object()])})


def test_a_damaged_snapshot_gives_way_to_the_one_before(tmp_path: Path) -> None:
    """Older state means more rows applied again, from an older fence; `next` stays, so none is told twice."""
    writer = rows.writer(tmp_path)
    writer.open()
    states = [snapshots.dump({"n": n}) for n in range(3)]
    for n, state in enumerate(states):
        writer.commit({"events/0": 10 * n + 9}, state, {"events/0": 10 * n})
    assert len(list((tmp_path / "_snapshots/entity-p0").iterdir())) == 2, "the last two are kept"
    assert writer.manifest.snapshot is not None
    newest = tmp_path / writer.manifest.snapshot.file
    newest.write_bytes(newest.read_bytes()[:-1])
    restored = rows.writer(tmp_path).open()
    assert (restored.snapshot, restored.fence, restored.next) == (states[1], {"events/0": 10}, {"events/0": 29})
    for path in (tmp_path / "_snapshots/entity-p0").iterdir():
        path.unlink()
    restored = rows.writer(tmp_path).open()
    assert (restored.snapshot, restored.fence, restored.next) == (None, {}, {"events/0": 29})
