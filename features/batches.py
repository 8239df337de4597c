"""The columns of every fact.

Arrow schemas that rooms agree on. A *row batch* is what the decoder makes of one fetch of one source; a *version
batch* is what the engine makes of it; a *prediction batch* holds the predictions of one model.
"""

import pyarrow as pa

from features.definitions import Definitions, Model, Source

_ROW = [
    pa.field("offset", pa.int64(), nullable=False),  # in the consumed log
    pa.field("origin_partition", pa.int32(), nullable=False),  # original coordinates: what lineage refers to
    pa.field("origin_offset", pa.int64(), nullable=False),
    pa.field("entity", pa.utf8(), nullable=False),
    pa.field("event_time_us", pa.int64(), nullable=False),
    pa.field("ingest_time_us", pa.int64(), nullable=False),
    pa.field("append_time_us", pa.int64()),  # the broker's own clock (LogAppendTime), else null
    pa.field("write_time_us", pa.int64()),  # declared by the source: lower bound of visibility
    pa.field("visible_time_us", pa.int64()),  # declared by the source: upper bound of visibility
    pa.field("clock_domain", pa.utf8()),  # whose transactions and clock these are, null without transactions
    pa.field("txid", pa.utf8()),
    pa.field("op", pa.utf8()),  # c u d r of change events, else null
]


def row_schema(source: Source) -> pa.Schema:
    """Columns of a decoded batch of `source`: the fixed ones, then its payload columns.

    A payload column of kind ``number`` is float64, ``text`` utf8, ``bool`` bool. One of kind ``any`` comes as
    four: ``<name>`` (utf8, canonical text), ``<name>.hash`` (uint64, 0 for NULL), ``<name>.number`` (float64, NaN
    if not a number) and ``<name>.changed`` (bool: a change event whose before-image differs; null if unknown).

    Examples
    --------
    >>> row_schema(Source(name="s", topic="t", kinds={"x": "number"})).names[-1]
    'x'
    """
    fields = list(_ROW)
    plain = {"number": pa.float64(), "text": pa.utf8(), "bool": pa.bool_()}
    for name, kind in source.kinds.items():
        if kind == "any":
            fields += [
                pa.field(name, pa.utf8()),
                pa.field(f"{name}.hash", pa.uint64(), nullable=False),
                pa.field(f"{name}.number", pa.float64(), nullable=False),
                pa.field(f"{name}.changed", pa.bool_()),
            ]
        else:
            fields.append(pa.field(name, plain[kind]))
    return pa.schema(fields)


#: What the engine returns: one row per version. `log_offset` is the offset in the consumed log; `partition` and
#: `offset` are the original coordinates. `source_from_us` and `source_by_us` are the source's own bounds of
#: visibility (write time - clock error; visible time + resolution + clock error), NEVER_US / FOREVER_US if unknown.
VERSION_SCHEMA = pa.schema(
    [
        pa.field("entity_type", pa.utf8(), nullable=False),
        pa.field("entity", pa.utf8(), nullable=False),
        pa.field("feature", pa.utf8(), nullable=False),
        pa.field("value", pa.utf8()),
        pa.field("value_num", pa.float64()),
        pa.field("event_time_us", pa.int64(), nullable=False),
        pa.field("ingest_time_us", pa.int64(), nullable=False),
        pa.field("input_event_time_us", pa.int64(), nullable=False),
        pa.field("input_visible_from_us", pa.int64()),
        pa.field("topic", pa.utf8(), nullable=False),
        pa.field("partition", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("definition", pa.utf8(), nullable=False),
        pa.field("id", pa.utf8(), nullable=False),
        pa.field("window_end_us", pa.int64()),
        pa.field("by_time", pa.bool_(), nullable=False),
        pa.field("log_offset", pa.int64(), nullable=False),
        pa.field("append_time_us", pa.int64()),
        pa.field("source_from_us", pa.int64(), nullable=False),
        pa.field("source_by_us", pa.int64(), nullable=False),
        pa.field("hash", pa.uint64(), nullable=False),
        pa.field("id64", pa.uint64(), nullable=False),
        pa.field("entity_index", pa.int32(), nullable=False),
        pa.field("feature_index", pa.int32(), nullable=False),
    ]
)

LATE_SCHEMA = pa.schema(
    [
        pa.field("log_offset", pa.int64(), nullable=False),
        pa.field("partition", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("entity", pa.utf8(), nullable=False),
        pa.field("event_time_us", pa.int64(), nullable=False),
        pa.field("watermark_us", pa.int64(), nullable=False),
        pa.field("reason", pa.utf8(), nullable=False),  # behind_watermark | outside_window
    ]
)


def prediction_schema(definitions: Definitions, model: Model) -> pa.Schema:
    """Columns of the predictions of one model; four per feature: text, hash, number and the stamp of its read.

    Examples
    --------
    >>> from features.definitions import Run
    >>> nothing = Definitions(run=Run(), sources={}, features={}, models={})
    >>> model = Model(name="m", predictions="p", entity_type="user", features=("f",))
    >>> prediction_schema(nothing, model).names[-4:]
    ['f', 'f.hash', 'f.number', 'f.stamp']
    """
    fields = [
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("origin_partition", pa.int32(), nullable=False),
        pa.field("origin_offset", pa.int64(), nullable=False),
        pa.field("prediction_id", pa.utf8(), nullable=False),
        pa.field("version", pa.utf8()),
        pa.field("entity", pa.utf8(), nullable=False),
        pa.field("read_time_us", pa.int64(), nullable=False),
        pa.field("ingest_time_us", pa.int64(), nullable=False),
        pa.field("output", pa.float64()),
    ]
    for name in model.features:
        fields += [
            pa.field(name, pa.utf8()),
            pa.field(f"{name}.hash", pa.uint64(), nullable=False),
            pa.field(f"{name}.number", pa.float64(), nullable=False),
            pa.field(f"{name}.stamp", pa.uint64(), nullable=False),  # 0: not stamped
        ]
    return pa.schema(fields)
