"""How does a corrected column get back the type that it has in TRAIN, and how is a type written that CSV has not?"""

import uuid

import pyarrow as pa
import pyarrow.compute as pc

from features.kinds import shown
from features.plain import plain


def shaped(column: pa.Array, wanted: pa.DataType, words: pa.Array | None = None) -> pa.Array:
    """Plain values as a column of type `wanted`; a dictionary gets `words`, in their order.

    Examples
    --------
    >>> ordered = pa.dictionary(pa.int8(), pa.string(), ordered=True)
    >>> shaped(pa.array(["hi", None]), ordered, pa.array(["lo", "hi"])).indices.to_pylist()
    [1, None]
    """
    if column.type == wanted:
        return column
    if wanted == pa.uuid():
        raw = [None if text is None else uuid.UUID(text).bytes for text in column.to_pylist()]
        return pa.ExtensionArray.from_storage(wanted, pa.array(raw, wanted.storage_type))
    if isinstance(wanted, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(wanted, shaped(column, wanted.storage_type))
    if pa.types.is_dictionary(wanted):
        values = column.cast(wanted.value_type)
        words = pc.drop_null(values.unique()) if words is None else words
        places = pc.index_in(values, value_set=words, skip_nulls=True)
        return pa.DictionaryArray.from_arrays(places.cast(wanted.index_type), words, ordered=wanted.ordered)
    return column.cast(wanted)


class Words:
    """The dictionary of one column of the corrected table: that of TRAIN in its order, then what corrections add.

    Examples
    --------
    >>> words = Words(pa.string())
    >>> words.observe(pa.array(["b", "a", "b"]).dictionary_encode(), pa.array(["c", "a", None]))
    >>> words.found().to_pylist(), words.are_new
    (['b', 'a', 'c'], True)
    """

    def __init__(self, kind: pa.DataType) -> None:
        self._old, self._seen = pa.array([], kind), pa.array([], kind)

    def observe(self, column: pa.DictionaryArray, corrected: pa.Array) -> None:
        """Take in a batch of TRAIN and what replaces it."""
        self._old = _joined(self._old, column.dictionary)
        self._seen = _joined(self._seen, corrected)

    @property
    def are_new(self) -> bool:
        """Whether corrections add words."""
        return len(self.found()) > len(self._old)

    def found(self) -> pa.Array:
        """Every word once."""
        return _joined(self._old, self._seen)

    def field(self, field: pa.Field) -> pa.Field:
        """The field as TRAIN has it, as far as it still holds: room for all words, and no list of them beside it."""
        kind = field.type
        if len(self.found()) > 2 ** (kind.index_type.bit_width - 1):
            kind = pa.dictionary(pa.int32(), kind.value_type, ordered=kind.ordered)
        field = field.with_type(kind)
        return field.remove_metadata() if self.are_new else field


def _joined(known: pa.Array, more: pa.Array) -> pa.Array:
    return pc.drop_null(pa.concat_arrays([known, more.cast(known.type).unique()]).unique())


def spelled(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with every column of a type that a CSV can hold: what is nested becomes JSON, bytes become text.

    Examples
    --------
    >>> spelled(pa.record_batch({"x": [[1, None]], "y": [b"a"]})).to_pylist()
    [{'x': '[1, null]', 'y': 'a'}]
    """
    return pa.RecordBatch.from_arrays([_spelled(column) for column in batch.columns], names=batch.schema.names)


def _spelled(column: pa.Array) -> pa.Array:
    column = plain(column)
    kind = column.type
    if pa.types.is_large_binary(kind):
        try:
            return column.cast(pa.large_utf8())
        except pa.ArrowInvalid:
            texts = [None if one is None else one.decode(errors="backslashreplace") for one in column.to_pylist()]
            return pa.array(texts, pa.large_utf8())
    if pa.types.is_nested(kind) or pa.types.is_interval(kind):
        return pa.array([shown(column, row, letters_max=None) for row in range(len(column))], pa.large_utf8())
    return column
