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


def plain(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """The same values without dictionary, run-end, view, chunk and extension encodings; texts are ``large_utf8``.

    Bytes that are UTF-8 are text: some writers leave the mark of text out.

    Raises
    ------
    pyarrow.ArrowInvalid
        Bytes that are no UTF-8.

    Examples
    --------
    >>> plain(pa.array(["a", "b", "a"]).dictionary_encode()).to_pylist()
    ['a', 'b', 'a']
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    while True:
        kind = column.type
        if isinstance(kind, pa.BaseExtensionType):
            column = column.storage
        elif pa.types.is_dictionary(kind):
            column = column.dictionary_decode()
        elif pa.types.is_run_end_encoded(kind):
            column = pc.run_end_decode(column)
        else:
            return column.cast(pa.large_utf8()) if is_texts(kind) and kind != pa.large_utf8() else column


def is_texts(kind: pa.DataType) -> bool:
    """Whether columns of this type hold text, or bytes that stand for it.

    Examples
    --------
    >>> is_texts(pa.string()), is_texts(pa.binary()), is_texts(pa.int64())
    (True, True, False)
    """
    texts = (pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.binary_view())
    return kind in texts


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
    """The bytes of a ``large_utf8`` array and int64[n + 1] bounds: text i is ``content[bounds[i]:bounds[i + 1]]``.

    Both are read-only, so that compiled code meets one type.

    Examples
    --------
    >>> content, bounds = letters(pa.array(["ab", "c"], pa.large_utf8()))
    >>> bytes(content), bounds.tolist()
    (b'abc', [0, 2, 3])
    """
    n = len(texts)
    if n == 0:
        return _EMPTY, _ZERO
    _, offsets, content = texts.buffers()
    bounds = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + n + 1]
    return (np.frombuffer(content, np.uint8) if content is not None and content.size else _EMPTY), bounds


_EMPTY = np.frombuffer(b"\0", np.uint8)
_ZERO = np.frombuffer(b"\0" * 8, np.int64)
