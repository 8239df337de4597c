"""`tminus release`: a person signs a model off."""

import getpass
from pathlib import Path

import click

from streams.cli.options import bootstrap_option, config_option, keys_option


@click.command("release")
@click.argument("model")
@click.option("--why", required=True, metavar="TEXT", help="For whoever reads the record later.")
@click.option("--who", metavar="NAME", help="By default the name of your account.")
@config_option
@bootstrap_option
@keys_option
def command(
    model: str, why: str, who: str | None, config: tuple[Path, ...], bootstrap: str | None, keys: Path | None
) -> int:
    """Release MODEL from fallback into probation; its alerts are resolved. Signed with the operator's key."""
    from streams import signing
    from streams.broker.admin import probe
    from streams.clock import now_us
    from streams.control import release
    from streams.control.records import Release
    from streams.settings import read_settings

    settings = read_settings(config, bootstrap=bootstrap, keys=keys)
    run = settings.definitions.run
    if model not in settings.definitions.models:
        raise click.UsageError(f"expected one of {', '.join(settings.definitions.models)}, found {model!r}")
    signer = signing.load(settings.keys / "operator.key")
    probe(settings.bootstrap, settings=settings.definitions.kafka)
    record = Release(run.environment, model, who or getpass.getuser(), why, now_us())
    release.send(settings.bootstrap, record, signer, prefix=run.prefix)
    click.echo(f"asked the controller to release {model}")
    return 0
