"""`tminus check`: is the configuration right?"""

from pathlib import Path
from typing import Any

import click

from streams.cli.options import config_option, json_option, say_json


@click.command("check")
@config_option
@json_option
def command(config: tuple[Path, ...], as_json: bool) -> int:
    """Load and validate the configuration, and show what it declares.

    Every mistake is named with its place and what was expected; exit status 2.
    """
    from streams.settings import read_settings

    settings = read_settings(config)
    summary = _summary(settings)
    if as_json:
        say_json(summary)
        return 0
    click.echo(f"{', '.join(summary['files'])}: fine (configuration {summary['digest']})")
    for kind in ("sources", "features", "models"):
        for name, line in summary[kind].items():
            click.echo(f"  {kind[:-1]:<8} {name:<20} {line}")
    return 0


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
    of = feature.column or feature.expr
    if feature.aggregate is None:
        return f"newest {of} of {feature.source}"
    shape = "tumbling" if feature.tumbling else f"sliding by {_duration(feature.pane_us)}"
    over = f"({of})" if of else ""
    where = f" where {feature.where}" if feature.where else ""
    return f"{feature.aggregate}{over} of {feature.source} over {_duration(feature.window_us)}, {shape}{where}"


def _model(model: Any) -> str:
    label = model.label
    wanted = (
        f", label {label.source}.{label.column} = {label.equals!r} within {_duration(label.horizon_us)}"
        if label
        else ""
    )
    return f"predictions in {model.predictions}, reads {', '.join(model.features)}{wanted}"


def _duration(us: int) -> str:
    units = (("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000))
    return next((f"{us // of}{name}" for name, of in units if us and us % of == 0), f"{us}us")
