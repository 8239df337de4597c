"""`tminus replay`: the same pipeline over recorded logs."""

import os
from pathlib import Path

import click

from streams.cli.errors import Exit
from streams.cli.options import bootstrap_option, config_option, json_option, progress, progress_end, say_json


@click.command("replay")
@config_option
@click.option(
    "--source",
    "sources",
    multiple=True,
    metavar="NAME=FILE",
    help="Rows of a source: .ndjson, .parquet or .csv; again for further files and sources.",
)
@click.option(
    "--lake",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="A folder without a lake: the replay writes a new one there.",
)
@bootstrap_option
@json_option
def command(
    config: tuple[Path, ...], sources: tuple[str, ...], lake: Path, bootstrap: str | None, as_json: bool
) -> int:
    """Replay recorded logs into a new lake, on a clock driven by the data.

    With --source from files, without from the topics on --bootstrap. Exit status 1 if there are findings.
    """
    files = files_by_source(sources)

    from streams import replay
    from streams.settings import read_settings

    settings = read_settings(config)
    address = bootstrap or os.environ.get("TMINUS_BOOTSTRAP")
    try:
        summary = replay.run(settings.definitions, files, lake, None if sources else address, _progress)
    finally:
        progress_end()
    shown = {
        "lake": str(lake),
        "versions": summary.rows,
        "predictions": summary.predictions,
        "dead_letters": summary.dead_letters,
        "late": summary.late,
        "verdicts": summary.verdicts,
        "findings": [f"{f.kind} {f.severity.value}: {f.feature} of {f.model}" for f in summary.findings],
    }
    if as_json:
        say_json(shown)
    else:
        _show(shown)
    return Exit.FINDINGS if summary.findings else Exit.FINE


def files_by_source(sources: tuple[str, ...]) -> dict[str, list[Path]]:
    """`NAME=FILE` arguments as files by source name."""
    files: dict[str, list[Path]] = {}
    for given in sources:
        name, sign, file = given.partition("=")
        if not sign or not name or not file:
            raise click.UsageError(f"--source: expected NAME=FILE, found {given!r}")
        files.setdefault(name, []).append(Path(file))
    return files


def _progress(what: str, count: int) -> None:
    progress(f"{count:,} {what}")


def _show(shown: dict[str, object]) -> None:
    for name in ("versions", "predictions", "dead_letters", "late"):
        click.echo(f"{name.replace('_', ' '):<14} {shown[name]:>12,}")
    verdicts: dict[str, int] = shown["verdicts"]  # type: ignore[assignment]
    for key, count in sorted(verdicts.items()):
        feature, _, verdict = key.rpartition(" ")
        click.echo(f"  {feature:<24} {verdict:<14} {count:>12,}")
    findings: list[str] = shown["findings"]  # type: ignore[assignment]
    for finding in findings or ["no findings"]:
        click.echo(finding)
    click.echo(f"ask it: tminus sql --lake {shown['lake']} 'SHOW TABLES'")
