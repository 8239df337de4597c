"""Which command was meant? Finds it by name and imports nothing else, so `--help` costs next to nothing."""

import atexit
import difflib
import importlib
import os
import sys
from typing import Any, NoReturn

import click

from streams.cli.errors import explained

#: Command -> the module that holds it, as `command`. In the order in which people meet them.
COMMANDS = ("demo", "audit", "check", "run", "topics", "sql", "alerts", "control", "release", "replay", "doctor")


class LazyGroup(click.Group):
    """The commands, each imported when it is asked for; exit statuses and complaints of one kind for all."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, or None."""
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = importlib.import_module(f"streams.cli.{cmd_name}").command
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, and with the nearest name for an unknown one."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"No such command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Run a command; its result is the exit status."""
        kwargs["standalone_mode"] = False
        with explained() as outcome:
            status = super().main(*args, **kwargs)
            outcome.status = status if isinstance(status, int) else 0
        sys.exit(outcome.status)


def _version(ctx: click.Context, _: click.Parameter, is_asked: bool) -> None:
    if is_asked and not ctx.resilient_parsing:
        from importlib.metadata import version  # costs more than the rest of this file

        click.echo(f"tminus {version('tminus')}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Show the version.")
def main() -> None:
    """What was known at T minus one millisecond?

    Features with lineage from Kafka, the millisecond test for leaks, drift without false alarms, and signed
    commands that switch serving nodes to their safe default.

    Exit status: 0 fine, 1 findings, 2 usage or configuration, 3 no broker, 4 bad data, 130 interrupted.
    """


class _Absent:
    """Makes modules look as if they were not installed."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """As the import system asks: refuse the names, leave all others to those after us."""
        if name in self._names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def entry() -> None:
    """What the shell starts: `main` in a process of its own.

    Arrow imports pandas, where that is installed, as soon as it makes an array; numba imports SciPy's linear algebra
    and cffi's parser to load any kernel. Together that is a third of the time of an audit of a small file, and an
    audit needs none of them.
    """
    is_audit = sys.argv[1:2] == ["audit"]
    needless = {"pandas", "scipy", "cffi"} if is_audit else {"pandas"}
    sys.meta_path.insert(0, _Absent(frozenset(needless)))
    for stream in (sys.stdout, sys.stderr):
        # A name that the terminal cannot show must not hide the finding about it.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    try:
        main()
    except SystemExit as end:
        if is_audit:
            _leave(end.code)
        raise


def _leave(status: object) -> None:
    """End the process at once: taking Arrow and the compiler apart object by object takes a quarter of a second."""
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:  # whoever started us closed it
                stream.flush()
    except OSError:  # whoever read the output is gone; the interpreter says so in its own way
        return
    atexit._run_exitfuncs()
    os._exit(status if isinstance(status, int) else int(bool(status)))


if __name__ == "__main__":
    entry()
