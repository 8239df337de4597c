"""What does a person read when something is wrong, and which exit status does a script get?

Every mistake of the user's and every absence in the world is a sentence: what, why, what to do, and a stable code
with a page in `docs/errors/`. Tracebacks are for our own faults.
"""

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum


class Exit(IntEnum):
    """Exit statuses of all commands."""

    FINE = 0
    FINDINGS = 1
    USAGE = 2
    NO_BROKER = 3
    BAD_DATA = 4
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of mistake: code, exit status, what to do."""

    code: str
    status: Exit
    advice: str


#: By qualified name, so that nothing has to be imported to be recognised. The codes TM1xx are those of problems in the
#: configuration (`features.problems`).
KINDS = {
    "click.exceptions.ClickException": Kind("TM200", Exit.USAGE, "see: tminus --help"),
    "streams.broker.admin.BrokerUnavailable": Kind(
        "TM201", Exit.NO_BROKER, "start a broker there, or name another one with --bootstrap or TMINUS_BOOTSTRAP"
    ),
    "streams.broker.admin.BrokerError": Kind("TM202", Exit.BAD_DATA, "compare with: tminus topics diff"),
    "streams.broker.embedded.EmbeddedBrokerError": Kind(
        "TM203", Exit.NO_BROKER, "reinstall the locked packages (make clean, then make test)"
    ),
    "streams.lake.manifest.NoLake": Kind(
        "TM204", Exit.BAD_DATA, "name the folder with --lake or TMINUS_LAKE; a run or a replay makes one"
    ),
    "streams.lake.manifest.LakeBusy": Kind(
        "TM205", Exit.BAD_DATA, "stop that worker, or give this one a lake of its own with --lake"
    ),
    "streams.lake.manifest.LakeError": Kind("TM206", Exit.BAD_DATA, "see: tminus doctor"),
    "streams.lake.sql.BadQuery": Kind("TM207", Exit.USAGE, "what there is: tminus sql 'SHOW TABLES'"),
    "streams.inputs.InputError": Kind("TM208", Exit.BAD_DATA, "see: tminus replay --help"),
    "streams.signing.KeyFileError": Kind("TM209", Exit.USAGE, "name the folder with --keys or TMINUS_KEYS"),
    "streams.stories.flights.StoryError": Kind("TM210", Exit.USAGE, "install what is missing, then try again"),
    "streams.cli.supervisor.StageFailed": Kind("TM211", Exit.FINDINGS, "its own words stand above"),
    "streams.audit.request.AuditError": Kind("TM213", Exit.BAD_DATA, "see: tminus audit --help"),
    "streams.audit.unreadable.TableError": Kind("TM214", Exit.BAD_DATA, "see: tminus audit --help"),
    "streams.cli.errors.Missing": Kind("TM212", Exit.USAGE, "see: tminus --help"),
}


class Missing(Exception):
    """Something that a command needs was not given or is not there."""


@dataclass(slots=True)
class Outcome:
    """The exit status of what ran."""

    status: int = 0


@contextlib.contextmanager
def explained() -> Iterator[Outcome]:
    """Turn what goes wrong inside into a sentence on standard error and an exit status.

    Our own faults pass through.

    Examples
    --------
    >>> with explained() as outcome:
    ...     outcome.status = 1
    >>> outcome.status
    1
    """
    outcome = Outcome()
    try:
        yield outcome
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        outcome.status = Exit.INTERRUPTED
    except Exception as error:
        status = complain(error)
        if status is None:
            raise
        outcome.status = status


def complain(error: BaseException) -> int | None:
    """Say what is wrong, on standard error; the exit status, or None for a fault of our own."""
    names = [f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__]
    if "features.problems.DeclarationError" in names:
        return _problems(error)
    if "click.exceptions.Abort" in names:
        sys.stderr.write("interrupted\n")
        return Exit.INTERRUPTED
    if isinstance(error, OSError) and error.errno == errno.EPIPE:
        # The reader of our output went away; a second complaint at shutdown would help nobody.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.FINE
    kind = next((KINDS[name] for name in names if name in KINDS), None)
    if kind is None:
        return None
    _say(kind, error)
    return int(getattr(error, "status", kind.status))


def _say(kind: Kind, error: BaseException) -> None:
    format_message = getattr(error, "format_message", None)  # click keeps its message there
    what = format_message() if format_message is not None else str(error)
    advice = kind.advice
    context = getattr(error, "ctx", None)
    if context is not None:
        advice = f"see: {context.command_path} --help"
    sys.stderr.write(f"{_bold('error:')} {what} ({kind.code})\n  {advice}\n")


def _problems(error: BaseException) -> int:
    problems = error.problems  # type: ignore[attr-defined]
    count = len(problems)
    sys.stderr.write(f"{_bold('error:')} the configuration has {count} mistake{'s' if count > 1 else ''}\n")
    sys.stderr.writelines(f"  {problem}\n" for problem in problems)
    sys.stderr.write(f"  every code has a page: docs/errors/{problems[0].code}.md\n")
    return Exit.USAGE


def _bold(text: str) -> str:
    return f"\033[1m{text}\033[0m" if sys.stderr.isatty() and not os.environ.get("NO_COLOR") else text
