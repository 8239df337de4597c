"""Arrow batches between the entity stage and the model stage."""

from dataclasses import dataclass

import pyarrow as pa

from streams.pipeline.effects import Scored

FORMAT = b"1"
KINDS = ("served", "matured", "coupled")


@dataclass(frozen=True, slots=True)
class ScoredError(ValueError):
    """Bytes on `scored` that are not ours."""

    detail: str

    def __str__(self) -> str:
        return self.detail


def encode_scored(scored: Scored) -> bytes:
    """One Arrow IPC stream; kind, model and log are in the schema's metadata.

    Examples
    --------
    >>> rows = pa.RecordBatch.from_pydict({"x": [1]})
    >>> decode_scored(encode_scored(Scored("churn", "served", "p/0", rows))).model
    'churn'
    """
    about = {
        b"format": FORMAT,
        b"kind": scored.kind.encode(),
        b"model": scored.model.encode(),
        b"log": scored.log.encode(),
    }
    rows = scored.rows.replace_schema_metadata(about)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_batch(rows)
    return bytes(sink.getvalue().to_pybytes())


def decode_scored(value: bytes) -> Scored:
    """The batch in `value`.

    Raises
    ------
    ScoredError
        The bytes are no Arrow stream of ours.
    """
    try:
        with pa.ipc.open_stream(value) as reader:
            table = reader.read_all()
        table.validate(full=True)
        about = table.schema.metadata or {}
        kind, model, log = (about[name].decode() for name in (b"kind", b"model", b"log"))
    except (pa.ArrowInvalid, KeyError, OSError, UnicodeDecodeError) as error:
        raise ScoredError(f"expected an Arrow stream with kind, model and log, found {error!r}") from None
    if about.get(b"format") != FORMAT or kind not in KINDS:
        raise ScoredError(f"expected format {FORMAT.decode()} and a kind of {KINDS}, found {about}")
    batches = table.combine_chunks().to_batches()
    rows = batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)
    return Scored(model, kind, log, rows)
