"""What happened, in plain words, from what was really seen. Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from features.times import iso
from streams.stories.churn import Cancel

LINES_MAX = 40

_RULES = {
    "COUPLED_TX": "changes in the very transaction that writes the label",
    "DRIFT": "is not what the model was introduced with",
}


class SeenFinding(NamedTuple):
    """A record of `findings`; `at_us` is when it was written."""

    at_us: int
    model: str
    feature: str
    kind: str
    severity: str
    evidence: dict[str, Any]


class SeenCommand(NamedTuple):
    """A command on `control`."""

    at_us: int
    scope: str
    mode: str
    why: str


class SeenReceipt(NamedTuple):
    """A node's word that a command is in force there."""

    node: str
    scope: str
    mode: str
    effective_us: int


class SeenFlip(NamedTuple):
    """A node's answer changed hands, by its own words."""

    node: str
    model: str
    is_live: bool
    why: str
    at_us: int


class Ending(NamedTuple):
    """A process ended before its time."""

    name: str
    how: str
    at_us: int
    last_words: str = ""


@dataclass(slots=True)
class Observations:
    """What was seen of one telling. `verdicts`: (form, feature, verdict) -> cells and greatest lead, microseconds."""

    seed: int
    users: int
    trigger: bool
    trigger_delay_ms: int
    started_us: int = 0
    ended_us: int = 0
    drift_us: int | None = None  # set once it has begun
    sent: Counter[str] = field(default_factory=Counter)
    nodes: list[str] = field(default_factory=list)
    cancels: list[Cancel] = field(default_factory=list)  # those that happened
    findings: list[SeenFinding] = field(default_factory=list)
    alerts: dict[str, tuple[str, str]] = field(default_factory=dict)  # fingerprint -> model, severity; firing ones
    commands: list[SeenCommand] = field(default_factory=list)
    receipts: list[SeenReceipt] = field(default_factory=list)
    flips: list[SeenFlip] = field(default_factory=list)
    answers: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)  # node -> model -> why -> count
    endings: list[Ending] = field(default_factory=list)
    verdicts: dict[tuple[str, str, str], tuple[int, int]] = field(default_factory=dict)
    trouble: str = ""
    is_interrupted: bool = False


def tell(seen: Observations) -> list[str]:
    """The story in at most 40 lines."""
    first = seen.cancels[0].commit_us if seen.cancels else seen.ended_us
    parts = [
        (first, _leak(seen)),
        (seen.drift_us or seen.ended_us, _drift(seen)),
        (min((e.at_us for e in seen.endings), default=0), _endings(seen)),
    ]
    middle = [line for _, part in sorted(parts, key=lambda part: part[0]) for line in part]
    lines = [*_scene(seen), *middle, *_verdicts(seen), *_end(seen)]
    return lines if len(lines) <= LINES_MAX else [*lines[: LINES_MAX - 1], f"... and {len(lines) - LINES_MAX + 1} more"]


def _scene(seen: Observations) -> Iterable[str]:
    events = " and ".join(f"{count:,} records on {topic}" for topic, count in sorted(seen.sent.items()))
    sent = events or "nothing was sent"
    yield f"A shop with {seen.users} users (seed {seen.seed}), in real time, over the Kafka protocol: {sent}."
    requests = sum(sum(of.values()) for models in seen.answers.values() for of in models.values())
    if seen.nodes:
        yield f"{_and(seen.nodes)} answered {requests:,} requests from two models, churn and basket, the whole time."
    if seen.trouble:
        yield f"It did not go as planned: {seen.trouble}."


def _leak(seen: Observations) -> Iterable[str]:
    if not seen.cancels:
        return
    yield ""
    first = seen.cancels[0]
    what = f"{_clock(first.commit_us)}  User {first.user} cancels"
    if not seen.trigger:
        yield f"{what}, the first of {len(seen.cancels)}. last_login stays what it was: nothing leaks."
    elif seen.trigger_delay_ms:
        yield f"{what}; {seen.trigger_delay_ms} ms later a trigger clears last_login, in another transaction."
    else:
        yield f"{what}, the first of {len(seen.cancels)}; in the same transaction a trigger clears last_login."
        yield "              Whoever trains churn on that column learns the label from its consequence."
    yield from _judged(seen, "churn", first.commit_us, "that commit")


def _drift(seen: Observations) -> Iterable[str]:
    if seen.drift_us is None:
        return
    yield ""
    yield f"{_clock(seen.drift_us)}  People begin to spend twice as much; basket has never seen such amounts."
    yield from _judged(seen, "basket", seen.drift_us, "that")


def _judged(seen: Observations, model: str, since_us: int, since: str) -> Iterable[str]:
    """What tminus saw about one model, and what became of it."""
    found = [f for f in seen.findings if f.model == model]
    if not found:
        yield f"              tminus has found nothing to say about {model}."
    for one in found:
        why = _RULES.get(one.kind, "was found guilty")
        after = f"{_span(one.at_us - since_us)} after {since}" if one.at_us >= since_us else f"before {since}"
        yield f"{_clock(one.at_us)}  tminus: {one.feature} of {model} {why} ({one.kind}, {one.severity})"
        yield f"              {after}{_evidence(one)}."
    yield from _switched(seen, model, found)


