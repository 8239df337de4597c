"""How far may the stamps of one source of logs be believed?"""

from dataclasses import dataclass, field

from monitors.hygiene import BackstepWatch


@dataclass(slots=True, eq=False)
class SourceClock:
    """Clock of the logs that share features.

    Parameters
    ----------
    clock_error_us
        As declared.
    files
        The logs.
    """

    resolution_us: int
    clock_error_us: int
    files: tuple[str, ...]
    steps: BackstepWatch = field(init=False)

    def __post_init__(self) -> None:
        self.steps = BackstepWatch(self.files)

    @property
    def backstep_us(self) -> int:
        """How far its stamps step back against the sequence."""
        return self.steps.backstep_us

    @property
    def effective_error_us(self) -> int:
        """The declared error, or more where the stamps themselves disprove it."""
        return max(self.clock_error_us, self.backstep_us)
