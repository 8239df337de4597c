"""Which decoder reads this source?"""

from typing import Any

from features.definitions import Definitions, Source
from streams.wire.logs import LogDecoder
from streams.wire.predictions import PredictionDecoder
from streams.wire.rows import RowDecoder


def decoder_of(definitions: Definitions, source: Source, *, home: int | None) -> LogDecoder[Any]:
    """The decoder of a prediction log or of a source of facts; `home` as for `LogDecoder`."""
    kind = PredictionDecoder if definitions.models_of(source.name) else RowDecoder
    return kind(definitions, source, home=home)