def _evidence(finding: SeenFinding) -> str:
    entities = finding.evidence.get("entities")
    if isinstance(entities, list) and entities:
        users = _and([str(entity[-1]) for entity in entities[:5]])
        return f"; proof: user{'s' if len(entities) > 1 else ''} {users}"
    log_e, rows = finding.evidence.get("log_e"), finding.evidence.get("n_current")
    if isinstance(log_e, int | float):
        return f"; {rows} predictions were enough (e-value e^{log_e:.1f})"
    return ""


def _switched(seen: Observations, model: str, found: list[SeenFinding]) -> Iterable[str]:
    scope = f"model:{model}"
    command = next((c for c in seen.commands if c.scope == scope and c.mode == "fallback"), None)
    if command is not None:
        cause = max((f.at_us for f in found if f.at_us <= command.at_us + 1000), default=command.at_us)
        # Each node's first receipt: that is when its answers changed.
        effective: dict[str, int] = {}
        for receipt in seen.receipts:
            if receipt.scope == scope and receipt.mode == "fallback":
                effective.setdefault(receipt.node, receipt.effective_us)
        yield f"{_clock(command.at_us)}  {model} is switched to its safe default."
        if effective:
            times = ", ".join(f"{node} {_span(at - cause)}" for node, at in sorted(effective.items()))
            yield f"              In force, counted from the finding: {times}."
        silent = sorted(set(seen.nodes) - set(effective))
        if silent:
            yield f"              No receipt came from {_and(silent)}."
    elif found and any(f.severity == "page" for f in found):
        yield f"              Nobody commanded: {model} was not switched."
    if not any(ending.name == "control" for ending in seen.endings):
        yield from _silence(seen, model)


def _silence(seen: Observations, model: str) -> Iterable[str]:
    lapsed = [f for f in seen.flips if f.model == model and not f.is_live and f.why == "silence"]
    for flip in lapsed[: len(seen.nodes)]:
        at = _clock(flip.at_us)
        yield f"{at}  {flip.node} heard no controller for a whole lease: {model} gives its safe default."


def _endings(seen: Observations) -> Iterable[str]:
    if seen.endings:
        yield ""
    for ending in seen.endings:
        what = {"control": "the controller", "entity": "the entity stage", "model": "the model stage"}
        words = what.get(ending.name, ending.name)
        when = "in the middle of the story" if 0 < seen.started_us < ending.at_us else "before the story began"
        yield f"{_clock(ending.at_us)}  {words[0].upper()}{words[1:]} {ending.how} {when}."
        if ending.last_words and ending.how.startswith("ended"):  # who is killed says nothing about it
            yield f"              Its last words: {ending.last_words[:160]}"
        if ending.name == "control":
            for model in sorted({f.model for f in seen.flips}):
                yield from _silence(seen, model)
            held = sorted(
                {f.model for f in seen.flips if f.is_live} - {f.model for f in seen.flips if f.why == "silence"}
            )
            if held:
                yield f"              {_and(held)} held what was commanded last, as declared for silence."


def _verdicts(seen: Observations) -> Iterable[str]:
    if not seen.verdicts:
        return
    yield ""
    total = sum(n for n, _ in seen.verdicts.values())
    words = Counter[str]()
    for (form, _, verdict), (count, _) in seen.verdicts.items():
        words[f"{form} {verdict}"] += count
    yield f"{total:,} cells judged: {', '.join(f'{count:,} {name}' for name, count in words.most_common(6))}."
    for (form, feature, verdict), (count, lead_us) in sorted(seen.verdicts.items()):
        if verdict == "LEAK" and form == "served":
            yield f"  {feature}: {count:,} logged values did not exist yet at their read, by up to {_span(lead_us)}."
        elif verdict == "LEAK":
            yield (
                f"  {feature}: joined as declared, training would take {count:,} values from up to "
                f"{_span(lead_us)} after the read."
            )
    alerts = ", ".join(f"{model} ({severity})" for model, severity in sorted(seen.alerts.values()))
    changes = [c for c in seen.commands if c.mode != "live"]
    yield f"Findings: {len(seen.findings)}. Alerts firing: {alerts or 'none'}. Switched away: {len(changes) or 'none'}."


def _end(seen: Observations) -> Iterable[str]:
    if seen.is_interrupted:
        yield ""
        yield "You stopped the story before its end."


def questions(lake: str, command: str = "tminus") -> list[str]:
    """Three questions to the kept lake, and what to try next; `command` is how tminus is called here."""
    ask = f"{command} sql --lake {lake}"
    return [
        "",
        "Ask the lake (or: duckdb -init " + lake + "/open.sql):",
        f'  {ask} "SELECT feature, form, entity, round(lead_us / 1000.0, 1) AS lead_ms FROM verdicts '
        "WHERE verdict = 'LEAK' ORDER BY lead_us DESC LIMIT 10\"",
        f'  {ask} "SELECT model, feature, kind, severity, sql FROM findings"',
        f'  {ask} "SELECT scope, mode, who, why FROM control ORDER BY since_us"',
        f"Next: write a tminus.toml of your own and let `{command} check` read it.",
    ]


def _clock(at_us: int) -> str:
    return iso(at_us)[11:23]


def _span(us: int) -> str:
    return (
        f"{us / 1e6:.1f} s"
        if abs(us) >= 1_000_000
        else f"{us / 1000:.0f} ms"
        if abs(us) >= 10_000
        else f"{us / 1000:.1f} ms"
    )


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
