"""`tminus control`: the keys that commands are signed with."""

from pathlib import Path

import click

from streams.cli.options import keys_option


@click.group("control")
def command() -> None:
    """What the control stage needs."""


@command.command("keys")
@keys_option
def keys(keys: Path | None) -> int:
    """Make the keys: the controller's, which signs commands, and an operator's, which signs releases.

    Serving nodes pin control.pub. The .key files are for their owners alone.
    """
    from streams import signing
    from streams.settings import keys_folder

    folder = keys_folder(keys)
    for name in ("control", "operator"):
        signer = signing.generate(folder, name)
        click.echo(f"{folder / name}.key and .pub: key {signer.kid}")
    return 0
