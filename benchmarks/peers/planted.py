"""Which training set has leaks whose every cell is known?

A seeded world: entities whose rows are rewritten again and again, each version written a moment after it happened, one
in twenty hours late. A training row is read somewhere between two writes; most cells hold what was current then, the
planted ones what came later (LEAK) or what had been replaced (STALE). Values never repeat by chance, so every verdict
is certain.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Floats = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

FEATURES = (
    "honest_1", "honest_2", "honest_3", "honest_4", "rewritten", "few", "latest", "backfill", "null_flip", "stale",
)  # fmt: skip
PASS, LEAK, STALE = 0, 1, 3  # codes of monitors.verdicts.Verdict
VERSIONS = 10  # of each entity
_START_US = 1_700_000_000_000_000
_HOUR_US = 3_600_000_000


@dataclass(frozen=True, slots=True)
class World:
    """The two files, the truth about each cell (int8[rows, features]) and the arrays behind the log, by entity."""

    train: pa.Table
    log: pa.Table
    truth: npt.NDArray[np.int8]
    write_us: Int64  # int64[entities, VERSIONS], rising
    values: dict[str, Floats]  # float64[entities, VERSIONS]
    entity: Int64  # int64[rows]
    prediction_us: Int64


def world(rows: int, versions: int, seed: int = 1) -> World:
    """`rows` training rows against `versions` versions of rows with ten features."""
    rng = np.random.default_rng(seed)
    entities = max(versions // VERSIONS, 1)
    shape = (entities, VERSIONS)
    write = _START_US + np.cumsum(rng.exponential(_HOUR_US, shape).astype(np.int64) + 10, axis=1)
    lag = rng.integers(1_000, 50_000, shape)
    late = rng.random(shape) < 0.05
    lag[late] = rng.integers(_HOUR_US // 2, 3 * _HOUR_US, int(late.sum()))
    event = write - lag
    values = _values(rng, shape)
    flips = rng.random(entities) < 0.4
    values["null_flip"][flips, -1] = np.nan
    event[flips, -1] = event[flips, -2]  # the trigger leaves `updated_at` alone

    entity = rng.integers(0, entities, rows)
    current = rng.integers(1, VERSIONS - 2, rows)
    begin, end = write[entity, current], write[entity, current + 1]
    # Two microseconds away from either write: certain at the resolution of the stamps.
    read = begin + 2 + ((end - begin - 4) * rng.random(rows)).astype(np.int64)
    cells, truth = _cells(rng, values, flips, event, entity, current, read)

    train = pa.table(
        {
            "entity": entity,
            "prediction_time": _times(read),
            **{n: pa.array(cells[n], from_pandas=True) for n in FEATURES},
        }
    )
    shuffled = rng.permutation(entities * VERSIONS)
    log = pa.table(
        {
            "entity": np.repeat(np.arange(entities), VERSIONS)[shuffled],
            "event_time": _times(event.ravel()[shuffled]),
            "write_time": _times(write.ravel()[shuffled]),
            **{n: pa.array(values[n].ravel()[shuffled], from_pandas=True) for n in FEATURES},
        }
    )
    return World(train, log, truth, write, values, entity, read)


def _values(rng: np.random.Generator, shape: tuple[int, int]) -> dict[str, Floats]:
    values = {name: rng.random(shape) for name in FEATURES}
    values["few"] = rng.integers(0, 4, shape).astype(np.float64)
    is_new = rng.random(shape) < 0.1  # nine writes in ten repeat the value
    is_new[:, 0] = True
    newest = np.maximum.accumulate(np.where(is_new, np.arange(shape[1]), 0), axis=1)
    values["rewritten"] = np.take_along_axis(values["rewritten"], newest, axis=1)
    return values


def _cells(
    rng: np.random.Generator,
    values: dict[str, Floats],
    flips: npt.NDArray[np.bool_],
    event: Int64,
    entity: Int64,
    current: Int64,
    read: Int64,
) -> tuple[dict[str, Floats], npt.NDArray[np.int8]]:
    rows = entity.size
    cells = {name: values[name][entity, current] for name in FEATURES}
    truth = np.zeros((rows, len(FEATURES)), np.int8)

    planted = rng.random(rows) < 0.02
    cells["latest"][planted] = values["latest"][entity[planted], current[planted] + 1]
    truth[planted, FEATURES.index("latest")] = LEAK

    happened = np.where(event[entity] <= read[:, None], event[entity], np.iinfo(np.int64).min)
    joined = happened.argmax(axis=1)  # what a join on the event time returns
    cells["backfill"] = values["backfill"][entity, joined]
    truth[joined > current, FEATURES.index("backfill")] = LEAK
    truth[joined < current, FEATURES.index("backfill")] = STALE

    planted = flips[entity] & (rng.random(rows) < 0.1)
    cells["null_flip"][planted] = np.nan
    truth[planted, FEATURES.index("null_flip")] = LEAK

    planted = rng.random(rows) < 0.02
    cells["stale"][planted] = values["stale"][entity[planted], current[planted] - 1]
    truth[planted, FEATURES.index("stale")] = STALE
    return cells, truth


def _times(us: Int64) -> pa.Array:
    return pa.array(us, pa.timestamp("us"))
