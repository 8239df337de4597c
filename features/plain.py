"""What does a column look like without its encoding?

The same values arrive as dictionaries, runs, views, chunks and extensions, depending on who wrote the file. Here they
become one plain Arrow array, so that no other file has to know how a column was packed.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Bool = npt.NDArray[np.bool_]
Int64 = npt.NDArray[np.int64]
UInt8 = npt.NDArray[np.uint8]

_TEXTS = (pa.string(), pa.large_string(), pa.string_view())
_BYTES = (pa.binary(), pa.large_binary(), pa.binary_view())


def plain(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """The same values without dictionary, run-end, view, chunk and extension encodings.

    Texts are ``large_utf8``, bytes ``large_binary``: some writers leave the mark of text out.

    Examples
    --------
    >>> plain(pa.array(["a", "b", "a"]).dictionary_encode()).to_pylist()
    ['a', 'b', 'a']
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    while True:
        kind = column.type
        if kind == pa.uuid():
            column = _uuid_texts(column.storage)
        elif isinstance(kind, pa.BaseExtensionType):
            column = column.storage
        elif pa.types.is_dictionary(kind):
            column = column.dictionary_decode()
        elif pa.types.is_run_end_encoded(kind):
            column = pc.run_end_decode(column)
        elif is_texts(kind):
            wide = pa.large_utf8() if kind in _TEXTS else pa.large_binary()
            return column if kind == wide else column.cast(wide)
        else:
            return column


def _uuid_texts(column: pa.Array) -> pa.Array:
    """UUIDs as all others write them: 8-4-4-4-12 small hexadecimal digits."""
    content, bounds = letters(column.cast(pa.large_binary()).fill_null(b"\0" * 16))
    raw = content[bounds[0] : bounds[-1]].reshape(-1, 16)
    nibbles = np.stack([raw >> 4, raw & 15], axis=2).reshape(-1, 32)
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)[nibbles]
    texts = np.full((len(column), 36), ord("-"), np.uint8)
    texts[:, [i for i in range(36) if i not in {8, 13, 18, 23}]] = digits
    ends = np.arange(len(column) + 1, dtype=np.int64) * 36
    found = pa.Array.from_buffers(pa.large_utf8(), len(column), [None, pa.py_buffer(ends), pa.py_buffer(texts)])
    return found if column.null_count == 0 else pc.if_else(column.is_valid(), found, pa.scalar(None, pa.large_utf8()))


def is_texts(kind: pa.DataType) -> bool:
    """Whether columns of this type hold text, or bytes that stand for it.

    Examples
    --------
    >>> is_texts(pa.string()), is_texts(pa.binary()), is_texts(pa.int64())
    (True, True, False)
    """
    return kind in _TEXTS or kind in _BYTES or pa.types.is_fixed_size_binary(kind)


def first_not_text(column: pa.Array | pa.ChunkedArray) -> int:
    """The first row whose bytes are no UTF-8; 0 if all are.

    Examples
    --------
    >>> first_not_text(pa.array([b"a", None, b"\\xff"]))
    2
    """
    for row, value in enumerate(column.to_pylist()):
        try:
            if isinstance(value, bytes):
                value.decode()
        except UnicodeDecodeError:
            return row
    return 0


def valid(column: pa.Array) -> Bool:
    """bool[n]: True where there is a value (NaN is one).

    Examples
    --------
    >>> valid(pa.array([1, None])).tolist()
    [True, False]
    """
    if column.null_count == 0:
        return np.ones(len(column), np.bool_)
    return np.asarray(column.is_valid().to_numpy(zero_copy_only=False), np.bool_)


def letters(texts: pa.Array) -> tuple[UInt8, Int64]:
    """The bytes of a ``large_utf8`` or ``large_binary`` array, and int64[n + 1] where each text begins and ends.

    Both are read-only, so that compiled code meets one type.

    Examples
    --------
    >>> content, bounds = letters(pa.array(["ab", "c"], pa.large_utf8()))
    >>> bytes(content), bounds.tolist()
    (b'abc', [0, 2, 3])
    """
    if texts.type not in (pa.large_utf8(), pa.large_binary()):  # other offsets would be read beyond their end
        raise TypeError(f"expected large_utf8 or large_binary, found {texts.type}")
    n = len(texts)
    if n == 0:
        return _EMPTY, _ZERO
    _, offsets, content = texts.buffers()
    bounds = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + n + 1]
    return (np.frombuffer(content, np.uint8) if content is not None and content.size else _EMPTY), bounds


_EMPTY = np.frombuffer(b"\0", np.uint8)
_ZERO = np.frombuffer(b"\0" * 8, np.int64)
