"""One picture per verdict, drawn from a history that the rule itself judges: `python -m docs.generate` writes them.

A picture that would show another verdict than its title cannot be drawn: drawing it fails.
"""

from dataclasses import dataclass
from html import escape

import numpy as np

from features.times import FOREVER_US
from monitors.leakage import CellSet, VersionSet, judge

#: Microseconds from left to right, and where the read stands.
SPAN, READ, WIDTH, ROW = 100, 60, 640, 34


@dataclass(frozen=True, slots=True)
class Version:
    """A value that became visible somewhere in [a, b); b None: nobody knows when at the latest."""

    value: str
    a: int
    b: int | None


@dataclass(frozen=True, slots=True)
class Case:
    """One history, what the training row holds, and the verdict that follows."""

    verdict: str
    cell: str
    versions: tuple[Version, ...]
    says: str


CASES = (
    Case("PASS", "5", (Version("5", 8, 14), Version("7", 78, 84)), "5 was surely readable, and nothing else"),
    Case(
        "LEAK", "7", (Version("5", 8, 14), Version("7", 78, 84)), "7 was written after the read: nobody could know it"
    ),
    Case(
        "STALE",
        "3",
        (Version("3", 8, 14), Version("5", 30, 36)),
        "3 had been replaced before the read: training and serving differ, nothing leaks",
    ),
    Case(
        "LEAK_OR_STALE",
        "3",
        (Version("3", 8, 14), Version("5", 30, 36), Version("3", 78, 84)),
        "3 was there before and comes back after: which one the row holds, only a version id could say",
    ),
    Case(
        "SKEW_AMBIGUOUS",
        "7",
        (Version("5", 8, 14), Version("7", 54, 68)),
        "7 became readable around the read: the clocks are not good enough to say on which side",
    ),
    Case(
        "UNVERIFIABLE",
        "7",
        (Version("5", 8, 14), Version("7", 40, None)),
        "7 was written before the read, but nobody saw when it became readable",
    ),
)

_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1f2328}.t{font-weight:600;font-size:15px}.m{fill:#59636e}"
    ".bar{fill:#8c959f}.hit{fill:#0969da}.read{stroke:#cf222e;stroke-width:2}.r{fill:#cf222e}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.m{fill:#9198a1}.bar{fill:#656c76}.hit{fill:#4493f8}"
    ".read{stroke:#f85149}.r{fill:#f85149}}"
)


def judged(case: Case) -> str:
    """The verdict that the rule gives."""
    names = {value: i for i, value in enumerate(dict.fromkeys([case.cell, *(v.value for v in case.versions)]), 1)}
    versions = VersionSet(
        np.array([0, len(case.versions)]),
        np.array([v.a for v in case.versions], np.int64),
        np.array([FOREVER_US if v.b is None else v.b for v in case.versions], np.int64),
        np.array([names[v.value] for v in case.versions], np.uint64),
    )
    cells = CellSet(np.array([0]), np.array([READ]), np.array([names[case.cell]], np.uint64))
    return str(judge(versions, cells).words()[0][0])


def picture(case: Case) -> str:
    """SVG of one case.

    Raises
    ------
    ValueError
        The rule gives another verdict.
    """
    found = judged(case)
    if found != case.verdict:
        raise ValueError(f"expected a history with the verdict {case.verdict}, found {found}")
    height = 86 + ROW * len(case.versions)
    left, scale = 96, (WIDTH - 96 - 24) / SPAN
    x = left + READ * scale
    title = f"{case.verdict}: the training row holds {case.cell}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-labelledby="t d"><title id="t">{escape(title)}</title><desc id="d">{escape(case.says)}</desc>'
        f"<style>{_STYLE}</style>",
        f'<text class="t" x="12" y="24">{escape(title)}</text>',
        f'<text class="m" x="12" y="44">{escape(case.says)}</text>',
    ]
    for i, version in enumerate(case.versions):
        parts += _bar(version, 62 + ROW * i, left, scale, is_hit=version.value == case.cell)
    parts += [
        f'<line class="read" x1="{x:.0f}" y1="56" x2="{x:.0f}" y2="{height - 26}"/>',
        f'<text class="r" x="{x:.0f}" y="{height - 10}" text-anchor="middle">the prediction reads</text>',
        "</svg>\n",
    ]
    return "\n".join(parts)


def _bar(version: Version, y: int, left: int, scale: float, *, is_hit: bool) -> list[str]:
    start = left + version.a * scale
    end = WIDTH - 24 if version.b is None else left + version.b * scale
    kind = "hit" if is_hit else "bar"
    parts = [
        f'<text x="12" y="{y + 15}">value {escape(version.value)}</text>',
        f'<rect class="{kind}" x="{start:.0f}" y="{y}" width="{max(end - start, 3):.0f}" height="20" rx="3" '
        'fill-opacity="0.35"/>',
    ]
    if version.b is not None:  # from b on it is surely readable
        parts.append(f'<rect class="{kind}" x="{end:.0f}" y="{y}" width="{WIDTH - 24 - end:.0f}" height="20" rx="3"/>')
    return parts


def pictures() -> dict[str, str]:
    """Path below `docs` -> SVG."""
    return {f"verdicts/{case.verdict.lower()}.svg": picture(case) for case in CASES}
