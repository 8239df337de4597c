"""The documentation as tests see it: fenced blocks, links, words in code."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: What people read. Pages of error codes are listed by another test.
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "docs/decisions/*.md", "docs/errors/*.md", "clients/python/*.md")
    for path in ROOT.glob(pattern)
)

_FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block: the words behind its fence, and its text."""

    info: tuple[str, ...]
    text: str
    line: int

    @property
    def kind(self) -> str:
        """The language, empty where none is named."""
        return self.info[0] if self.info else ""


def blocks(page: Path, kind: str | None = None) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text()
    found = [
        Block(tuple(m["info"].split()), m["text"], text.count("\n", 0, m.start()) + 1) for m in _FENCE.finditer(text)
    ]
    return [b for b in found if kind is None or b.kind == kind]


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return _FENCE.sub("", page.read_text())


def code(page: Path) -> Iterator[str]:
    """Everything set as code: spans, and lines of blocks."""
    yield from re.findall(r"`([^`\n]+)`", prose(page))
    for block in blocks(page):
        yield from block.text.splitlines()


def anchors(page: Path) -> set[str]:
    """What a link may name after `#`, as GitHub makes it from headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    plain = (re.sub(r"&lt;|&gt;|[^\w\- ]", "", h.replace("`", "").lower()) for h in headings)
    return {h.strip().replace(" ", "-") for h in plain}
