"""`tminus check`: is the configuration right, and can what it declares be known in time?"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streams.cli.options import config_option, json_option, say_json

if TYPE_CHECKING:
    from monitors.design.words import DesignVerdict, Ruling

SCHEMA = "tminus.check/1"


@click.command("check")
@config_option
@json_option
@click.option("--strict", is_flag=True, help="Also fail where too little is declared to prove anything.")
def command(config: tuple[Path, ...], as_json: bool, strict: bool) -> int:
    """Load and validate the configuration, show what it declares, and prove what can be known at prediction time.

    From [order], anchors, delays, inputs and joins alone it says which features can never, or only sometimes, be known
    when their model is asked, with the chain of reasons.

    Exit status: 1 if any verdict is worse than KNOWABLE (a feature of which too little is declared counts with --strict
    only), 2 if the configuration is wrong; then every mistake is named with its place and what was expected.
    """
    from monitors.design.judge import judge
    from streams.cli.errors import Exit
    from streams.settings import read_settings

    settings = read_settings(config)
    verdicts = judge(settings.definitions)
    summary = _summary(settings)
    if as_json:
        say_json({"schema": SCHEMA, **summary, "verdicts": [_plain(v) for v in verdicts]})
    else:
        _say(summary)
        for line in design_lines(verdicts):
            click.echo(line)
    is_bad = any(v.design.is_bad or (strict and v.design.value == "UNDECLARED") for v in verdicts)
    return Exit.FINDINGS if is_bad else Exit.FINE


def design_lines(verdicts: "tuple[DesignVerdict, ...]") -> Iterator[str]:
    """What was proved, model by model, for people: a line per feature, the reasons under what is wrong."""
    last = None
    for verdict in verdicts:
        if verdict.model != last:
            yield f"what {verdict.model} can know when it is asked:"
            last = verdict.model
        name = verdict.feature or "choice of rows"
        for i, ruling in enumerate(verdict.rulings):
            yield f"  {'' if i else name:<20} {ruling.design.value:<19} {_remark(verdict, ruling)}".rstrip()
            if ruling.design.is_bad:
                yield from (f"    - {reason}" for reason in ruling.reasons)
    if verdicts:
        yield _count(verdicts)


def _remark(verdict: "DesignVerdict", ruling: "Ruling") -> str:
    if ruling.design.value == "UNDECLARED":
        return f"not declared: {', '.join(verdict.missing)}"
    parts = []
    if ruling.slack_us is not None:
        parts.append(_slack(ruling.slack_us, is_never=ruling.design.value == "NEVER_KNOWABLE"))
    if ruling.known is not None and ruling.known.high > 0 and ruling.known.low < 1:
        parts.append(f"known for {ruling.known} of the predictions")
    return ", ".join(parts)


def _slack(slack_us: int, *, is_never: bool) -> str:
    from streams.audit.reports.wording import duration

    length = duration(abs(slack_us))  # rounded down, and so a bound in either direction
    if is_never:  # an order without a gap says that it is too late, not by how much
        return f"too late by at least {length}" if slack_us < 0 else "always too late"
    return f"{length} short" if slack_us < 0 else f"slack {length}"


def _count(verdicts: "tuple[DesignVerdict, ...]") -> str:
    words = [v.design.value for v in verdicts]
    counts = ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(sorted(words)))
    hint = "; what to declare: docs/check.md" if "UNDECLARED" in words else ""
    return f"{len(words)} verdicts: {counts}{hint}"


def _plain(verdict: "DesignVerdict") -> dict[str, Any]:
    """A verdict with its whole proof, as JSON."""
    return {
        "model": verdict.model,
        "feature": verdict.feature or None,
        "verdict": verdict.design.value,
        "slack_us": verdict.slack_us,
        "probability": _share(verdict.known),
        "missing": list(verdict.missing),
        "rulings": [
            {
                "verdict": ruling.design.value,
                "slack_us": ruling.slack_us,
                "probability": _share(ruling.known),
                "reasons": [{"text": r.text, "declared_in": r.place or None} for r in ruling.reasons],
            }
            for ruling in verdict.rulings
        ],
    }


def _share(known: Any) -> dict[str, float] | None:
    return None if known is None else {"low": known.low, "high": known.high}


def _say(summary: dict[str, Any]) -> None:
    click.echo(f"{', '.join(summary['files'])}: fine (configuration {summary['digest']})")
    for kind in ("sources", "features", "models"):
        for name, line in summary[kind].items():
            click.echo(f"  {kind[:-1]:<8} {name:<20} {line}")


def _summary(settings: Any) -> dict[str, Any]:
    definitions = settings.definitions
    logged = {m.predictions for m in definitions.models.values()}
    return {
        "files": [str(path) for path in settings.config],
        "digest": definitions.digest,
        "clock": definitions.run.clock,
        "partitions": definitions.run.partitions,
        "sources": {s.name: _source(s, s.name in logged) for s in definitions.sources.values()},
        "features": {f.name: _feature(f) for f in definitions.features.values()},
        "models": {m.name: _model(m) for m in definitions.models.values()},
    }


def _source(source: Any, is_log: bool) -> str:
    columns = f", reads {', '.join(source.kinds)}" if source.kinds else ""
    what = "predictions" if is_log else f"{source.format}, {source.entity_type} = {source.entity_field}"
    return f"topic {source.topic}: {what}{columns}"


def _feature(feature: Any) -> str:
    from features.times import duration_text

    of = feature.column or feature.expr
    if feature.aggregate is None:
        return f"newest {of} of {feature.source}"
    shape = "tumbling" if feature.tumbling else f"sliding by {duration_text(feature.pane_us)}"
    over = f"({of})" if of else ""
    where = f" where {feature.where}" if feature.where else ""
    return f"{feature.aggregate}{over} of {feature.source} over {duration_text(feature.window_us)}, {shape}{where}"


def _model(model: Any) -> str:
    from features.times import duration_text

    label = model.label
    wanted = (
        f", label {label.source}.{label.column} = {label.equals!r} within {duration_text(label.horizon_us)}"
        if label
        else ""
    )
    return f"predictions in {model.predictions}, reads {', '.join(model.features)}{wanted}"
