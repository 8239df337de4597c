"""What else the files say about themselves, gathered beside the verdicts."""

import numpy as np
import pyarrow as pa

from monitors.audit.judging import History
from monitors.audit.outcome import Latency, TableFinding
from streams.audit.histories import Rows
from streams.audit.intake import Intake


class Watches:
    """Findings about rows, clocks and transactions."""

    def __init__(self, taken: Intake) -> None:
        self._taken = taken

    def train(self, train: pa.Table, p_hi_us: np.ndarray) -> None:
        """The predictions of one bucket."""

    def rows(self, features: tuple[int, ...], rows: Rows, history: History) -> None:
        """The histories of some features in one bucket."""

    def logs(self, tables: dict[int, pa.Table], reads: object, clocks: object) -> None:
        """All rows of the logs in one bucket."""

    def latency(self, feature: int) -> Latency | None:
        """How late a feature's versions were."""
        return None

    def findings(self) -> tuple[TableFinding, ...]:
        """All that was found."""
        return ()
