"""How much of the score is the leak worth, and which column is too good to be true? Over a sample of the rows."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features import comparison, numerals
from features.kinds import Kind
from features.plain import plain
from features.stamps import read_stamps
from monitors.audit.outcome import Outcome, TableFinding
from streams.audit.engine import Audit
from streams.audit.intake import stamps_of
from streams.audit.reports.tables import aligned, one

#: Rows that the small model is fitted and scored on.
ROWS_MAX = 200_000
#: A feature of which a smaller share of rows tells what was readable is left out of the model.
KNOWN_MIN = 0.8
#: Rows that are looked through for hints, a column at a time: rare values are what they are about.
HINTED_ROWS_MAX = 1_000_000
#: Bytes of a cell and of what should stand there instead, and cells that are held at most.
_CELL_BYTES, _CELLS_MAX = 32, 20_000_000


def scored(audit: Audit) -> Outcome:
    """The outcome with inflation and hints; as it was where no label was named."""
    if audit.request.label is None:
        return replace(audit.outcome, inflation_note="no label was named (--label), so no score was measured")
    from monitors.audit import hints, inflation

    leaky, as_of, known, batch = _sample(audit)
    label = _column(batch, audit.request.label)
    entity = comparison.entity_hashes(_column(batch, audit.request.entity))
    name = audit.request.prediction_time
    read_us = stamps_of(_column(batch, name), audit.train.table, name, 0).us
    told: list[TableFinding] = []
    for feature, column in leaky.items():
        hint = hints.too_good(feature, column, as_of[feature], label, prediction_time_us=read_us, entity=entity)
        told += [] if hint is None else [hint]
    few = entity <= _limit(audit, ROWS_MAX)
    # A value that nobody can tell is not NULL; scoring it as NULL would measure ignorance.
    names = [feature for feature, is_known in known.items() if is_known.size and is_known.mean() >= KNOWN_MIN]
    if not names:
        why = "what was readable at the predictions is not known of any feature, so no honest score can be measured"
        return replace(audit.outcome, findings=(*audit.outcome.findings, *told), inflation_note=why)
    few &= np.all([known[feature] for feature in names], axis=0)
    mask = pa.array(few)
    found = inflation.measure(
        {feature: leaky[feature].filter(mask) for feature in names},
        {feature: as_of[feature].filter(mask) for feature in names},
        label.filter(mask),
        prediction_time_us=read_us[few],
        entity=entity[few],
        seed=audit.request.seed,
    )
    note = f"measured on {int(few.sum()):,} of {audit.outcome.rows:,} rows"
    left = [feature for feature in known if feature not in names]
    if left:
        note += f", without {', '.join(left[:3])}{' ...' if len(left) > 3 else ''}: nobody knows what was readable then"
    outcome = replace(audit.outcome, findings=(*audit.outcome.findings, *told))
    if isinstance(found, str):
        return replace(outcome, inflation_note=found)
    return replace(outcome, inflation=found, inflation_note=note)


def _sample(
    audit: Audit,
) -> tuple[dict[str, pa.Array], dict[str, pa.Array], dict[str, npt.NDArray[np.bool_]], pa.RecordBatch]:
    """Features as they are, as they should have been, where that is known, and all columns; whole entities that fit.

    Entities are chosen by their hash, so the sample is the same whatever the order of the rows.
    """
    request = audit.request
    names = [audit.names[i] for i in audit.audited]
    others = [request.entity, request.prediction_time, request.label]
    kept: list[tuple[pa.RecordBatch, pa.Table]] = []
    cells = min(_CELLS_MAX, request.memory_bytes // _CELL_BYTES)
    limit = _limit(audit, min(HINTED_ROWS_MAX, cells // len(names)))
    wanted = list(dict.fromkeys([*(name for name in others if name is not None), *names]))
    for batch, found in aligned(audit, wanted):
        keep = pa.array(comparison.entity_hashes(_column(batch, request.entity)) <= limit)
        columns = [f"{column}{i}" for i in audit.audited for column in "ck"]
        kept.append((batch.filter(keep), found.select(columns).filter(keep)))
    whole = pa.Table.from_batches([batch for batch, _ in kept]).combine_chunks().to_batches()
    batch = whole[0] if whole else kept[0][0]
    results = pa.concat_tables([table for _, table in kept])
    leaky, as_of = {}, {}
    for name, index in zip(names, audit.audited, strict=True):
        leaky[name] = _typed(plain(_column(batch, name)), audit.kinds[index])
        as_of[name] = _typed(plain(one(results, f"c{index}")), audit.kinds[index])
    known = {audit.names[i]: np.asarray(one(results, f"k{i}").to_numpy(zero_copy_only=False)) for i in audit.audited}
    return leaky, as_of, known, batch


def _limit(audit: Audit, rows_max: int) -> np.uint64:
    """The greatest hash of an entity such that about `rows_max` rows have no greater one."""
    return np.uint64(min(int(2**64 * min(1.0, rows_max / audit.outcome.rows)), 2**64 - 1))


def _typed(column: pa.Array, kind: Kind | None) -> pa.Array:
    """Texts of a CSV as the numbers and times that they are."""
    if not pa.types.is_large_string(column.type):
        return column
    if kind in (Kind.NUMBER, Kind.NUMBER_32):
        return pa.array(numerals.numbers(column), from_pandas=True)
    if kind is Kind.TIME:
        stamps = read_stamps(column, bounded=False)
        return pa.array(stamps.us, pa.timestamp("us"), mask=stamps.missing)
    return column


def _column(batch: pa.RecordBatch, name: str) -> pa.Array:
    return batch.column(batch.schema.get_field_index(name))
