"""In which words does the design phase answer?"""

from dataclasses import dataclass
from enum import StrEnum


class Design(StrEnum):
    """What the declarations prove of one feature of one model, the worst first.

    Examples
    --------
    >>> min([Design.SOMETIMES, Design.NEVER_KNOWABLE], key=Design.rank).value
    'NEVER_KNOWABLE'
    >>> Design.UNDECLARED.is_bad, Design.KNOWABLE.is_bad, Design.LATE_BY_DESIGN.is_bad
    (False, False, True)
    """

    NEVER_KNOWABLE = "NEVER_KNOWABLE"  # in no course of events that the order allows
    DERIVED_FROM_LABEL = "DERIVED_FROM_LABEL"  # made from the label's own column or data set
    MUTABLE_BY_LABEL = "MUTABLE_BY_LABEL"  # changed after the prediction, and training takes the latest value
    ROW_SELECTION_LEAK = "ROW_SELECTION_LEAK"  # training rows are chosen by what came after the prediction
    SOMETIMES = "SOMETIMES"  # in some courses that the order allows, and not in others
    WINDOW_OVERRUN = "WINDOW_OVERRUN"  # complete or refreshed only after the prediction
    LATE_BY_DESIGN = "LATE_BY_DESIGN"  # more than 1 % may come too late
    UNDECLARED = "UNDECLARED"  # too little is declared to prove anything
    KNOWABLE = "KNOWABLE"  # in every course of events that the order allows

    def rank(self) -> int:
        """Place from the worst, 0, on."""
        return list(Design).index(self)

    @property
    def is_bad(self) -> bool:
        """Does it break a build? Nothing declared is no proof, of neither."""
        return self not in (Design.UNDECLARED, Design.KNOWABLE)


@dataclass(frozen=True, slots=True)
class Reason:
    """One line of a proof: a declared fact with its place, or what follows from the lines before it (no place)."""

    text: str
    place: str = ""

    def __str__(self) -> str:
        return f"{self.text}  ({self.place})" if self.place else self.text


@dataclass(frozen=True, slots=True)
class KnownShare:
    """Bounds of the share of predictions at which the value is known, 0 to 1.

    Examples
    --------
    >>> str(KnownShare(0.594, 0.594)), str(KnownShare(0.99, 1.0)), str(KnownShare(0.0, 1.0))
    ('59.4 %', 'at least 99 %', 'nobody knows how many')
    """

    low: float
    high: float

    def __str__(self) -> str:
        low, high = f"{100 * self.low:.4g} %", f"{100 * self.high:.4g} %"
        if low == high:
            return low
        if self.low <= 0:
            return "nobody knows how many" if self.high >= 1 else f"at most {high}"
        return f"at least {low}" if self.high >= 1 else f"{low} to {high}"


@dataclass(frozen=True, slots=True)
class Ruling:
    """One rule that holds, with its proof.

    `slack_us`: how much earlier than needed the value is known in the worst case that the rule looks at, microseconds;
    below 0 it comes too late by that much; None where the order gives no bound.
    """

    design: Design
    reasons: tuple[Reason, ...]
    slack_us: int | None = None
    known: KnownShare | None = None


@dataclass(frozen=True, slots=True)
class DesignVerdict:
    """What is proved of one feature of one model; `feature` "" speaks of the choice of its training rows.

    Bad rulings hide UNDECLARED, any of both hides KNOWABLE. `missing` names what was not declared and would be needed.
    """

    model: str
    feature: str
    rulings: tuple[Ruling, ...]  # the worst first, at least one
    missing: tuple[str, ...] = ()

    @property
    def design(self) -> Design:
        """The worst ruling's word."""
        return self.rulings[0].design

    @property
    def slack_us(self) -> int | None:
        """The slack of the worst ruling."""
        return self.rulings[0].slack_us

    @property
    def known(self) -> KnownShare | None:
        """The first share that a ruling tells."""
        return next((r.known for r in self.rulings if r.known is not None), None)
