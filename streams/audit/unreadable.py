"""What does a person need to hear when a file cannot be read?"""

import difflib
from collections.abc import Sequence

_NAMES_MAX = 20


class TableError(Exception):
    """A file cannot be read: which one and where, what was expected, what was found, the nearest mend."""


def nearest(wanted: str, names: Sequence[str]) -> str | None:
    """The name that was probably meant; None if none is near.

    Examples
    --------
    >>> nearest("user_id", ["USER_ID", "amount"]), nearest("entity", ["user"])
    ('USER_ID', None)
    """
    folded = {name.strip().casefold(): name for name in names}
    found = difflib.get_close_matches(wanted.strip().casefold(), list(folded), 1)
    return folded[found[0]] if found else None


def shown_names(names: Sequence[str]) -> str:
    """Names for a message, not more than one can read.

    Examples
    --------
    >>> shown_names(["a", "b"])
    "'a', 'b'"
    """
    shown = ", ".join(repr(name) for name in names[:_NAMES_MAX])
    return shown + (f" and {len(names) - _NAMES_MAX} more" if len(names) > _NAMES_MAX else "")
