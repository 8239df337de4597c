"""What does a terminal show? Which feature, how sure, how many rows, by how much, what to do; then where the rest is.

Plain ASCII of our own around the user's names, so it reads the same in a log file. Colour only repeats what words say.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable

from monitors.audit.outcome import WORST_FIRST, FeatureOutcome, Outcome
from monitors.verdicts import Verdict
from streams.audit.reports import wording

#: Features named one by one, features explained, findings and assumptions told; letters of one of these.
SHOWN, EXPLAINED, TOLD, LETTERS = 12, 3, 5, 240

_COLOURS = {
    Verdict.LEAK: "1;31",
    Verdict.LEAK_OR_STALE: "35",
    Verdict.STALE: "33",
    Verdict.SKEW_AMBIGUOUS: "36",
    Verdict.UNVERIFIABLE: "33",
    Verdict.PASS: "32",
}
_BOLD = "1"


def render(outcome: Outcome, *, width: int, color: bool) -> str:
    """The outcome for a terminal of `width` columns (40 at least, and never wider than 100), without a last newline.

    What verdicts rest on without evidence comes before any verdict. Whatever the number of features, it stays within
    about two screens: the worst are shown, the others counted.
    """
    width = max(40, min(width, 100))
    features = wording.ranked(outcome.features.values())
    blocks = [
        _title(outcome, width),
        _assumed(outcome, width),
        _headline(outcome, features, width, color=color),
        _table(outcome, features, width, color=color),
        *_explained(features, width, color=color),
        _worth(outcome, width, color=color),
        _findings(outcome, width, color=color),
        _details(outcome, width),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def _title(outcome: Outcome, width: int) -> list[str]:
    logs = f"{wording.clean(outcome.logs[0], 200)}" if outcome.logs else "no log"
    more = f" and {len(outcome.logs) - 1:,} more" if len(outcome.logs) > 1 else ""
    size = f"{wording.count(outcome.rows, 'row')}, {wording.count(len(outcome.features), 'feature')}"
    return _wrapped(f"tminus audit of {wording.clean(outcome.train, 200)} ({size}) against {logs}{more}", width)


def _assumed(outcome: Outcome, width: int) -> list[str]:
    told = [wording.clean(wording.assumption(text), LETTERS) for text in outcome.assumes[:TOLD]]
    told += [f"and {len(outcome.assumes) - TOLD:,} more"] if len(outcome.assumes) > TOLD else []
    lines = [line for text in told for line in _wrapped(text, width, "  ")]
    return ["Assumed, without evidence:", *lines] if lines else []


def _headline(outcome: Outcome, features: list[FeatureOutcome], width: int, *, color: bool) -> list[str]:
    style = _COLOURS[features[0].verdict] if features else _BOLD
    return [_painted(line, style, color=color) for line in _wrapped(wording.headline(outcome), width)]


def _table(outcome: Outcome, features: list[FeatureOutcome], width: int, *, color: bool) -> list[str]:
    """Worst first; what is not shown is counted by verdict, and features that pass are only counted."""
    notable = [f for f in features if f.verdict is not Verdict.PASS]
    shown = notable[:SHOWN]
    is_wide = width >= 64
    rows = [[f"{f.counts[f.verdict]:,}", *_late(f, is_wide=is_wide), f.tier.name] for f in shown]
    heads = ["rows", *(["share", "too late by"] if is_wide else []), "sure"]
    sizes = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    room = max(8, width - 16 - sum(sizes) - 2 * len(sizes))
    lines = []
    if shown:
        head = "  ".join([_fitted("feature", room), *_aligned(heads, sizes)])
        lines = [f"{'verdict':<14}  {head}".rstrip()]
    for feature, row in zip(shown, rows, strict=True):
        word = _painted(f"{feature.verdict.value:<14}", _COLOURS[feature.verdict], color=color)
        lines.append("  ".join([word, _fitted(wording.clean(feature.name, 200), room), *_aligned(row, sizes)]).rstrip())
    rest = Counter(f.verdict for f in features) - Counter(f.verdict for f in shown)
    for verdict in WORST_FIRST:
        if rest[verdict]:
            word = _painted(f"{verdict.value:<14}", _COLOURS[verdict], color=color)
            more = " more" if any(f.verdict is verdict for f in shown) else ""
            lines.append(f"{word}  {rest[verdict]:,}{more} {'feature' if rest[verdict] == 1 else 'features'}")
    tiers = sorted({f.tier for f in shown})
    says = ["too late by: half of the values at least the first, the worst the second"]
    legend = says if any(" to " in row[2] for row in rows if is_wide) else []
    legend = [line for text in legend for line in _wrapped(text, width, "  ")]
    legend += [line for tier in tiers for line in _wrapped(f"{tier.name}: {wording.RESTS_ON[tier]}", width, "  ")]
    return [*lines, *legend]


def _late(feature: FeatureOutcome, *, is_wide: bool) -> list[str]:
    if not is_wide:
        return []
    part = wording.share(feature.counts[feature.verdict] / max(wording.rows_of(feature), 1))
    if feature.verdict is Verdict.LEAK and feature.leak_share_high > feature.leak_share_low:
        part = f"{part} to {wording.share(feature.leak_share_high)}"
    if feature.verdict is not Verdict.LEAK or feature.leads is None:
        return [part, "-"]
    half, most = wording.duration(feature.leads.p50), wording.duration(feature.leads.max)
    return [part, half if half == most else f"{half} to {most}"]


def _explained(features: list[FeatureOutcome], width: int, *, color: bool) -> list[list[str]]:
    """The worst features, each with one row and with what to do, unless that was said of the one before."""
    blocks, before = [], ""
    for feature in features[:EXPLAINED]:
        if feature.verdict is Verdict.PASS:
            break
        said = [f"The value {wording.MEANS[feature.verdict]}."] if feature.verdict is not Verdict.LEAK else []
        said += [wording.story(feature.example)] if feature.example is not None else []
        said += [wording.possible(feature)] if feature.verdict is Verdict.LEAK and wording.possible(feature) else []
        what = wording.advice(feature)
        said += [f"To do: {what}"] if what and what != before else []
        name = _painted(_fitted(wording.clean(feature.name, 200), width).rstrip(), _BOLD, color=color)
        blocks.append([name, *(line for text in said for line in _wrapped(text, width, "  "))])
        before = what
    return blocks


def _worth(outcome: Outcome, width: int, *, color: bool) -> list[str]:
    found, note = outcome.inflation, wording.clean(outcome.inflation_note, LETTERS)
    if found is None:
        is_leak = any(f.counts[Verdict.LEAK] for f in outcome.features.values())
        is_told = note and (is_leak or not note.startswith("no label"))
        return _wrapped(f"What the leak is worth was not measured: {note}.", width) if is_told else []
    title = f"What it is worth, {wording.clean(found.metric, 20).upper()} of a small model (95 % interval)"
    ways = [
        (found.scores.leaky, "as this table shows it"),
        (found.scores.as_of, "with what was known"),
        (found.scores.deployed, "in production, if trained on this table"),
    ]
    if len({value for value, _ in ways}) == 1:
        ways = [(found.scores.leaky, "as this table shows it, and the same with what was known")]
    lines = [line for value, way in ways for line in _wrapped(f"{wording.figure(value)}  {way}", width, "  ")]
    alone = sorted(found.per_feature.items(), key=lambda pair: pair[1].as_of.value - pair[1].leaky.value)
    for name, scores in alone[:EXPLAINED] if len(alone) > 1 else []:
        told = f"{wording.figure(scores.leaky)}  with {wording.clean(name, 40)} alone as this table has it"
        lines += _wrapped(told, width, "  ")
    if left_out := note.partition(", without ")[2]:
        lines += _wrapped(f"without {left_out}", width, "  ")
    return [*(_painted(line, _BOLD, color=color) for line in _wrapped(title, width)), *lines]


def _findings(outcome: Outcome, width: int, *, color: bool) -> list[str]:
    found = wording.loudest(outcome.findings)
    lines = []
    for one in found[:TOLD]:
        kind = wording.clean(one.kind, 40)
        text = (
            f"{one.severity.value}: {wording.clean(one.message, LETTERS)} {wording.clean(one.advice, LETTERS)} ({kind})"
        )
        lines += _wrapped(" ".join(text.split()), width, "  ")
    rest = Counter(wording.clean(one.kind, 40) for one in found[TOLD:])
    if rest:
        kinds = ", ".join(f"{number:,} {kind}" for kind, number in rest.most_common(4))
        lines += _wrapped(f"and {sum(rest.values()):,} more ({kinds}{', ...' if len(rest) > 4 else ''})", width, "  ")
    return [_painted("Also found", _BOLD, color=color), *lines] if lines else []


def _details(outcome: Outcome, width: int) -> list[str]:
    lines = []
    if outcome.coverage < 1:
        lines += _wrapped(f"Verified: {wording.share(outcome.coverage)} of {outcome.cells:,} cells.", width)
    if outcome.not_audited:
        names = ", ".join(_fitted(wording.clean(name, 200), 30).rstrip() for name in list(outcome.not_audited)[:5])
        more = f" and {len(outcome.not_audited) - 5:,} more" if len(outcome.not_audited) > 5 else ""
        lines += _wrapped(f"Not audited: {names}{more}.", width)
    where = "Details: --html FILE to read, --json FILE, --cells FILE for the verdict of every cell."
    return [*lines, *_wrapped(where, width)]


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """Lines of at most `width` columns of a terminal (not letters, as textwrap counts); a word too long is broken."""
    lines, line, used = list[str](), indent, len(indent)
    hanging = indent + "  " * bool(indent)
    for word in text.split(" "):
        size = sum(map(_columns, word))
        if line.strip() and used + 1 + size > width:
            lines, line, used = [*lines, line], hanging, len(hanging)
        elif line.strip():
            line, used = line + " ", used + 1
        if used + size <= width:
            line, used = line + word, used + size
            continue
        for letter in word:
            if used + _columns(letter) > width:
                lines, line, used = [*lines, line], hanging, len(hanging)
            line, used = line + letter, used + _columns(letter)
    return [*lines, line]


def _aligned(cells: Iterable[str], sizes: list[int]) -> list[str]:
    """Counts and shares to the right, as numbers are read."""
    last = len(sizes) - 1
    return [
        cell.rjust(size) if i < 2 and i != last else cell.ljust(size)
        for i, (cell, size) in enumerate(zip(cells, sizes, strict=True))
    ]


def _fitted(text: str, room: int) -> str:
    """Exactly `room` columns of a terminal, where a Chinese letter or an emoji takes two and an accent none.

    Long names lose their middle: features made in a loop differ at the end.
    """
    head, tail = list(text), list[str]()
    used = sum(map(_columns, text))
    if used > room:
        half = len(head) // 2
        head, tail = head[:half], head[half:]
        while used > room - 1:
            used -= _columns(head.pop() if len(head) > len(tail) else tail.pop(0))
        head.append("~")
        used += 1
    return "".join([*head, *tail]) + " " * (room - used)


def _columns(letter: str) -> int:
    if unicodedata.combining(letter) or unicodedata.category(letter) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def _painted(text: str, style: str, *, color: bool) -> str:
    return f"\033[{style}m{text}\033[0m" if color else text
