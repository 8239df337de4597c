"""In which words does a judge answer?

Every judge speaks of cells with a `Verdict`, a `Reason` and a `Tier`, and of features with a `Finding`. Compiled
kernels speak the same words as int8 codes; a code is a word's place in its enumeration and is stored in files, so
new words are added at the end and no word ever moves.
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TypeAlias

import msgspec

from features.lineage import show_id, text_hash

JSON: TypeAlias = "None | bool | int | float | str | list[JSON] | dict[str, JSON]"


class Coded(StrEnum):
    """A word with a small number for kernels and files."""

    @property
    def code(self) -> int:
        """Place of the word in its enumeration, an int8.

        Examples
        --------
        >>> Verdict.PASS.code, Verdict.UNVERIFIABLE.code
        (0, 5)
        """
        return list(type(self)).index(self)


class Verdict(Coded):
    """What is known about one cell: could its value be known at the moment of the read?"""

    PASS = "PASS"
    LEAK = "LEAK"
    SKEW_AMBIGUOUS = "SKEW_AMBIGUOUS"
    STALE = "STALE"
    LEAK_OR_STALE = "LEAK_OR_STALE"
    UNVERIFIABLE = "UNVERIFIABLE"


class Reason(Coded):
    """Why a verdict is not a plain one.

    SKEW_AMBIGUOUS comes with skew, same_ms, resolution, in_flight or no_lower_bound; UNVERIFIABLE with no_coverage,
    no_upper_bound, phantom, placeholder, stamp_unknown, stamp_mismatch or type_mismatch; LEAK_OR_STALE with
    no_coverage where the log has lost the versions that could have been the stale ones.
    """

    NONE = "none"
    SKEW = "skew"  # decided, if only the two clocks agreed
    RESOLUTION = "resolution"  # the stamps are too coarse, by more than a millisecond
    SAME_MS = "same_ms"  # write and read carry the same stamp (or position)
    NO_COVERAGE = "no_coverage"  # the log does not reach the read
    NO_UPPER_BOUND = "no_upper_bound"  # nobody saw the write become visible
    PHANTOM = "phantom"  # no version ever held this value
    PLACEHOLDER = "placeholder"  # the value itself is missing from the log
    STAMP_UNKNOWN = "stamp_unknown"  # the row names a version that the log does not have
    STAMP_MISMATCH = "stamp_mismatch"  # the version that the row says it read holds another value
    IN_FLIGHT = "in_flight"  # the read fell between the write and its acknowledgement
    NO_LOWER_BOUND = "no_lower_bound"  # only the acknowledgement is known, and it came after the read
    TYPE_MISMATCH = "type_mismatch"  # table and log hold values that cannot be compared


class Tier(IntEnum):
    """Quality of evidence; a verdict has the tier of its weakest input, the greatest number.

    Examples
    --------
    >>> max(Tier.E0, Tier.E2).name
    'E2'
    """

    E0 = 0  # logged at serving
    E1 = 1  # order in one sequence, or one transaction
    E2 = 2  # commit times with a known clock error
    E3 = 3  # broker or ingest times
    E4 = 4  # user columns, assumptions
    E5 = 5  # statistics only


class Severity(StrEnum):
    """Whom a finding concerns: nobody yet, whoever looks, whoever is on call."""

    INFO = "info"
    WARNING = "warning"
    PAGE = "page"


#: Words in the order of their codes.
VERDICTS = tuple(Verdict)
REASONS = tuple(Reason)


@dataclass(frozen=True, slots=True)
class Finding:
    """What a judge is sure enough of to act on.

    The same finding may be emitted again, raised in severity or with more evidence, under the same id.

    Parameters
    ----------
    since_us
        Time of the oldest piece of evidence, microseconds UTC.
    evidence
        What it rests on, as JSON values.
    sql
        A query over the views of the lake that shows the evidence.

    Examples
    --------
    >>> one = Finding.of("churn", "last_login", "COUPLED_TX", Severity.WARNING, 0, {}, "SELECT 1")
    >>> two = Finding.of("churn", "last_login", "COUPLED_TX", Severity.PAGE, 0, {"count": 3}, "SELECT 1")
    >>> one.finding_id == two.finding_id, len(one.finding_id)
    (True, 16)
    """

    finding_id: str
    model: str
    feature: str
    kind: str
    severity: Severity
    since_us: int
    evidence: dict[str, JSON]
    sql: str

    @classmethod
    def of(
        cls,
        model: str,
        feature: str,
        kind: str,
        severity: Severity,
        since_us: int,
        evidence: dict[str, JSON],
        sql: str,
    ) -> "Finding":
        """A finding with the id that follows from model, feature and kind."""
        return cls(finding_id(model, feature, kind), model, feature, kind, severity, since_us, evidence, sql)


def finding_id(model: str, feature: str, kind: str) -> str:
    """16 hexadecimal digits: the same for the same model, feature and kind, whatever was seen when.

    Examples
    --------
    >>> finding_id("churn", "last_login", "COUPLED_TX") == finding_id("churn", "last_login", "LATE")
    False
    """
    # JSON keeps the parts apart whatever characters they hold.
    return show_id(text_hash(msgspec.json.encode([model, feature, kind]).decode()))
