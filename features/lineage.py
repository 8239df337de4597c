"""Which value is this, and what did it come from?

A version's id is a function of its cause alone (definition, entity, coordinates of the row, window), so computing
it again after a crash, a takeover or in a replay gives the same id, and every sink can drop what it already has.
Values are compared as 64-bit hashes of their kind and content; 0 means NULL, NaN or absent.
"""

import math
import struct

import numpy as np
import numpy.typing as npt
import xxhash

from features.kernels.mixing import mix_ids

UInt64 = npt.NDArray[np.uint64]

Scalar = None | bool | int | float | str

NULL_HASH = 0

#: Numbers and texts are hashed in different seeds, so 1 and "1" differ.
_NUMBER_SEED, _TEXT_SEED, _BOOL_SEED = 0x6E, 0x74, 0x62
_MASK = 2**64 - 1
_EXACT_MAX = 2**53  # beyond this, integers are no longer exact as float64


def value_hash(value: Scalar) -> int:
    """64-bit hash of one value; NULL and NaN give 0; 3 and 3.0 are one value, 3 and "3" are two.

    Floats compare bitwise, integers within 2**53 as the float they equal.

    Examples
    --------
    >>> value_hash(None), value_hash(float("nan")), value_hash(3) == value_hash(3.0), value_hash("3") == value_hash(3)
    (0, 0, True, False)
    """
    if value is None:
        return NULL_HASH
    if isinstance(value, bool):
        return xxhash.xxh64_intdigest(b"1" if value else b"0", _BOOL_SEED)
    if isinstance(value, str):
        return xxhash.xxh64_intdigest(value.encode("utf-8", "surrogatepass"), _TEXT_SEED) or 1
    if isinstance(value, int) and abs(value) > _EXACT_MAX:
        return xxhash.xxh64_intdigest(str(value).encode(), _NUMBER_SEED) or 1
    number = float(value)
    if math.isnan(number):
        return NULL_HASH
    h = (struct.unpack("<Q", struct.pack("<d", number))[0] ^ 0x9E3779B97F4A7C15) * 0xBF58476D1CE4E5B9 & _MASK
    h = (h ^ (h >> 31)) * 0x94D049BB133111EB & _MASK
    return h ^ (h >> 29) or 1


def number_hashes(numbers: npt.NDArray[np.float64]) -> UInt64:
    """uint64[n]: `value_hash` of float64[n], NaN standing for NULL.

    Examples
    --------
    >>> number_hashes(np.array([np.nan])).tolist()
    [0]
    """
    bits = numbers.view(np.uint64)
    with np.errstate(over="ignore"):
        h = (bits ^ np.uint64(0x9E3779B97F4A7C15)) * np.uint64(0xBF58476D1CE4E5B9)
        h ^= h >> np.uint64(31)
        h *= np.uint64(0x94D049BB133111EB)
        h ^= h >> np.uint64(29)
    h = np.where(h == 0, np.uint64(1), h)
    return np.where(np.isnan(numbers), np.uint64(NULL_HASH), h).astype(np.uint64)


def canonical(value: Scalar) -> str | None:
    """The text by which a value is shown and stored; None for NULL and NaN.

    Examples
    --------
    >>> canonical(3.0), canonical(2.5), canonical(True), canonical("3"), canonical(float("nan"))
    ('3', '2.5', 'true', '3', None)
    """
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return str(int(value)) if value.is_integer() and abs(value) <= _EXACT_MAX else repr(value)
    return str(value)


def text_hash(text: str) -> int:
    """64-bit hash of a name, stable over processes and releases.

    Examples
    --------
    >>> text_hash("clicks_5m") == text_hash("clicks_5m")
    True
    """
    return xxhash.xxh64_intdigest(text.encode("utf-8", "surrogatepass"))


def origin_hash(definition: str, entity_type: str, topic: str) -> int:
    """What the ids of all versions of one feature from one source topic have in common."""
    return text_hash(f"{definition}\x1f{entity_type}\x1f{topic}")


def version_ids(
    origin: UInt64,
    entity: UInt64,
    partition: npt.NDArray[np.int64],
    offset: npt.NDArray[np.int64],
    window: npt.NDArray[np.int64],
) -> UInt64:
    """uint64[n]: ids of versions from their causes; never 0.

    Parameters
    ----------
    origin, entity
        `origin_hash` of the feature and `text_hash` of the entity id.
    partition, offset
        Original coordinates of the row that caused the version.
    window
        End of the window in microseconds, 0 where there is none.

    Examples
    --------
    >>> one = np.array([1], np.int64)
    >>> ids = version_ids(one.astype(np.uint64), one.astype(np.uint64), one, one, one)
    >>> int(ids[0]) == int(version_ids(one.astype(np.uint64), one.astype(np.uint64), one, one, one)[0])
    True
    """
    return mix_ids(origin, entity, partition, offset, window)


def show_id(version_id: int) -> str:
    """A version id as people and JSON see it: 16 hexadecimal digits.

    Examples
    --------
    >>> show_id(255)
    '00000000000000ff'
    """
    return format(version_id, "016x")


def show_ids(ids: UInt64) -> list[str]:
    """Hexadecimal texts of many ids."""
    raw = ids.astype(">u8").tobytes().hex()
    return [raw[i : i + 16] for i in range(0, len(raw), 16)]


def read_id(text: str) -> int:
    """The id that `show_id` showed.

    Raises
    ------
    ValueError
        The text is not 16 hexadecimal digits.

    Examples
    --------
    >>> read_id("00000000000000ff")
    255
    """
    if len(text) != 16:
        raise ValueError(f"expected 16 hexadecimal digits, found {text!r}")
    return struct.unpack(">Q", bytes.fromhex(text))[0]  # type: ignore[no-any-return]
