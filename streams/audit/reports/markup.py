"""How does a text of the user's become part of a page without ever becoming markup?

Every string that is not `Html` is cleaned, cut and escaped on its way in, and only `tag` and `join` make `Html`. So
there is no place where escaping could be forgotten.
"""

from collections.abc import Iterable
from html import escape
from typing import TypeAlias

from streams.audit.reports.wording import clean


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


Child: TypeAlias = "Html | str | int | None"

#: Elements that have no end tag.
_VOID = frozenset({"meta", "br", "hr", "wbr"})


def tag(name: str, /, *children: Child, **attributes: str | int | float | None) -> Html:
    """An element; in names of attributes ``_`` is ``-``, and one at the end is left away. None is left out.

    Examples
    --------
    >>> tag("p", "a < b", tag("b", "!"), class_="x", title='"quoted"', hidden=None)
    '<p class="x" title="&quot;quoted&quot;">a &lt; b<b>!</b></p>'
    """
    words = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(clean(str(value), 2_000))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Html(f"<{name}{words}>")
    return Html(f"<{name}{words}>{join(children)}</{name}>")


def join(children: Iterable[Child]) -> Html:
    """Children one after another, each escaped unless it is markup.

    Examples
    --------
    >>> join(["<", tag("br"), 3, None])
    '&lt;<br>3'
    """
    return Html("".join(c if isinstance(c, Html) else escape(clean(str(c))) for c in children if c is not None))


def user(text: str, limit: int = 60) -> Html:
    """A text of the user's, cut, with its direction kept to itself.

    Examples
    --------
    >>> user("<script>", 5)
    '<bdi>&lt;scr…</bdi>'
    """
    return tag("bdi", clean(text, limit))
