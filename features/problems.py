"""What is wrong with a configuration, where, and what was probably meant?

Problems are collected, so that one run names them all. Each has a stable code with a page in `docs/errors/`.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec
from msgspec import UnsetType

from features.times import parse_duration_us


class Code(StrEnum):
    """Stable names of the kinds of mistakes; people and scripts look them up."""

    UNKNOWN_KEY = "TM101"
    WRONG_VALUE = "TM102"
    MISSING_KEY = "TM103"
    UNKNOWN_TABLE = "TM104"
    UNKNOWN_NAME = "TM105"
    DECLARED_TWICE = "TM106"
    NOT_SUPPORTED_YET = "TM107"
    CONTRADICTION = "TM108"
    EXPRESSION = "TM109"
    UNREADABLE = "TM110"


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One mistake: what, where (file, table, key), what was expected, and the nearest name that is known."""

    code: Code
    file: str
    table: str = ""
    key: str = ""
    message: str
    nearest: str | None = None

    def __str__(self) -> str:
        where = f"{self.file}:" + (f" [{self.table}]" if self.table else "") + (f" {self.key}:" if self.key else "")
        hint = f"; did you mean {self.nearest!r}?" if self.nearest else ""
        return f"{where} {self.message}{hint} ({self.code.value})"


class DeclarationError(ValueError):
    """The configuration cannot be used; `problems` says why, one by one, at least one.

    Examples
    --------
    >>> print(DeclarationError([Problem(code=Code.MISSING_KEY, file="t.toml", table="run", key="x", message="?")]))
    t.toml: [run] x: ? (TM103)
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(str(p) for p in self.problems))


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` was probably meant to be; None if none is near.

    Examples
    --------
    >>> nearest("agregate", ["aggregate", "window"]), nearest("zzz", ["aggregate"])
    ('aggregate', None)
    """
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return found[0] if found else None


@dataclass(slots=True)
class Where:
    """The table that is being read, and where complaints about it go."""

    file: str
    table: str
    problems: list[Problem]
    files: dict[str, str] = field(default_factory=dict)  # of single tables: which file declared a key

    def complain(self, code: Code, key: str, message: str, known: str | None = None) -> None:
        """Note one mistake."""
        file = self.files.get(key.partition(".")[0], self.file)
        self.problems.append(Problem(code=code, file=file, table=self.table, key=key, message=message, nearest=known))

    def us(self, key: str, text: str | UnsetType, *, above: int = -1) -> int:
        """Microseconds of a duration; 0 if unset or wrong."""
        if isinstance(text, UnsetType):
            return 0
        try:
            found = parse_duration_us(text)
        except ValueError as error:
            self.complain(Code.WRONG_VALUE, key, str(error))
            return 0
        if found <= above:
            self.complain(Code.WRONG_VALUE, key, f"expected a duration above {above} us, found {text!r}")
        return found

    def maybe_us(self, key: str, text: str | UnsetType) -> int | None:
        """Microseconds of a duration; None if unset."""
        return None if isinstance(text, UnsetType) else self.us(key, text)
